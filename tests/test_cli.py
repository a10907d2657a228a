from __future__ import annotations

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
    for word in ("fetch", "models", "judge", "credits", "cache", "pytest claims/", "exit codes"):
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
