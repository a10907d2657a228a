from __future__ import annotations

import json
from dataclasses import replace

import pytest

from stillwired.errors import ClaimError
from stillwired.judge import Claim, Level, Outcome, Paper
from stillwired.options import RunOptions
from stillwired.records.ledger import Ledger
from stillwired.records.record import read_record
from stillwired.records.run import RunFolder
from stillwired.records.session import Judge, Run, cell_of
from stillwired.settings import Settings
from stillwired.shards import Shard

CLAIM = Claim(
    id="some-paper/finding",
    version=1,
    says="Something is so.",
    source=Paper("some-paper", "Some Paper", "A. Author", "Venue 2026").at("Table 1"),
    published="0.5",
    expects=(Level("arm", at_least=0.1),),
    margin=0.1,
    mutant="shuffled",
)


class Ready:
    """A checkpoint that is ready to be loaded."""

    layers = 2

    def __init__(self, name):
        self.name = name

    def to_json(self):
        return {"name": self.name}


@pytest.fixture
def ledger(tmp_path):
    return Ledger(Run(RunOptions(Settings()), RunFolder(tmp_path / "run", "t"), print))


def judge(ledger, score):
    rows = [f"d{k}" for k in range(300)]
    cell = cell_of(CLAIM, {}, "test")
    Judge(ledger.run, "test", cell)(arm=Outcome("arm", rows, rows, [score] * 300))


def test_a_run_begins_with_each_checkpoint_made_ready_once(ledger):
    cells = {
        f"test{k}": cell_of(CLAIM, {"checkpoint_spec": spec, "ahead": k}, "test")
        for k, spec in enumerate(["a", "b", "a", None])
    }
    ledger.deselected += ["p/g", "p/f"]
    made = []

    def how(spec):
        made.append(spec)
        return Ready(spec)

    ledger.begin(cells, how)
    assert made == ["a", "b"]
    assert ledger.run.prepared("b").name == "b"
    assert ledger.run.folder.notes("selection") == {"deselected": ["p/f", "p/g"]}


def test_a_run_whose_cells_collide_makes_nothing_ready(ledger):
    cell = cell_of(CLAIM, {"checkpoint_spec": "a"}, "test")
    with pytest.raises(ClaimError, match="both judge"):
        ledger.begin({"one": cell, "other": cell}, pytest.fail)


@pytest.mark.parametrize(
    ("failed", "of_claim", "error", "failures", "errors"),
    [
        (False, True, False, 0, 0),
        (True, True, False, 0, 0),  # a verdict: the gate's business
        (True, True, True, 1, 1),
        (True, False, False, 1, 0),
        (False, False, False, 0, 0),
    ],
)
def test_verdicts_are_no_failures(failed, of_claim, error, failures, errors, ledger):
    ledger.count(failed=failed, of_claim=of_claim, error=error)
    assert (ledger.failures, ledger.errors) == (failures, errors)
    assert ledger.seen is of_claim


@pytest.mark.parametrize(("score", "passed"), [(1.0, True), (0.0, False)])
def test_the_gate_decides(score, passed, ledger):
    judge(ledger, score)
    ledger.close(interrupted=False)
    assert ledger.passed is passed
    assert ledger.finished[0].record.is_file()


def test_a_failure_elsewhere_fails_too(ledger):
    judge(ledger, 1.0)
    ledger.count(failed=True, of_claim=False, error=False)
    ledger.close(interrupted=False)
    assert not ledger.passed


@pytest.mark.parametrize(
    ("errors", "stopped", "whole"), [(0, False, True), (1, False, False), (0, True, False)]
)
def test_a_record_says_that_not_everything_was_judged(errors, stopped, whole, ledger):
    judge(ledger, 1.0)
    ledger.errors = errors
    ledger.close(interrupted=False, stopped=stopped)
    assert read_record(ledger.finished[0].record).data.get("incomplete", False) is not whole


def test_what_is_known_of_refits_is_noted_for_the_record(ledger, tmp_path):
    cells = {"test": cell_of(CLAIM, {"ahead": 1}, "test")}
    ledger.begin(cells, pytest.fail, [tmp_path])
    assert ledger.run.folder.notes("refits") == {}
    parts = {"ahead=1": {"arm": {"sd": 0.02}}}
    content = {"restarts": 5, "claims": {CLAIM.id: parts}}
    (tmp_path / "refits.json").write_text(json.dumps(content))
    ledger.begin(cells, pytest.fail, [tmp_path])
    key = "some-paper/finding[ahead=1]"
    assert ledger.run.folder.notes("refits") == {"refits": {key: {"arm": 0.02}}}


def test_a_plan_is_of_claims_as_they_are_declared(ledger, tmp_path):
    options = replace(ledger.run.options, shard=Shard(1, 2))

    def plan(claim):
        dealt = Ledger(Run(options, RunFolder(tmp_path / "r", "t"), print))
        places = [tmp_path / "claims" / f"test_{name}.py" for name in "ab"]
        cells = [cell_of(claim, {"ahead": k}, "test") for k in range(2)]
        dealt.deal(list(zip(cells, places, strict=True)))
        assert dealt.folders == {tmp_path / "claims"}
        return dealt.shares[None]["plan"]

    assert plan(CLAIM) == plan(CLAIM)
    assert plan(replace(CLAIM, margin=0.2)) != plan(CLAIM)


def test_a_record_that_cannot_be_written_fails(ledger):
    judge(ledger, 1.0)
    (ledger.run.folder.path / "outcomes.parquet").mkdir()
    ledger.close(interrupted=False)
    assert "cannot be written" in ledger.unwritten
    assert not ledger.passed


def test_an_interrupted_run_never_passes(ledger):
    judge(ledger, 1.0)
    ledger.close(interrupted=True)
    assert not ledger.passed
