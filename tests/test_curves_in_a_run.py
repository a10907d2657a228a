"""Curves as a run leaves them: fabricated readers, no model."""

from __future__ import annotations

import re

# pytester forgets what a run inside this process imported, and these bear that only once.
import matplotlib.backends.backend_svg
import matplotlib.figure  # noqa: F401
import numpy as np  # noqa: F401
import pyarrow.parquet  # noqa: F401
import pytest
import scipy.stats  # noqa: F401

import stillwired.judge.verdicts  # noqa: F401
from stillwired.cli import main

pytest_plugins = ["pytester"]

CONFTEST = """
from types import SimpleNamespace


def pytest_claims_prepare(spec):
    name = spec.rsplit("/", 1)[-1]
    return SimpleNamespace(name=name, layers=9, to_json=lambda: {"name": name, "layers": 9})
"""

CLAIMS = """
import pytest

from stillwired.judge import *


def read(reader, ahead, depth=None, rows=80):
    hits = [float((k * 0.6180339887) % 1 < 0.3) for k in range(rows)]
    documents = [f"d{k // 4}" for k in range(rows)]
    examples = [f"{document}:{k}" for k, document in enumerate(documents)]
    factors = {"reader": reader, "ahead": ahead, "population": "all"}
    if depth is not None:
        factors |= {"relative": depth, "states": "own"}
    return Outcome(f"{reader} {depth}", examples, documents, hits, factors)


READ = Claim(
    id="a-paper/read",
    version=1,
    says="It can be read.",
    source=Paper("a-paper", "A Paper", "A. Author", "Venue 2026").at("Table 1"),
    published="0.5",
    expects=(Level("reader", at_least=0.1),),
    margin=0.1,
    mutant="shuffled",
)


@pytest.mark.claim(READ)
@pytest.mark.parametrize("ahead", [1, 2])
def test_read(checkpoint_spec, ahead, judge):
    judge(
        reader={f"depth{d:.2f}": read("linear", ahead, d) for d in DEPTHS},
        beside={"bigram": read("bigram", ahead)},
    )
"""
WITHOUT = ("cacheprovider", "benchmark", "hypothesispytest", "anyio")
OPTIONS = tuple(f"-pno:{plugin}" for plugin in WITHOUT)


@pytest.fixture
def suite(pytester, monkeypatch):
    """Make a folder of one claim about some depths and run pytest on it."""
    monkeypatch.delenv("COLUMNS", raising=False)
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    pytester.makeconftest(CONFTEST)
    pytester.makeini("[pytest]\n")

    def run(*arguments, depths=(0.1, 0.5, 0.9), models=("tiny",), separate=False, more=""):
        pytester.makepyfile(test_claims=f"{CLAIMS}\n\nDEPTHS = {depths}\n{more}")
        given = [word for model in models for word in ("--claims-model", model)]
        go = pytester.runpytest_subprocess if separate else pytester.runpytest_inprocess
        return go(*OPTIONS, *given, *arguments)

    return run


VECTORS = """
from dataclasses import replace

TRIGGERS = replace(
    READ,
    id="function-vectors/peak-then-cliff",
    expects=(Difference("early_to_middle", "late", at_least=0.1),),
)


def with_vector(task, depth, hits):
    rows = [f"{task} {k}" for k in range(40)]
    return Outcome(f"{task} {depth}", rows, rows, [float(k < hits) for k in range(40)])


@pytest.mark.claim(TRIGGERS)
@pytest.mark.parametrize("task", ["antonym", "present-past"])
def test_triggers(checkpoint_spec, task, judge, claims_run):
    by_depth = {
        label: with_vector(task, label, hits)
        for label, hits in (("depth0.00", 8), ("depth0.50", 30), ("depth1.00", 1))
    }
    heads = [[0.0, 0.25], [0.5, -0.125]]
    claims_run.note_figure("head map", {"effects": heads, "heads": [[1, 0]], "tasks": [task]})
    judge(
        early_to_middle=by_depth["depth0.50"],
        late=by_depth["depth1.00"],
        beside={"by depth": by_depth, "without": with_vector(task, "none", 4)},
    )
"""


def curves_of(pytester):
    return sorted(path.name for path in pytester.path.rglob("*.svg"))


