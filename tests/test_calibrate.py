"""``stillwired calibrate`` as its users see it: real runs of made-up claims, no model."""

from __future__ import annotations

import json

import pytest

from stillwired.cli import main
from stillwired.records.record import read_record

CONFTEST = """
from types import SimpleNamespace


def pytest_claims_prepare(spec):
    known = {"name": spec, "layers": 9, "digest": spec * 8}
    return SimpleNamespace(name=spec, layers=9, to_json=lambda: known)
"""

# What is judged depends on the redraw and on the regime as in a run of a model.
CLAIMS = """
import pytest

from stillwired.judge import *

RATES = {rates}


def claim(name):
    return Claim(
        id=f"a-paper/{{name}}",
        version=1,
        says=f"The {{name}} is there.",
        source=Paper("a-paper", "A Paper", "A. Author", "Venue 2026").at("Table 1"),
        published="0.5",
        expects=(Level("arm", at_least=0.2),),
        margin=0.1,
        mutant="shuffled",
    )


def arm(settings, name):
    redraw = settings.redraw
    fresh = redraw is not None and not redraw.keeps_data
    draw = redraw.number if fresh else 0
    what = "bf16" if settings.dtype == "bfloat16" else redraw.kind if redraw else "reference"
    share = RATES.get((name, what), 0.5)
    if share is None:
        raise RuntimeError("this regime lacks what it takes")
    documents = [f"draw {{draw}} document {{k}}" for k in range(200)]
    return Outcome(name, documents, documents, [float(k < share * 200) for k in range(200)])


@pytest.mark.claim(claim("steady"))
def test_steady(checkpoint_spec, claims_config, judge):
    judge(arm=arm(claims_config, "steady"))


@pytest.mark.claim(claim("shaky"))
def test_shaky(checkpoint_spec, claims_config, judge):
    judge(arm=arm(claims_config, "shaky"))
"""


@pytest.fixture
def calibrate(tmp_path, monkeypatch, capfd):
    """Make a folder of claims, and calibrate with them."""
    monkeypatch.chdir(tmp_path)
    for name in ("COLUMNS", "PYTEST_ADDOPTS", "GITHUB_ACTIONS"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    monkeypatch.setenv("STILLWIRED_CACHE", str(tmp_path / "cache"))
    (tmp_path / "conftest.py").write_text(CONFTEST)
    # What a project gates its runs with has nothing to do with redraws.
    (tmp_path / "expected.json").write_text("{}")
    ini = "[pytest]\nclaims_expected = expected.json\naddopts = -p no:benchmark -p no:anyio\n"
    (tmp_path / "pytest.ini").write_text(ini)

    def run(*arguments, **rates):
        given = {tuple(name.split("_")): share for name, share in rates.items()}
        (tmp_path / "test_claims.py").write_text(CLAIMS.format(rates=given))
        code = main(["calibrate", "test_claims.py", "--model", "tiny", "--out", "out", *arguments])
        said = capfd.readouterr()
        return code, said.out, said.err

    return run


SMALL = ("--redraws", "1", "--kinds", "bf16", "--refits", "1")


def test_runs_are_done_once_and_reported(calibrate, tmp_path):
    code, out, err = calibrate(*SMALL)
    assert code == 0, err
    assert "4 runs of tiny, profile mutants; records in out" in err
    steps = [line.split(": ")[1].split(",")[0] for line in err.splitlines() if " of 4: " in line]
    assert steps == ["reference", "seed-1", "bf16-1", "refit-1"]
    assert "No claim that held came out as FAILS or BROKEN in 6 claim-runs" in out
    records = {
        path.stem: read_record(path).data for path in (tmp_path / "out/records").glob("*.json")
    }
    assert {name: data.get("redraw") for name, data in records.items()} == {
        "reference": None,
        "seed-1": "seed-1",
        "bf16-1": "seed-1+reference-fits",
        "refit-1": "refit-1",
    }
    assert records["bf16-1"]["checkpoint"]["regime"]["dtype"] == "bfloat16"
    assert not list((tmp_path / "out/records").glob("*.run*"))
    report = json.loads((tmp_path / "out/report.json").read_text())
    assert report["passed"] is True
    assert list(report["kinds"]) == ["seed", "bf16", "refit"]
    assert report["kinds"]["bf16"]["against"] == "seed"
    assert report["pooled"]["rates"]["LOST"]["count"] == 0

    # Again with more: what is there is not done again, whatever a run that was broken off left.
    (tmp_path / "out/records/refit-2.run").mkdir()
    before = {p: p.stat().st_mtime_ns for p in (tmp_path / "out/records").glob("*.json")}
    code, out, err = calibrate(*SMALL[:-1], "2")
    assert code == 0, err
    assert "4 of them are done already" in err
    assert "1 of 1: refit-2" in err
    assert {path: path.stat().st_mtime_ns for path in before} == before
    assert not (tmp_path / "out/records/refit-2.run").exists()


def test_a_claim_that_fails_under_a_redraw_fails_the_calibration(calibrate, tmp_path):
    code, out, err = calibrate(
        "--redraws", "1", "--kinds", "seed", "--refits", "0", shaky_seed=0.05
    )
    assert code == 1, err
    assert "False alarms: 1 of 2 claim-runs that held came out as FAILS" in out
    report = (tmp_path / "out/report.md").read_text()
    (flip,) = [line for line in report.splitlines() if "| seed-1 |" in line]
    assert "a-paper/shaky" in flip
    assert "HOLDS 0.5" in flip
    assert "FAILS 0.05" in flip
    assert "LOST" in flip


def test_what_cannot_be_run_is_said_and_keeps_nothing_else_from_being_run(calibrate, tmp_path):
    code, out, err = calibrate(*SMALL, steady_bf16=None, shaky_bf16=None)
    assert code == 2
    assert "bf16-1 left no record that can be used: pytest ended with 1" in err
    assert "bf16-1 could not be run" in out
    report = json.loads((tmp_path / "out/report.json").read_text())
    assert list(report["failed"]) == ["bf16-1"]
    assert list(report["kinds"]) == ["seed", "refit"]
    assert report["passed"] is False
    # One that lacks a cell has a record all the same.
    code, out, err = calibrate(*SMALL, shaky_bf16=None)
    assert "1 of 1: bf16-1" in err
    report = json.loads((tmp_path / "out/report.json").read_text())
    assert report["missing"] == {"bf16-1": ["a-paper/shaky"]}
    assert report["kinds"]["bf16"]["claim_runs"] == 1


def test_without_a_reference_nothing_is_compared(calibrate):
    code, _, err = calibrate(
        *SMALL, "--profile", "quick", steady_reference=None, shaky_reference=None
    )
    assert code == 2
    assert "The reference left no record that can be used: pytest ended with 1" in err
    assert "seed-1" not in err
