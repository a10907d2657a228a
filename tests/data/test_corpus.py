from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path

import pytest

from stillwired.data.corpus import Corpus, load_corpus, make_corpus
from stillwired.data.document import Document
from stillwired.data.sources import Domain
from stillwired.errors import CorpusError, FetchError
from stillwired.store.cache import Store


def made(count: int = 40, changed: str = "") -> Corpus:
    documents = [
        Document(f"a/{k}", "a", f"{changed}word{k} " * 5 + f"end{k}") for k in range(count)
    ]
    return make_corpus("test", documents, {"a": 3.0})


def test_the_built_in_text_is_built_once_and_comes_back_the_same(
    made_up_sources: Mapping[str, Domain], tmp_path: Path
) -> None:
    store = Store(tmp_path / "cache")
    said: list[str] = []
    corpus = load_corpus(store, say=said.append)
    assert len(said) == 7
    assert {d.domain for d in corpus.documents} == {d.label for d in made_up_sources.values()}
    assert dict(corpus.weights) == pytest.approx(
        {d.label: d.weight for d in made_up_sources.values()}
    )
    assert all(d.credit in "".join(corpus.credits) for d in made_up_sources.values())
    assert load_corpus(store, say=lambda line: pytest.fail(line)) == corpus


def test_another_pin_is_another_entry(
    made_up_sources: Mapping[str, Domain], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = Store(tmp_path / "cache")
    before = load_corpus(store)
    fewer = tuple(d for d in made_up_sources.values() if d.reader != "lines")
    monkeypatch.setattr("stillwired.data.corpus.domains", lambda: fewer)
    after = load_corpus(store)
    assert after.digest != before.digest
    assert "lines-domain" not in after.weights
    assert sum(after.weights.values()) == pytest.approx(1.0)


def test_a_fetch_that_fails_leaves_nothing_in_the_cache(
    made_up_sources: Mapping[str, Domain], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> Path:
        raise FetchError("No network. Fetch on another machine.")

    monkeypatch.setattr("stillwired.data.sources.fetch_wheel", fail)
    store = Store(tmp_path / "cache")
    with pytest.raises(FetchError, match="another machine"):
        load_corpus(store)
    assert not list(store.entries())


def test_a_damaged_entry_is_built_again(
    made_up_sources: Mapping[str, Domain], tmp_path: Path
) -> None:
    store = Store(tmp_path / "cache")
    corpus = load_corpus(store)
    (file,) = (tmp_path / "cache").rglob("documents.jsonl")
    file.write_bytes(file.read_bytes().replace(b"Tea", b"Tee", 1))
    with pytest.warns(Warning, match="damaged"):
        assert load_corpus(store) == corpus


def test_repetitions_are_removed_before_the_split_and_counted() -> None:
    text = " ".join(f"word{k}" for k in range(30))
    other = [Document(f"b/{k}", "b", f"b{k} " * 8) for k in range(20)]
    corpus = make_corpus(
        "test", [Document("a/1", "a", text), Document("b/x", "b", text), *other], {"a": 1, "b": 1}
    )
    assert "b/x" not in corpus.splits
    assert corpus.removed == {"a": 0, "b": 1}
    assert len(corpus.documents) == len(corpus.splits) == 21


def test_documents_of_a_split_partition_the_corpus() -> None:
    corpus = made()
    parts = [corpus.documents_of(split) for split in ("fit", "choose", "judge")]
    assert [len(part) for part in parts] == [28, 2, 10]
    assert {d.id for part in parts for d in part} == {d.id for d in corpus.documents}
    with pytest.raises(CorpusError, match="no split 'test'"):
        corpus.documents_of("test")


def test_the_digest_pins_text_weights_and_nothing_else() -> None:
    assert made().digest == made().digest
    assert made().digest != made(changed="x").digest
    assert made().digest != made(count=41).digest
    documents = [Document(f"{d}/{k}", d, f"{d}{k} " * 9) for d in "ab" for k in range(20)]
    even = make_corpus("x", documents, {"a": 1, "b": 1})
    assert even.digest == make_corpus("y", documents, {"a": 2, "b": 2}).digest
    assert even.digest != make_corpus("x", documents, {"a": 1, "b": 2}).digest


def test_weights_are_shares_and_cannot_be_changed() -> None:
    corpus = made()
    assert corpus.weights == {"a": 1.0}
    with pytest.raises(TypeError):
        corpus.weights["a"] = 2.0  # type: ignore[index]
    with pytest.raises(dataclasses.FrozenInstanceError):
        corpus.name = "other"  # type: ignore[misc]


def test_twice_the_same_id_and_a_domain_without_weight_are_refused() -> None:
    twice = [Document("a/1", "a", "one"), Document("a/1", "a", "two")]
    with pytest.raises(CorpusError, match="same id"):
        make_corpus("test", twice, {"a": 1.0})
    with pytest.raises(CorpusError, match="'a' has no weight"):
        make_corpus("test", [Document("a/1", "a", "one")], {"b": 1.0})
