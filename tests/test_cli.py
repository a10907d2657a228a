from __future__ import annotations

import io
import json
import subprocess
import sys
from pathlib import Path

import pytest

from stillwired.cli import main
from stillwired.judge import Claim, Level, Outcome, Paper
from stillwired.options import RunOptions
from stillwired.records.files import digest_of, write_json
from stillwired.records.finish import finish
from stillwired.records.run import RunFolder
from stillwired.records.session import Judge, Run, cell_of
from stillwired.settings import Settings
from tests.report import made_vectors
from tests.report.made_curves import family, outcome, write


def claim(name):
    return Claim(
        id=f"some-paper/{name}",
        version=1,
        says="Something is so.",
        source=Paper("some-paper", "Some Paper", "A. Author", "Venue 2026").at("Table 1"),
        published="0.5 (big model)",
        expects=(Level("arm", at_least=0.2),),
        margin=0.1,
        mutant="shuffled",
    )


@pytest.fixture
def make(tmp_path):
    """Write a record of claims with a constant score each."""

    def record(**scores):
        options = RunOptions(Settings(), tmp_path / "base.json")
        run = Run(options, RunFolder(tmp_path / "run", "t"), print)
        run.folder.note("checkpoint", "m", {"name": "m", "layers": 2})
        rows = [f"d{k}" for k in range(300)]
        for order, (name, score) in enumerate(scores.items()):
            cell = cell_of(claim(name), {"checkpoint_spec": "m"}, "test", order)
            Judge(run, "test", cell)(arm=Outcome("arm", rows, rows, [score] * 300))
        finish(run)
        return str(tmp_path / "base.json")

    return record


def test_help_teaches_the_first_steps(capsys):
    assert main([]) == 0
    text = capsys.readouterr().out
    for word in (
        "fetch",
        "models",
        "judge",
        "curves",
        "credits",
        "cache",
        "pytest claims/",
        "exit codes",
    ):
        assert word in text


def test_models_are_listed_with_their_default(capsys):
    assert main(["models"]) == 0
    text = capsys.readouterr().out
    assert "smollm2-135m-instruct" in text
    assert "gemma-3-270m" in text
    assert text.index("(default)") < text.index("gemma-3-270m")


def test_credits_name_licences(capsys):
    assert main(["credits"]) == 0
    text = capsys.readouterr().out
    assert "licence" in text
    assert "SmolLM2-135M-Instruct" in text


def test_a_record_is_judged_again(make, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "120")
    assert main(["judge", make(holding=1.0)]) == 0
    text = capsys.readouterr().out
    assert "stillwired  m  cpu fp32 eager  quick  seed 0" in text
    assert "some-paper/holding" in text
    assert text.splitlines()[-1] == ("judged again from the outcomes: all agree with the record")


def test_the_gate_decides_the_exit_code(make, tmp_path, capsys):
    record = make(holding=1.0, failing=0.0)
    assert main(["judge", record]) == 1
    entry = {"claim": "some-paper/failing", "params": {}, "verdicts": ["FAILS"], "reason": "x"}
    content = {"schema": 1, "checkpoint": "m", "profile": "quick", "expected": [entry]}
    (tmp_path / "e.json").write_text(json.dumps(content))
    assert main(["judge", record, "--expected", str(tmp_path / "e.json")]) == 0
    assert "FAILS (expected)" in capsys.readouterr().out
    (tmp_path / "e.json").write_text(json.dumps(content | {"checkpoint": "n"}))
    assert main(["judge", record, "--expected", str(tmp_path / "e.json")]) == 2
    assert "about n, and this run's checkpoint is m" in capsys.readouterr().err


def test_a_verdict_that_was_changed_by_hand_is_reported(make, capsys):
    record = Path(make(holding=1.0))
    data = json.loads(record.read_text())
    data["verdicts"][0]["verdict"] = "FAILS"
    data["digest"] = digest_of({k: v for k, v in data.items() if k not in ("digest", "times")})
    write_json(record, data)
    assert main(["judge", str(record)]) == 1
    text = capsys.readouterr().out
    assert "some-paper/holding: the record says FAILS, its outcomes say HOLDS" in text
    assert "1 of 1 differ from the record" in text


