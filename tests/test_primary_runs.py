"""Which cell of a claim decides where a run lacks the declared one: made-up claims, no model."""

from __future__ import annotations

import json

# pytester forgets what a run inside this process imported, and these bear that only once.
import numpy as np  # noqa: F401
import pyarrow.parquet  # noqa: F401
import pytest
import scipy.stats  # noqa: F401

import stillwired.judge.verdicts  # noqa: F401
from stillwired.cli import main
from stillwired.records.record import read_record

pytest_plugins = ["pytester"]

CONFTEST = """
from types import SimpleNamespace


def pytest_claims_prepare(spec):
    known = {"name": spec, "layers": 9, "digest": spec * 8}
    return SimpleNamespace(name=spec, layers=9, to_json=lambda: known)


def pytest_generate_tests(metafunc):
    if "task" in metafunc.fixturenames:
        metafunc.parametrize("task", TASKS)
"""
HEAD = """
import pytest

from stillwired.judge import *
from tests.made_up_claims import claim


def arm(p, rows=400):
    hits = [float((k * 0.6180339887) % 1 < p) for k in range(rows)]
    names = [f"w{k}" for k in range(rows)]
    return Outcome("arm", names, names, hits)
"""
# Dead on the first task of one's own, whose mutants are dead as well.
WORDS = """

@pytest.mark.claim(claim("words", primary={"task": "built-in"}))
def test_words(checkpoint_spec, task, judge):
    judge(arm=arm(0.5 if task != "mine" else LEVEL))
"""
OTHERS = """

@pytest.mark.claim(claim("others", primary={"task": "built-in", "form": "arrow"}))
@pytest.mark.parametrize("form", ["qa", "arrow"])
def test_others(checkpoint_spec, task, form, judge):
    judge(arm=arm(0.5))


@pytest.mark.claim(claim("larger", primary={"reader": "slow"}))
@pytest.mark.parametrize(
    "reader", [pytest.param("slow", marks=pytest.mark.standard), "quick", "quicker"]
)
def test_larger(checkpoint_spec, reader, judge):
    judge(arm=arm(0.5))
"""
WITHOUT = [f"-pno:{plugin}" for plugin in ("benchmark", "hypothesispytest", "anyio")]
DEAD, ALIVE = 0.02, 0.5
ONE, TWO = "test_words.py::test_words", "test_others.py::test_others"


@pytest.fixture
def suite(secluded, pytester):
    """Make two files of claims about tasks, and run pytest on them."""
    pytester.makeini("[pytest]\n")

    def run(*arguments, tasks=("mine", "yours"), level=DEAD, record="record"):
        pytester.makeconftest(f"TASKS = {list(tasks)!r}\n{CONFTEST}")
        words = WORDS.replace("LEVEL", str(level))
        pytester.makepyfile(test_words=HEAD + words, test_others=HEAD + OTHERS)
        return pytester.runpytest_inprocess(
            *WITHOUT, "--claims-model=tiny", f"--claims-record={record}.json", *arguments
        )

    return run


def primary(pytester, name="record"):
    """Keys of a record's primary cells."""
    record = read_record(pytester.path / f"{name}.json")
    return [verdict.key for verdict in record.verdicts if verdict.primary]


FIRST = [
    'a-paper/larger[reader="quick"]',
    'a-paper/others[form="arrow", task="mine"]',
    'a-paper/words[task="mine"]',
]
NAMED = "judged without a primary cell, so that nothing but BROKEN counts: *"


def test_the_first_task_decides_where_the_declared_one_is_not_in_the_run(suite, pytester, capsys):
    result = suite()
    assert result.ret == 1
    assert primary(pytester) == FIRST
    result.stdout.fnmatch_lines(['a-paper/words?task="mine"? FAILS (p *'])
    result.stdout.no_fnmatch_line(NAMED)
    capsys.readouterr()
    assert main(["judge", str(pytester.path / "record.json")]) == 1
    assert "all agree with the record" in capsys.readouterr().out


def test_the_declared_one_decides_where_it_is(suite, pytester):
    assert suite("--claims-profile=standard", tasks=("mine", "built-in")).ret == 0
    assert primary(pytester) == [
        'a-paper/larger[reader="slow"]',
        'a-paper/others[form="arrow", task="built-in"]',
        'a-paper/words[task="built-in"]',
    ]


@pytest.mark.parametrize(
    "selection",
    [
        ("-k", "not mine"),
        ("--deselect", f"{ONE}[mine-tiny]", "--deselect", f"{TWO}[mine-tiny-arrow]"),
        (f"{ONE}[yours-tiny]", f"{TWO}[yours-tiny-qa]"),
    ],
)
def test_a_selection_makes_no_other_cell_primary_and_is_said(selection, suite, pytester):
    """Else a gate would pass by leaving out what fails."""
    result = suite(*selection)
    assert result.ret == 0
    assert not any("words" in key or "others" in key for key in primary(pytester))
    (said,) = (line for line in result.outlines if line.startswith(NAMED[:-1]))
    assert set(said.removeprefix(NAMED[:-1]).split(", ")) == {"a-paper/words", "a-paper/others"}


def test_what_failed_last_time_is_judged_as_it_was(suite, pytester):
    suite()
    result = suite("--lf")
    assert result.ret == 1
    assert primary(pytester) == FIRST[2:]


def test_every_shard_and_every_worker_comes_to_the_same(suite, pytester, capsys):
    suite(record="whole")
    whole = read_record(pytester.path / "whole.json").data
    for number in (1, 2):
        assert suite(f"--claims-shard={number}/2", record=f"part{number}").ret == 0
    parts = [str(pytester.path / f"part{number}.json") for number in (1, 2)]
    capsys.readouterr()
    assert main(["merge", *parts, "--out", str(pytester.path / "merged.json")]) == 1
    assert 'a-paper/words[task="mine"] FAILS (p' in capsys.readouterr().out
    assert read_record(pytester.path / "merged.json").data["digest"] == whole["digest"]
    assert suite("-n2", record="workers").ret == 1
    assert read_record(pytester.path / "workers.json").data["digest"] == whole["digest"]


def test_what_is_lost_of_the_first_task_fails_the_comparison(suite, pytester):
    suite("--claims-model=old", level=ALIVE, record="old")
    before = pytester.path / "old-old.json"
    assert suite(f"--claims-baseline={before}").ret == 1
    result = suite(f"--claims-baseline={before}", "-k", "not mine")
    assert result.ret == 0
    result.stdout.fnmatch_lines([NAMED])


def test_mutants_are_tried_on_the_first_task(suite, pytester):
    suite("--claims-mutants-only=rounded-to-8-bits", level=ALIVE)
    (matrix,) = pytester.path.glob("matrix-*.json")
    rows = json.loads(matrix.read_text())["rows"]
    assert len(rows) == 3
