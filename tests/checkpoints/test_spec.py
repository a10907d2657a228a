from __future__ import annotations

import contextlib
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from stillwired.checkpoints.spec import parse_spec, registered
from stillwired.errors import CheckpointError


def test_the_registry_is_complete() -> None:
    known = registered()
    assert list(known) == ["smollm2-135m-instruct", "gemma-3-270m"]
    for name, entry in known.items():
        assert entry.name == name
        digests = [entry.sha256, *(p.sha256 for p in entry.pieces)]
        digests += [p.wheel.sha256 for p in entry.pieces]
        assert all(len(d) == 64 and int(d, 16) for d in digests)
        assert entry.converted > entry.size > 0
        for piece in entry.pieces:
            assert piece.wheel.filename.endswith(f"-{piece.wheel.version}-py3-none-any.whl")
            assert piece.wheel.size < entry.size
    # One piece is the file itself; several are not.
    assert known["smollm2-135m-instruct"].pieces[0].sha256 == known["smollm2-135m-instruct"].sha256
    assert [p.member[-2:] for p in known["gemma-3-270m"].pieces] == ["00", "01", "02", "03"]


def test_a_registered_name_wins_over_a_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "gemma-3-270m").mkdir()
    assert parse_spec("gemma-3-270m").kind == "registered"
    spec = parse_spec("./gemma-3-270m")
    assert (spec.kind, spec.name, spec.path) == ("folder", "gemma-3-270m", tmp_path / spec.name)


def test_folders_and_files_are_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "org" / "model").mkdir(parents=True)
    (tmp_path / "weights.GGUF").write_bytes(b"")
    assert parse_spec("org/model").path == tmp_path / "org" / "model"
    assert parse_spec("~/org").name == "org"
    spec = parse_spec("weights.GGUF")
    assert (spec.kind, spec.name) == ("gguf", "weights")
    monkeypatch.chdir(tmp_path / "org" / "model")
    assert parse_spec(".").name == "model"


@pytest.mark.parametrize(
    ("text", "repo", "revision", "name"),
    [
        ("org/name@main", "org/name", "main", "name"),
        ("gpt2@607a30d783dfa663caf39e06633721c8d4cfcd7e", "gpt2", "607a30d7", "gpt2"),
        ("EleutherAI/pythia-70m@refs/pr/1", "EleutherAI/pythia-70m", "refs/pr/1", "pythia-70m"),
    ],
)
def test_hub_ids(text: str, repo: str, revision: str, name: str) -> None:
    spec = parse_spec(text)
    assert (spec.kind, spec.repo, spec.name) == ("hub", repo, name)
    assert spec.revision.startswith(revision)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("smollm2", "Did you mean smollm2-135m-instruct?"),
        ("SmolLM2-135M-Instruct", "Did you mean smollm2-135m-instruct?"),
        ("gemma-3-27Om", "Did you mean gemma-3-270m?"),
        ("gemma", "Did you mean gemma-3-270m?"),
        ("something-else", "Give a registered name"),
        ("", "is empty"),
        ("   ", "is empty"),
        ("org/name", "org/name@main"),
        ("org/name@", "names no checkpoint"),
        ("org/name@../../up", "names no checkpoint"),
        ("a/b/c@main", "names no checkpoint"),
        ("no where@main", "names no checkpoint"),
        ("./nothing-here", "There is no"),
        ("/nothing/here", "There is no"),
        ("nothing.gguf", "There is no"),
    ],
)
def test_what_names_nothing_is_told(text: str, told: str) -> None:
    with pytest.raises(CheckpointError) as caught:
        parse_spec(text)
    assert told in str(caught.value)


def test_a_misspelt_path_offers_its_neighbours(tmp_path: Path) -> None:
    (tmp_path / "model.gguf").write_bytes(b"")
    with pytest.raises(CheckpointError, match=r"Beside it lies model\.gguf\."):
        parse_spec(str(tmp_path / "modell.gguf"))


@pytest.mark.parametrize("name", ["model.bin", "model.pt", "model.pth", "m.ckpt", "m.PKL"])
def test_pickles_are_refused_with_the_reason(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(b"")
    with pytest.raises(CheckpointError, match="can run any code"):
        parse_spec(str(tmp_path / name))


@pytest.mark.parametrize(
    ("name", "told"), [("model.safetensors", "Give its folder"), ("model.onnx", "unknown kind")]
)
def test_other_files_are_refused(tmp_path: Path, name: str, told: str) -> None:
    (tmp_path / name).write_bytes(b"")
    with pytest.raises(CheckpointError, match=told):
        parse_spec(str(tmp_path / name))


@given(st.text(max_size=30) | st.text("~./@a\0", max_size=8))
@example("~nobody-of-that-name/x")
@example("./" + "long" * 70)
def test_any_text_is_a_spec_or_a_clear_error(text: str) -> None:
    with contextlib.suppress(CheckpointError):
        assert parse_spec(text).text == text.strip()
