"""Runs that leave a page, a job summary and notes: fabricated outcomes, no model."""

from __future__ import annotations

import json
import re
from xml.etree import ElementTree

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

import pytest


def pytest_claims_prepare(spec):
    known = {"name": spec, "layers": 9, "digest": "ab" * 32}
    return SimpleNamespace(name=spec, layers=9, to_json=lambda: known)


@pytest.fixture(scope="session", autouse=True)
def corpus(claims_run):
    claims_run.note_corpus({"name": "text", "digest": "cd"})
"""

SUITE = """
import pytest

from stillwired.judge import *


def arm(p, rows=400):
    hits = [float((k * 0.6180339887) % 1 < p) for k in range(rows)]
    documents = [f"d{k}" for k in range(rows)]
    return Outcome(f"arm {p}", [f"{d}:0" for d in documents], documents, hits)


def claim(name, **more):
    given = dict(
        version=3,
        says=f"The {name} is there.",
        source=Paper("a-paper", "A Paper", "A. Author", "Venue 2026").at("Table 1"),
        published="0.5",
        expects=(Level("arm", at_least=0.2),),
        margin=0.1,
        mutant="shuffled",
    )
    return Claim(id=f"a-paper/{name}", **given | more)


@pytest.mark.claim(claim("holding", primary={"ahead": 1}))
@pytest.mark.parametrize("ahead", [1, 2])
def test_holding(checkpoint_spec, ahead, judge):
    judge(arm=arm(0.5))


@pytest.mark.claim(claim("failing"))
def test_failing(checkpoint_spec, judge):
    judge(arm=arm(0.02))


@pytest.mark.claim(claim("close"))
def test_close(checkpoint_spec, judge):
    judge(arm=arm(0.3, rows=12))


@pytest.mark.claim(claim("stuck"))
def test_stuck(checkpoint_spec, judge):
    raise ValueError("no, 100 % not")
"""

# Other plugins would only be imported anew by every run.
PLAIN = tuple(f"-pno:{name}" for name in ("cacheprovider", "benchmark", "hypothesispytest"))
HOLDING = ("-k", "holding")
# The folder of the page becomes a file while the run is under way.
GONE = """from pathlib import Path
    if Path("out").is_dir():
        Path("out").rmdir()
        Path("out").touch()
