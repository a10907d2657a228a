"""Claims as data, outcomes, intervals, verdicts and the gate: pure arrays, no model."""

from __future__ import annotations

from stillwired.judge.claims import Claim, Needs, Paper, Source
from stillwired.judge.clusters import jackknife
from stillwired.judge.expectations import Difference, Expectation, Level, Steps
from stillwired.judge.gate import Gate
from stillwired.judge.intervals import Interval, mean_interval
from stillwired.judge.results import (
    BesideResult,
    CheckResult,
    Evidence,
    Fact,
    InstrumentCheck,
    Obstacle,
    PartResult,
    Verdict,
    Word,
    cell_key,
)
from stillwired.judge.verdicts import judge_cell, lacking
from stillwired.outcomes import Arm, Outcome, paired

__all__ = [
    "Arm",
    "BesideResult",
    "CheckResult",
    "Claim",
    "Difference",
    "Evidence",
    "Expectation",
    "Fact",
    "Gate",
    "InstrumentCheck",
    "Interval",
    "Level",
    "Needs",
    "Obstacle",
    "Outcome",
    "Paper",
    "PartResult",
    "Source",
    "Steps",
    "Verdict",
    "Word",
    "cell_key",
    "jackknife",
    "judge_cell",
    "lacking",
    "mean_interval",
    "paired",
]