@pytest.mark.parametrize("damage", ["edit", "table", "missing"])
def test_records_that_cannot_be_trusted_are_refused(damage, make, tmp_path, capsys):
    record = Path(make(holding=1.0))
    if damage == "edit":
        record.write_text(record.read_text().replace('"seed": 0', '"seed": 1'))
    elif damage == "table":
        (tmp_path / "base.outcomes.parquet").unlink()
    else:
        record = tmp_path / "none.json"
    assert main(["judge", str(record)]) == 2
    error = capsys.readouterr().err
    assert error.startswith("stillwired judge: ")
    assert "Traceback" not in error


def test_judging_a_record_needs_no_torch(make):
    source = (
        "import sys; from stillwired.cli import main; "
        f"code = main(['judge', {make(holding=1.0)!r}]); "
        "print('torch' in sys.modules, code)"
    )
    done = subprocess.run(
        [sys.executable, "-c", source], capture_output=True, text=True, check=True
    )
    assert done.stdout.splitlines()[-1] == "False 0"


def test_a_record_is_drawn_again(tmp_path, capsys):
    record = write(tmp_path / "base.json", family("linear"), outcome("bigram"))
    assert main(["curves", str(record)]) == 0
    beside = tmp_path / "base.future-lens-N1.svg"
    assert capsys.readouterr().out == f"curves: {beside}\n"
    assert main(["curves", str(record), "--out", str(tmp_path / "out")]) == 0
    elsewhere = tmp_path / "out" / beside.name
    assert capsys.readouterr().out == f"curves: {elsewhere}\n"
    assert elsewhere.read_bytes() == beside.read_bytes()


def test_function_vectors_are_drawn_again(tmp_path, capsys):
    record = made_vectors.write(tmp_path / "record.json", tasks=("present-past",))
    assert main(["curves", str(record), "--out", str(tmp_path / "out")]) == 0
    assert capsys.readouterr().out.splitlines() == [
        f"curves: {tmp_path / 'out' / f'function-vectors-{kind}.svg'}"
        for kind in ("heads", "depth", "templates", "attention-present-past")
    ]


def test_what_cannot_be_drawn_is_refused(make, tmp_path, capsys):
    record = make(holding=1.0)
    assert main(["curves", record]) == 2
    error = capsys.readouterr().err
    assert error.startswith(f"stillwired curves: {record} has no curve to draw")
    assert "pytest claims/future_lens or pytest claims/function_vectors" in error
    assert main(["curves", str(tmp_path / "none.json")]) == 2
    assert "There is no record" in capsys.readouterr().err


def test_the_help_of_curves_says_what_is_drawn(capsys):
    with pytest.raises(SystemExit):
        main(["curves", "--help"])
    text = " ".join(capsys.readouterr().out.split())
    for fact in ("future-lens-N1.svg", "relative depth", "95 % intervals", "GPT-J-6B", "--out"):
        assert fact in text
    for kind in ("heads", "depth", "templates", "attention-present-past"):
        assert f"function-vectors-{kind}.svg" in text


def test_the_cache_is_listed_and_verified(tmp_path, capsys):
    from stillwired.store.cache import Store

    store = Store(tmp_path / "cache")
    folder = store.folder("thing", {"a": 1}, lambda to: (to / "x").write_bytes(b"abc") and None)
    assert main(["cache", "--cache", str(tmp_path / "cache")]) == 0
    assert "thing" in capsys.readouterr().out
    assert main(["cache", "--verify", "--cache", str(tmp_path / "cache")]) == 0
    assert "intact" in capsys.readouterr().out
    (folder / "x").write_bytes(b"abd")
    assert main(["cache", "--verify", "--cache", str(tmp_path / "cache")]) == 1
    assert "1 damaged" in capsys.readouterr().out


def test_an_unknown_model_is_refused_with_its_neighbours(tmp_path, capsys):
    assert main(["fetch", "--model", "smollm2-135m", "--cache", str(tmp_path)]) == 2
    error = capsys.readouterr().err
    assert "smollm2-135m-instruct" in error
    assert "Traceback" not in error


# The lens.