"""


@pytest.fixture
def suite(secluded, pytester):
    """Run pytest on a small suite of claims."""
    pytester.makeconftest(CONFTEST)
    pytester.makepyfile(test_claims=SUITE)

    def run(*arguments, separate=False):
        go = pytester.runpytest_subprocess if separate else pytester.runpytest_inprocess
        given = ("--claims-model", "tiny", "--claims-record", "record.json")
        return go(*PLAIN, *given, *arguments)

    return run


@pytest.fixture
def github(pytester, monkeypatch):
    """Let the run believe that GitHub runs it; return where its summary goes."""
    summary = pytester.path / "summary.md"
    monkeypatch.setenv("GITHUB_ACTIONS", "true")
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(summary))
    monkeypatch.setenv("GITHUB_WORKSPACE", str(pytester.path))
    return summary


def test_a_run_leaves_its_page_and_says_where(suite, pytester):
    result = suite("--claims-report", "out/page.html")
    assert result.ret == 1
    result.stdout.fnmatch_lines(["report:  out/page.html"])
    page = (pytester.path / "out" / "page.html").read_text(encoding="utf-8")
    for said in ("a-paper/failing", ">HOLDS<", "1 not judged, because of errors."):
        assert said in page
    digest = json.loads((pytester.path / "record.json").read_text())["digest"]
    assert digest in page
    assert "::error" not in result.stdout.str()


def test_several_checkpoints_share_a_page(suite, pytester):
    suite("--claims-report", "page.html", "--claims-model", "other", *HOLDING)
    page = (pytester.path / "page.html").read_text(encoding="utf-8")
    assert "<h2>tiny</h2>" in page
    assert "<h2>other</h2>" in page
    assert page.count('<details class="cell"') == 4


def test_a_page_that_cannot_be_written_is_told_before_anything_runs(suite, pytester):
    (pytester.path / "file").write_text("")
    result = suite("--claims-report", "file/page.html")
    assert result.ret == 4
    result.stderr.fnmatch_lines(["ERROR: *file/page.html cannot be written: *--claims-report."])
    result = suite("--claims-report", "page.pdf")
    assert result.ret == 4
    result.stderr.fnmatch_lines(["ERROR: --claims-report: *page.pdf does not end in .html.*"])


def test_a_page_that_fails_in_the_end_is_told_and_changes_no_exit_code(suite, pytester):
    source = SUITE.replace("    judge(arm=arm(0.5))", f"    {GONE}    judge(arm=arm(0.5))")
    pytester.makepyfile(test_claims=source)
    result = suite("--claims-report", "out/page.html", *HOLDING)
    assert result.ret == 0
    # Where lines break depends on how long the folder's name is.
    told = " ".join(result.stdout.str().split())
    assert re.search(r"No report was written\. \S*/out/page\.html cannot be written: ", told)
    assert (pytester.path / "record.json").exists()


def test_github_is_told_of_everything_that_fails(suite, pytester, github):
    github.write_text("before\n")
    result = suite()
    lines = [line for line in result.outlines if line.startswith("::")]
    where = r"::(\w+) file=test_claims\.py,line=(\d+),title=([A-Z]+)%3A ([^:]*)::(.*)"
    found = [re.fullmatch(where, line).groups() for line in lines]
    assert [(kind, word, cell) for kind, _, word, cell, _ in found] == [
        ("error", "FAILS", "a-paper/failing"),
        ("error", "ERROR", "a-paper/stuck"),
        ("notice", "INCONCLUSIVE", "a-paper/close"),
    ]
    source = SUITE.strip().splitlines()
    for (_, line, _, cell, _), name in zip(found, ("failing", "stuck", "close"), strict=True):
        near = source[int(line) - 1 : int(line) + 2]
        assert any(f"def test_{name}(" in text for text in near), cell
    assert found[1][4] == "ValueError: no, 100 %25 not"
    assert "expected at least 0.20" in found[0][4]
    text = github.read_text(encoding="utf-8")
    assert text.startswith(
        "before\n**1 not judged, because of errors.**\n\n## tiny: the gate fails"
    )
    assert "| FAILS | a-paper/failing |" in text


def test_with_workers_github_is_told_the_same(suite, github):
    def notes(result):
        return sorted(line for line in result.outlines if line.startswith("::"))

    alone = notes(suite())
    shared = notes(suite("-n", "2", "--claims-record", "shared.json"))
    assert len(alone) == 3
    assert shared == alone


def test_a_run_elsewhere_tells_github_nothing(suite, monkeypatch, pytester):
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(pytester.path / "summary.md"))
    result = suite(*HOLDING)
    assert not (pytester.path / "summary.md").exists()
    assert "::" not in "".join(result.outlines[-3:])


def test_a_strict_run_makes_errors_of_open_cells(suite, github):
    result = suite("--claims-strict", "-k", "close")
    assert result.ret == 1
    result.stdout.fnmatch_lines(["::error file=test_claims.py,line=*,title=INCONCLUSIVE*"])


def test_expected_verdicts_are_no_news(suite, github, pytester):
    entries = [
        {"claim": f"a-paper/{name}", "params": {}, "verdicts": [word], "reason": "small"}
        for name, word in (("failing", "FAILS"), ("close", "INCONCLUSIVE"))
    ]
    content = {"schema": 1, "checkpoint": "tiny", "profile": "quick", "expected": entries}
    (pytester.path / "expected.json").write_text(json.dumps(content))
    result = suite("--claims-expected", "expected.json", "-k", "not stuck")
    assert result.ret == 0
    assert not [line for line in result.outlines if line.startswith("::")]
    assert "| FAILS (expected) |" in github.read_text(encoding="utf-8").split("<details>")[1]


def test_what_was_lost_is_told_with_its_baseline(suite, github, pytester):
    suite(*HOLDING, "--claims-record", "old.json")
    pytester.makepyfile(test_claims=SUITE.replace("arm=arm(0.5)", "arm=arm(0.3)"))
    result = suite(*HOLDING, "--claims-baseline", "old.json", "--claims-report", "page.html")
    assert result.ret == 1
    result.stdout.fnmatch_lines(["::error file=test_claims.py,*a-paper/holding?ahead=1? is LOST*"])
    assert "Compared with tiny" in (pytester.path / "page.html").read_text(encoding="utf-8")
    assert "### Compared with tiny" in github.read_text(encoding="utf-8")


def test_an_interrupted_run_leaves_no_page(suite, pytester):
    source = SUITE.replace('ValueError("no, 100 % not")', "KeyboardInterrupt")
    pytester.makepyfile(test_claims=source)
    result = suite("--claims-report", "page.html", separate=True)
    assert result.ret == 2
    result.stdout.fnmatch_lines(["No report was written, since there is no record to show."])
    assert not (pytester.path / "page.html").exists()


@pytest.mark.parametrize("workers", [(), ("-n", "2")])
def test_junit_knows_the_cell_and_the_run(suite, pytester, workers):
    suite("--junitxml=j.xml", *workers)
    (whole,) = ElementTree.parse(pytester.path / "j.xml").iter("testsuite")
    of_run = {p.get("name"): p.get("value") for p in whole.find("properties")}
    assert of_run["stillwired.profile"] == "quick"
    assert of_run["stillwired.checkpoint.tiny"] == "ab" * 32
    assert of_run["stillwired.corpus"] == "cd"
    found = {
        case.get("name"): {p.get("name"): p.get("value") for p in case.iter("property")}
        for case in whole.iter("testcase")
    }
    failing = found["test_failing[tiny]"]
    assert float(failing.pop("estimate")) == pytest.approx(0.02, abs=0.01)
    assert float(failing.pop("low")) < 0.02 < float(failing.pop("high"))
    assert failing == {
        "claim": "a-paper/failing",
        "version": "3",
        "cell": "a-paper/failing",
        "primary": "yes",
        "verdict": "FAILS",
        "least": "0.20",
        "n": "400",
        "clusters": "400",
    }
    assert found["test_holding[tiny-2]"]["cell"] == "a-paper/holding[ahead=2]"
    assert found["test_holding[tiny-2]"]["primary"] == "no"


def test_commands_write_pages(suite, pytester, capsys):
    suite("-k", "not stuck")
    record, page = pytester.path / "record.json", pytester.path / "new" / "page.html"
    assert main(["report", str(record), "--out", str(page)]) == 0
    assert "a-paper/failing" in page.read_text(encoding="utf-8")
    assert main(["atlas", str(record), str(record), "--out", str(page)]) == 0
    assert "tiny (2)" in page.read_text(encoding="utf-8")
    assert capsys.readouterr().out.splitlines()[-2:] == [f"report: {page}", f"atlas: {page}"]
    before = page.read_bytes()
    record.write_text(record.read_text().replace('"profile": "quick"', '"profile": "paper"'))
    for command in ("report", "atlas"):
        assert main([command, str(record), "--out", str(page)]) == 2
        assert "was edited after it was written" in capsys.readouterr().err
    assert page.read_bytes() == before
    assert main(["report", str(record), "--out", str(pytester.path)]) == 2
    assert "is a folder" in capsys.readouterr().err


def test_the_command_takes_one_judge_at_a_time(suite, pytester, capsys):
    suite("-k", "not stuck")
    record, page = str(pytester.path / "record.json"), str(pytester.path / "page.html")
    (pytester.path / "e.json").write_text(
        json.dumps({"schema": 1, "checkpoint": "tiny", "profile": "quick", "expected": []})
    )
    known = ("--expected", str(pytester.path / "e.json"))
    assert main(["report", record, "--baseline", record, *known, "--out", page]) == 2
    assert "Give one of them" in capsys.readouterr().err
    assert main(["report", record, record, *known, "--out", page]) == 2
    assert "is about one record" in capsys.readouterr().err
    assert main(["report", record, "--baseline", record, "--out", page]) == 0
    assert "Compared with tiny" in (pytester.path / "page.html").read_text(encoding="utf-8")
