from __future__ import annotations

import pytest

from stillwired.judge import Claim, Level, Outcome, Paper
from stillwired.options import RunOptions
from stillwired.records.ledger import Ledger
from stillwired.records.run import RunFolder
from stillwired.records.session import Judge, Run, cell_of
from stillwired.settings import Settings

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


@pytest.fixture
def ledger(tmp_path):
    return Ledger(Run(RunOptions(Settings()), RunFolder(tmp_path / "run", "t"), print))


def judge(ledger, score):
    rows = [f"d{k}" for k in range(300)]
    cell = cell_of(CLAIM, {}, "test")
    Judge(ledger.run, "test", cell)(arm=Outcome("arm", rows, rows, [score] * 300))


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