@pytest.fixture
def tiny(tmp_path, monkeypatch):
    """A tiny Llama in a folder, a made-up text in place of the built-in one, a short training."""
    from stillwired.instruments import lens, lens_prompt
    from stillwired.instruments.prompt_recipes import Recipe
    from stillwired.profiles import PROFILES
    from tests.instruments.conftest import SMALL, made_checkpoint, made_corpus

    made = made_checkpoint()
    made.model.save_pretrained(tmp_path / "tiny")
    made.tokenizer.save_pretrained(tmp_path / "tiny")
    short = Recipe(vectors=3, rate=0.02, steps=4, batch=4, every=2)
    monkeypatch.setattr(lens, "load_corpus", lambda _store, say: made_corpus())
    monkeypatch.setattr(
        lens_prompt.prompt_for_lens, "__kwdefaults__", {"recipe": short, "say": lambda _: None}
    )
    monkeypatch.setitem(PROFILES, "quick", SMALL)
    monkeypatch.setenv("COLUMNS", "60")

    def run(text, *options):
        where = ["--model", str(tmp_path / "tiny"), "--cache", str(tmp_path / "cache")]
        return main(["lens", text, *where, *options])

    return run


def test_a_lens_is_trained_once_and_written_as_a_page(tiny, tmp_path, capsys):
    page = tmp_path / "lens.html"
    assert tiny("w1 w2 w3", "--out", str(page)) == 0
    shown = capsys.readouterr()
    assert shown.out == f"lens: {page}\n"
    assert shown.err.index("no prompt is kept") < shown.err.index("step 4 of 4")
    written = page.read_text()
    for fact in ("Future Lens", "trained for N = 1 at layer 4", "w1 w2 w3", "layer 7, after"):
        assert fact in written
    assert tiny("w3 w2", "--layers", "0,0.5,7", "--ahead", "1") == 0
    shown = capsys.readouterr()
    assert "training" not in shown.err
    rows = [line.split()[0] for line in shown.out.splitlines() if line[:1].isdigit()]
    assert rows == ["7", "4", "0"]
    assert "\x1b" not in shown.out
    assert max(map(len, shown.out.splitlines())) <= 60


def test_the_logit_lens_of_a_text_from_standard_input(tiny, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr("sys.stdin", io.StringIO("w1 w2\n"))
    assert tiny("-", "--logit-lens") == 0
    shown = capsys.readouterr()
    assert len([line for line in shown.out.splitlines() if line[:1].isdigit()]) == 8
    assert "train" not in shown.err
    assert not list((tmp_path / "cache").glob("survey*"))


@pytest.mark.parametrize(
    ("text", "options", "words"),
    [
        ("", (), "The text is empty"),
        ("w1 " * 128, ("--logit-lens",), "129 tokens, and tiny has positions for 128"),
        ("\udcff", ("--logit-lens",), "not valid UTF-8"),
        ("w1", ("--model", "smollm2-135m"), "smollm2-135m-instruct"),
        ("w1", ("--layers", "8", "--logit-lens"), "blocks 0 to 7"),
        ("w1", ("--layers", "x"), "--layers: 'x' is no depth"),
        ("w1", ("--depth", "1.0"), "never hears a state"),
        ("w1", ("--depth", "0.2,0.4"), "one depth"),
        ("w1", ("--ahead", "99"), "0 to 16"),
        ("w1", ("--seed", "-1"), "seed"),
        ("w1", ("--out", "FOLDER/file/lens.html"), "lens.html cannot be written"),
        ("w1", ("--out", "FOLDER"), "is a folder"),
    ],
)
def test_a_lens_that_cannot_be_is_refused(text, options, words, tiny, tmp_path, capsys):
    (tmp_path / "file").write_text("")
    assert tiny(text, *(option.replace("FOLDER", str(tmp_path)) for option in options)) == 2
    error = capsys.readouterr().err
    assert words in error
    assert "stillwired lens: " in error
    assert "Traceback" not in error


def test_empty_standard_input_is_refused(tiny, capsys, monkeypatch):
    monkeypatch.setattr("sys.stdin", io.StringIO("\n"))
    assert tiny("-") == 2
    assert "empty" in capsys.readouterr().err
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(b"\xff"), encoding="utf-8"))
    assert tiny("-") == 2
    assert "not valid UTF-8" in capsys.readouterr().err
