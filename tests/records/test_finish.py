from __future__ import annotations

import json
from pathlib import Path

import pytest

from stillwired.errors import RecordError
from stillwired.judge import Claim, Level, Outcome, Paper, Verdict, Word
from stillwired.options import RunOptions
from stillwired.records.expected import Expectations, ExpectedCell
from stillwired.records.finish import decide, finish
from stillwired.records.record import read_record
from stillwired.records.run import RunFolder
from stillwired.records.session import Judge, Run, cell_of
from stillwired.settings import Settings


def claim(name):
    return Claim(
        id=f"some-paper/{name}",
        version=1,
        says="Something is so.",
        source=Paper("some-paper", "Some Paper", "A. Author", "Venue 2026").at("Table 1"),
        published="0.5",
        expects=(Level("arm", at_least=0.1),),
        margin=0.1,
        mutant="shuffled",
    )


def arm(score):
    return Outcome(
        "arm", [f"d{i}" for i in range(400)], [f"d{i}" for i in range(400)], [score] * 400
    )


def run_of(tmp_path, record=None, **settings):
    folder = tmp_path / "run" if record is None else record.with_suffix(".run")
    return Run(RunOptions(Settings(**settings), record), RunFolder(folder, "t"), print)


def judge(run, name, spec, order, score=1.0):
    cell = cell_of(claim(name), {"checkpoint_spec": spec} if spec else {}, "test", order)
    return Judge(run, "test", cell)(arm=arm(score))


def test_one_checkpoint_gives_one_record_in_the_run_s_folder(tmp_path):
    run = run_of(tmp_path, models=("m",))
    judge(run, "b", "m", 0)
    judge(run, "a", "m", 1, score=0.0)
    (one,) = finish(run)
    assert one.record == tmp_path / "run" / "record.json"
    assert [v.claim for v in one.verdicts] == ["some-paper/b", "some-paper/a"]
    assert [v.verdict for v in one.verdicts] == [Word.HOLDS, Word.FAILS]
    assert one.gate.passed is False
    assert one.reads_checkpoint
    assert sorted(f.name for f in (tmp_path / "run").iterdir()) == [
        "outcomes.parquet",
        "record.json",
    ]


def test_several_checkpoints_give_one_record_each_under_their_names(tmp_path):
    run = run_of(tmp_path, tmp_path / "base.json", models=("m", "x/n"))
    judge(run, "a", "x/n", 0)
    judge(run, "a", "m", 1)
    assert [one.name for one in finish(run)] == ["m", "n"]
    assert sorted(f.name for f in tmp_path.iterdir()) == [
        "base-m.json",
        "base-m.outcomes.parquet",
        "base-n.json",
        "base-n.outcomes.parquet",
    ]
    assert read_record(tmp_path / "base-n.json").data["checkpoint"]["spec"] == "x/n"


def test_claims_without_a_checkpoint_have_a_record_of_their_own(tmp_path):
    run = run_of(tmp_path, models=("m",))
    judge(run, "a", "m", 0)
    judge(run, "b", None, 1)
    assert [(one.name, one.record.name) for one in finish(run)] == [
        ("m", "record-m.json"),
        ("no-model", "record-no-model.json"),
    ]
    alone = run_of(tmp_path / "alone", models=("m",))
    judge(alone, "b", None, 0)
    (one,) = finish(alone)
    assert (one.record.name, one.reads_checkpoint) == ("record.json", False)


def test_an_interrupted_run_leaves_its_cells_and_no_record(tmp_path):
    run = run_of(tmp_path, models=("m",))
    judge(run, "a", "m", 0)
    (one,) = finish(run, interrupted=True)
    assert (one.record, one.gate) == (None, None)
    assert len(run.folder.cells()) == 1
    assert not (tmp_path / "run" / "record.json").exists()


@pytest.mark.parametrize("interrupted", [True, False])
def test_a_run_that_judged_nothing_leaves_nothing(interrupted, tmp_path):
    run = run_of(tmp_path)
    run.note_time("reading", 1)
    assert finish(run, interrupted=interrupted) == []
    assert list(tmp_path.iterdir()) == []


def test_cells_stay_if_the_record_cannot_be_written(tmp_path):
    run = run_of(tmp_path)
    judge(run, "a", None, 0)
    (tmp_path / "run" / "outcomes.parquet").mkdir()
    with pytest.raises(RecordError, match="cannot be written"):
        finish(run)
    assert len(run.folder.cells()) == 1


def test_expected_verdicts_decide_and_left_out_cells_do_not(tmp_path):
    path = tmp_path / "e.json"
    entry = {"params": {}, "verdicts": ["FAILS"], "reason": "small"}
    entries = [{"claim": f"some-paper/{name}", **entry} for name in ("a", "z")]
    content = {"schema": 1, "checkpoint": "m", "profile": "quick", "expected": entries}
    path.write_text(json.dumps(content))
    options = RunOptions(Settings(models=("m",)), expected=path)
    for deselected, passed in (([], False), (["some-paper/z"], True)):
        run = Run(options, RunFolder(tmp_path / "run", str(passed)), print)
        judge(run, "a", "m", 0, score=0.0)
        run.folder.note("selection", "deselected", deselected)
        (one,) = finish(run)
        assert one.gate.passed is passed, one.gate.lines


def verdict(word, p_fail=0.5):
    return Verdict("p/f", 1, {}, True, word, "why", 0.1, 0.0, 0.2, "0.1", 9, 9, p_fail)


@pytest.mark.parametrize(
    ("word", "strict", "allowed", "passed"),
    [
        (Word.HOLDS, False, None, True),
        (Word.INCONCLUSIVE, False, None, True),
        (Word.INCONCLUSIVE, True, None, False),
        (Word.NOT_APPLICABLE, True, None, True),
        (Word.BROKEN, False, None, False),
        (Word.REPORTED, True, None, True),
        (Word.REPORTED, False, (Word.REPORTED,), True),
        (Word.REPORTED, False, (Word.HOLDS, Word.NOT_APPLICABLE), False),
        (Word.HOLDS, False, (Word.FAILS,), False),
        (Word.FAILS, False, (Word.FAILS,), True),
    ],
)
def test_decisions(word, strict, allowed, passed):
    expected = None
    if allowed:
        cell = ExpectedCell("p/f", {}, allowed, "small")
        expected = Expectations(Path("e.json"), "m", "quick", {cell.key: cell})
    assert decide([verdict(word)], strict=strict, expected=expected).passed is passed
