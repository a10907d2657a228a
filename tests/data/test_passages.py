from __future__ import annotations

import os
import subprocess
import sys
import zlib
from collections import Counter
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stillwired.data.corpus import Corpus, make_corpus
from stillwired.data.document import Document
from stillwired.data.passages import (
    CHARACTERS_PER_TOKEN,
    Passage,
    domain_sequence,
    draw_passages,
    positions,
)
from stillwired.errors import CorpusError

LONG = {"a": 40, "b": 40}


def text(seed: int, words: int) -> str:
    return " ".join(f"{zlib.crc32(f'{seed}.{k}'.encode()) % 65_536:x}" for k in range(words))


def corpus(words: int = 300, weights: dict[str, float] | None = None) -> Corpus:
    made = [
        Document(f"{domain}/{k}", domain, text(zlib.crc32(f"{domain}{k}".encode()), words))
        for domain, count in LONG.items()
        for k in range(count)
    ]
    return make_corpus("made-up text", made, weights or {"a": 0.75, "b": 0.25})


def by_word(texts: list[str]) -> list[list[int]]:
    return [[zlib.crc32(word.encode()) for word in t.split()] for t in texts]


def by_three(texts: list[str]) -> list[list[int]]:
    return [[zlib.crc32(t[k : k + 3].encode()) for k in range(0, len(t), 3)] for t in texts]


def draw(
    of: Corpus, count: int = 16, length: int = 20, seed: int = 0, **other: object
) -> list[Passage]:
    options: dict[str, object] = {"split": "judge", "purpose": "test", "encode": by_word}
    options |= {"prefix": []} | other
    return draw_passages(of, count=count, length=length, seed=seed, **options)  # type: ignore[arg-type]


CORPUS = corpus()


def test_passages_are_runs_of_tokens_of_the_named_split_with_the_prefix_in_front() -> None:
    texts = {d.id: d.text for d in CORPUS.documents}
    for passage in draw(CORPUS, prefix=[1, 2]):
        assert passage.tokens[:2] == (1, 2)
        assert passage.prefix == 2
        assert len(passage.tokens) == 22
        assert CORPUS.splits[passage.document] == "judge"
        start = int(passage.id.rsplit("@", 1)[1])
        assert passage.tokens[2:] == tuple(by_word([texts[passage.document][start:]])[0][:20])


def test_windows_start_and_end_at_word_boundaries() -> None:
    seen: list[str] = []

    def encode(texts: list[str]) -> list[list[int]]:
        seen.extend(texts)
        return by_word(texts)

    draw(CORPUS, count=40, encode=encode)
    whole = {word for d in CORPUS.documents for word in d.text.split()}
    assert {word for t in seen for word in t.split()} <= whole


def test_windows_of_a_document_never_overlap() -> None:
    passages = draw(CORPUS, count=150, length=12)
    starts: dict[str, list[int]] = {}
    for passage in passages:
        starts.setdefault(passage.document, []).append(int(passage.id.rsplit("@", 1)[1]))
    assert max(map(len, starts.values())) > 2
    width = 12 * CHARACTERS_PER_TOKEN
    for document in CORPUS.documents_of("judge"):
        own = sorted(starts.get(document.id, []))
        for before, after in pairwise(own):
            # Territories are ``width`` apart; a start moves on to the next word at most.
            assert after - before > width - 6


def test_domains_have_their_shares_in_every_beginning() -> None:
    passages = draw(CORPUS, count=40)
    for stop in range(1, 41):
        assert abs(sum(p.domain == "a" for p in passages[:stop]) - 0.75 * stop) <= 1


def test_documents_are_taken_in_turn() -> None:
    judged = sum(d.domain == "a" for d in CORPUS.documents_of("judge"))
    assert judged == 10
    once = [p for p in draw(CORPUS, count=12) if p.domain == "a"]
    assert max(Counter(p.document for p in once).values()) == 1
    often = [p for p in draw(CORPUS, count=32) if p.domain == "a"]
    assert sorted(Counter(p.document for p in often).values()) == [2] * 6 + [3] * 4


def test_ids_do_not_depend_on_the_tokenizer() -> None:
    assert [p.id for p in draw(CORPUS)] == [p.id for p in draw(CORPUS, encode=by_three)]


def test_seed_purpose_split_and_text_change_the_draw() -> None:
    base = {p.id for p in draw(CORPUS)}
    assert base == {p.id for p in draw(CORPUS)}
    assert base != {p.id for p in draw(CORPUS, seed=1)}
    assert base != {p.id for p in draw(CORPUS, purpose="other")}
    other = corpus(words=301)
    assert base != {p.id for p in draw(other)}
    fit = {p.document for p in draw(CORPUS, split="fit")}
    assert not fit & {p.document for p in draw(CORPUS)}