def test_a_run_leaves_its_curves_beside_its_record_and_says_where(suite, pytester, capsys):
    result = suite()
    assert result.ret == 0
    folder = r"\.stillwired/records/\d{8}-\d{6}-tiny"
    result.stdout.re_match_lines(
        [
            rf"2 hold, .* record: {folder}/record\.json.*",
            rf"curves:  {folder}/future-lens-N1\.svg  {folder}/future-lens-N2\.svg",
        ]
    )
    (record,) = pytester.path.rglob("record.json")
    svg = record.parent / "future-lens-N1.svg"
    assert sorted(path.name for path in record.parent.iterdir()) == [
        "future-lens-N1.svg",
        "future-lens-N2.svg",
        "outcomes.parquet",
        "record.json",
    ]
    assert "profile quick, 80 rows" in svg.read_text()
    assert main(["curves", str(record), "--out", str(pytester.path / "again")]) == 0
    assert (pytester.path / "again" / svg.name).read_bytes() == svg.read_bytes()


def test_function_vectors_are_drawn_beside_the_curves(suite, pytester):
    result = suite("--claims-record", "r.json", more=VECTORS)
    assert result.ret == 0
    said = result.stdout.str()
    for name in ("future-lens-N1", "function-vectors-heads", "function-vectors-depth"):
        assert f"r.{name}.svg" in said
    depth = (pytester.path / "r.function-vectors-depth.svg").read_text()
    assert "mean of 2 tasks" in depth
    assert "0.200 at 0.00" in depth
    assert "0.750 at 0.50" in depth
    assert "(1, 0) 0.500" in (pytester.path / "r.function-vectors-heads.svg").read_text()


def test_too_few_depths_leave_none_and_nothing_is_said(suite, pytester):
    result = suite(depths=(0.1, 0.9))
    assert result.ret == 0
    assert not re.search("curves", result.stdout.str())
    assert curves_of(pytester) == []


def test_several_checkpoints_have_curves_each(suite, pytester):
    result = suite("--claims-record", "r.json", models=("tiny", "x/other"))
    result.stdout.re_match_lines(
        [
            r".*record: r-tiny\.json.*",
            r"curves:  r-tiny\.future-lens-N1\.svg  r-tiny\.future-lens-N2\.svg",
            r".*record: r-other\.json.*",
            r"curves:  r-other\.future-lens-N1\.svg  r-other\.future-lens-N2\.svg",
        ]
    )
    assert len(curves_of(pytester)) == 4
    assert "other" in (pytester.path / "r-other.future-lens-N1.svg").read_text()


def test_xdist_draws_once_and_the_same(suite, pytester):
    suite("--claims-record", "serial.json")
    spread = suite("-n", "2", "--claims-record", "spread.json", separate=True)
    assert spread.ret == 0
    lines = [line for line in spread.outlines if line.startswith("curves:")]
    assert lines == ["curves:  spread.future-lens-N1.svg  spread.future-lens-N2.svg"]
    one, two = (
        (pytester.path / f"{name}.future-lens-N1.svg").read_bytes() for name in ("serial", "spread")
    )
    assert one == two


def test_what_cannot_be_drawn_costs_neither_exit_code_nor_record(suite, pytester):
    (pytester.path / "r.future-lens-N1.svg").mkdir()
    result = suite("--claims-record", "r.json")
    assert result.ret == 0
    assert (pytester.path / "r.json").is_file()
    assert (pytester.path / "r.outcomes.parquet").is_file()
    # Where lines break depends on how long the folder's name is.
    told = " ".join(result.stdout.str().split())
    why = r"No curves were drawn\. \S*r\.future-lens-N1\.svg cannot be written: "
    assert re.search(rf" record: r\.json .*{why}", told)
    pytester.makepyfile(matplotlib="raise ImportError('broken')")
    result = suite("--claims-record", "s.json", "-p", "no:cacheprovider", separate=True)
    assert result.ret == 0
    assert (pytester.path / "s.json").is_file()
    result.stdout.fnmatch_lines(["No curves were drawn. matplotlib cannot be imported (broken).*"])


def test_quiet_runs_draw_and_say_less(suite, pytester):
    assert "curves:" in suite("-q", "--claims-record", "r.json").stdout.str()
    assert "curves:" not in suite("-qq", "--claims-record", "s.json").stdout.str()
    assert len(curves_of(pytester)) == 4


def test_an_interrupted_run_draws_nothing(suite, pytester):
    pytester.path.joinpath("test_later.py").write_text(
        "def test_it():\n    raise KeyboardInterrupt\n"
    )
    result = suite("--claims-record", "r.json", separate=True)
    assert result.ret == 2
    assert curves_of(pytester) == []
