from __future__ import annotations

import json
import random
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stillwired.data.corpus import load_corpus
from stillwired.data.user_text import BLOCK_CHARACTERS, blocks, read_user_text
from stillwired.errors import CorpusError
from stillwired.store.cache import Store


def words(seed: int, count: int = 60) -> str:
    rng = random.Random(seed)
    return " ".join(f"w{rng.randrange(100_000)}" for _ in range(count))


def lines(path: Path, entries: list[object]) -> Path:
    path.write_text("\n".join(json.dumps(entry) for entry in entries), encoding="utf-8")
    return path


def test_jsonl_gives_one_document_a_line(tmp_path: Path) -> None:
    path = lines(
        tmp_path / "t.jsonl",
        [{"text": "One\r\ntwo."}, {"text": "Three.", "id": 7, "domain": "law"}],
    )
    path.write_text(path.read_text() + "\n\n")
    first, second = read_user_text(path)
    assert (first.id, first.domain, first.text) == ("text/1", "text", "One\ntwo.")
    assert (second.id, second.domain, second.text) == ("law/7", "law", "Three.")


def test_a_folder_gives_one_document_a_file(tmp_path: Path) -> None:
    (tmp_path / "b.txt").write_bytes("\ufeffZweites Stück\r\n".encode())
    (tmp_path / "a.txt").write_text("First piece")
    (tmp_path / "c.md").write_text("not read")
    assert [(d.id, d.text) for d in read_user_text(tmp_path)] == [
        ("text/a.txt", "First piece"),
        ("text/b.txt", "Zweites Stück"),
    ]


def test_a_text_file_is_cut_at_blank_lines(tmp_path: Path) -> None:
    paragraphs = [words(k, 200) for k in range(10)]
    path = tmp_path / "t.txt"
    path.write_text("\n \n\n".join(paragraphs))
    documents = read_user_text(path)
    assert 1 < len(documents) < 10
    assert all(len(d.text) <= BLOCK_CHARACTERS for d in documents)
    assert "\n\n".join(d.text for d in documents) == "\n\n".join(paragraphs)


@given(st.text(alphabet="ab \n", max_size=300), st.integers(4, 50))
def test_blocks_keep_every_word_and_their_limit(text: str, limit: int) -> None:
    made = blocks(text, limit)
    assert all(block.strip() and len(block) <= limit for block in made)
    assert "".join("".join(made).split()) == "".join(text.split())


def test_one_long_line_is_cut_between_words() -> None:
    text = words(0, 500)
    made = blocks(text, 100)
    assert " ".join(made) == text


def refused(path: Path) -> str:
    with pytest.raises(CorpusError) as caught:
        read_user_text(path)
    return str(caught.value)


def test_empty_files_are_refused(tmp_path: Path) -> None:
    for name in ("t.txt", "t.jsonl"):
        for content in ("", " \n\n"):
            (tmp_path / name).write_text(content)
            assert "is empty" in refused(tmp_path / name)


def test_binary_junk_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "t.txt"
    path.write_bytes(random.Random(0).randbytes(4096))
    assert "not UTF-8" in refused(path)
    path.write_bytes(b"MZ\x00\x01" * 100)
    assert "binary data" in refused(path)
    path.write_bytes(b"\x01\x02text" * 100)
    assert "binary data" in refused(path)
    jsonl = tmp_path / "t.jsonl"
    jsonl.write_bytes(b"\xff\xfe\x00{")
    assert "not UTF-8" in refused(jsonl)


@pytest.mark.parametrize(
    ("line", "why"),
    [
        ('{"text": "cut', "not JSON"),
        ('["a list"]', 'no "text"'),
        ('{"body": "x"}', 'no "text"'),
        ('{"text": 5}', 'no "text"'),
        ('{"text": "  "}', '"text" is empty'),
        ('{"text": "x", "domain": ""}', '"domain"'),
        ('{"text": "x", "id": 1.5}', '"id"'),
        ('{"text": "x", "id": true}', '"id"'),
        ('{"text": "x", "id": null}', '"id"'),
        ('{"text": "x", "id": "first"}', "already that of line 1"),
        ('{"text": "\\ud800"}', "surrogate"),
        ("[" * 100_000, "not JSON"),
    ],
)
def test_a_bad_line_is_named(tmp_path: Path, line: str, why: str) -> None:
    path = tmp_path / "t.jsonl"
    path.write_text('{"text": "fine", "id": "first"}\n\n' + line)
    message = refused(path)
    assert "line 3" in message
    assert why in message


def test_what_is_not_there_or_of_another_kind_is_refused(tmp_path: Path) -> None:
    assert "no file or folder" in refused(tmp_path / "none.txt")
    assert "holds no .txt" in refused(tmp_path)
    (tmp_path / "t.pdf").write_bytes(b"%PDF")
    assert "neither .txt nor .jsonl" in refused(tmp_path / "t.pdf")


def test_a_file_that_may_not_be_read_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "t.txt"
    path.write_text("x")

    def denied(_: Path) -> bytes:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "read_bytes", denied)
    assert "cannot be read: Permission denied" in refused(path)


def too_small(store: Store, path: Path) -> str:
    with pytest.raises(CorpusError) as caught:
        load_corpus(store, path)
    assert not list(store.entries())
    return str(caught.value)


def test_a_text_too_small_to_be_split_is_refused_and_leaves_nothing(tmp_path: Path) -> None:
    store = Store(tmp_path / "cache")
    one = tmp_path / "one.txt"
    one.write_text("One line only.\n")
    assert "gives 1 document, but at least 32" in too_small(store, one)
    same = lines(tmp_path / "same.jsonl", [{"text": words(0)}] * 100)
    assert "gives 1 document (99 more repeat" in too_small(store, same)
    few = lines(
        tmp_path / "few.jsonl",
        [{"text": words(k), "domain": "rare" if k < 3 else "common"} for k in range(60)],
    )
    assert "'rare'" in too_small(store, few)


def test_the_users_text_is_loaded_split_and_cached(tmp_path: Path) -> None:
    store = Store(tmp_path / "cache")
    entries = [
        {"text": words(k, 30 if k < 40 else 90), "domain": "a" if k < 40 else "b"}
        for k in range(80)
    ]
    path = lines(tmp_path / "t.jsonl", entries)
    said: list[str] = []
    corpus = load_corpus(store, path, said.append)
    assert corpus.name == "t.jsonl"
    assert said
    assert len(corpus.documents_of("judge")) == 20
    assert corpus.weights["b"] == pytest.approx(0.75, abs=0.01)
    again = load_corpus(store, path, lambda line: pytest.fail(f"built again: {line}"))
    assert again == corpus
    path.write_text(path.read_text().replace("w", "v", 1))
    changed = load_corpus(store, path)
    assert changed.digest != corpus.digest