def test_short_windows_are_skipped_and_their_place_is_filled() -> None:
    mixed = [
        Document(f"a/{k}", "a", text(k, 60) if k % 2 else f"only a few words {k} here {k}")
        for k in range(80)
    ]
    made = make_corpus("mixed", mixed, {"a": 1.0})
    passages = draw(made, count=8, length=30)
    assert len(passages) == 8
    assert all(int(p.document.split("/")[1]) % 2 for p in passages)


def test_a_corpus_that_is_too_small_says_how_much_it_gives_and_what_to_do() -> None:
    with pytest.raises(CorpusError, match=r"gives about [\d,]+ passages of 200 tokens") as caught:
        draw(CORPUS, count=400, length=200)
    message = str(caught.value)
    assert "'a'" in message
    assert "400 are needed" in message
    assert "Add text" in message
    possible = int(message.split("gives about ")[1].split(" ")[0].replace(",", ""))
    assert len(draw(CORPUS, count=possible, length=200)) == possible


@pytest.mark.parametrize(("count", "length"), [(0, 10), (5, 0), (-1, 10)])
def test_a_meaningless_size_is_refused(count: int, length: int) -> None:
    with pytest.raises(CorpusError, match="at least one"):
        draw(CORPUS, count=count, length=length)


def test_an_unknown_split_is_refused() -> None:
    with pytest.raises(CorpusError, match="fit, choose, judge"):
        draw(CORPUS, split="train")


def test_the_draw_is_the_same_in_another_process_with_another_hash_seed() -> None:
    script = (
        "import importlib.util as u, sys\n"
        f"s = u.spec_from_file_location('m', {__file__!r})\n"
        "m = u.module_from_spec(s); s.loader.exec_module(m)\n"
        "ps = m.draw(m.CORPUS)\n"
        "print(m.CORPUS.digest, [p.id for p in ps], m.positions(ps, 3, first=4))\n"
    )
    passages = draw(CORPUS)
    here = f"{CORPUS.digest} {[p.id for p in passages]} {positions(passages, 3, first=4)}"
    for seed in ("1", "2"):
        run = subprocess.run(
            [sys.executable, "-c", script],
            env={**os.environ, "PYTHONHASHSEED": seed},
            capture_output=True,
            text=True,
            check=True,
        )
        assert run.stdout.strip() == here


@given(
    st.dictionaries(st.sampled_from("abcdef"), st.integers(1, 50), min_size=1),
    st.integers(1, 300),
)
def test_shares_stay_within_about_one_passage(raw: dict[str, int], count: int) -> None:
    weights = {key: value / sum(raw.values()) for key, value in raw.items()}
    sequence = domain_sequence(weights, count)
    assert len(sequence) == count
    for label, weight in weights.items():
        assert abs(sequence.count(label) - weight * count) < len(weights)


def fake(length: int, prefix: int = 0, name: str = "d@0") -> Passage:
    return Passage(name, "d", "a", tuple(range(prefix + length)), prefix)


def test_every_usable_position_keeps_32_tokens_before_it_and_3_after() -> None:
    assert positions([fake(96)], None) == [tuple(range(32, 93))]
    assert positions([fake(96, prefix=1)], None) == [tuple(range(33, 94))]


@settings(max_examples=50)
@given(st.integers(36, 80), st.integers(1, 8), st.integers(0, 2), st.integers(0, 5))
def test_drawn_positions_are_usable_distinct_and_shift_with_the_prefix(
    length: int, wanted: int, prefix: int, seed: int
) -> None:
    if length - 3 - 32 < wanted:
        with pytest.raises(CorpusError, match="usable positions"):
            positions([fake(length)], wanted, seed=seed)
        return
    (plain,) = positions([fake(length)], wanted, seed=seed)
    (shifted,) = positions([fake(length, prefix)], wanted, seed=seed)
    assert len(set(plain)) == wanted
    assert list(plain) == sorted(plain)
    assert plain[0] >= 32
    assert plain[-1] + 3 < length
    assert [at - prefix for at in shifted] == list(plain)


def test_positions_differ_between_passages_and_seeds() -> None:
    many = [fake(60, name=f"d@{k}") for k in range(200)]
    drawn = positions(many, 8)
    assert len(set(drawn)) > 190
    assert drawn != positions(many, 8, seed=1)
    counts = Counter(at for each in drawn for at in each)
    assert set(counts) == set(range(32, 57))
    assert max(counts.values()) < 2 * min(counts.values())
