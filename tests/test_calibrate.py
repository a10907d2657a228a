"""``stillwired calibrate`` as its users see it: real runs of made-up claims, no model."""

from __future__ import annotations

import json
import re

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
import json
import time
from pathlib import Path

import pytest

from stillwired.judge import *

# No code: what a model shows, and not how it is looked at.
RATES = json.loads(Path(__file__).with_name("rates.json").read_text())


def claim(name):
    return Claim(
        id=f"a-paper/{name}",
        version=1,
        says=f"The {name} is there.",
        source=Paper("a-paper", "A Paper", "A. Author", "Venue 2026").at("Table 1"),
        published="0.5",
        expects=(Level("arm", at_least=0.2),),
        margin=0.1,
        mutant="shuffled",
    )


def meet(redraw):
    # Wait until two redraws are being judged.
    folder, until = Path(__file__).parent, time.monotonic() + 60
    (folder / f"{redraw.label}.here").touch()
    while len([*folder.glob("*.here")]) < 2:
        assert time.monotonic() < until
        time.sleep(0.05)


def arm(settings, name):
    redraw = settings.redraw
    if redraw is not None and RATES.get("wait_for_two"):
        meet(redraw)
    fresh = redraw is not None and not redraw.keeps_data
    draw = redraw.number if fresh else 0
    what = "bf16" if settings.dtype == "bfloat16" else redraw.kind if redraw else "reference"
    share = RATES.get(f"{name}_{what}", 0.5)
    if share is None:
        raise RuntimeError("this regime lacks what it takes")
    documents = [f"draw {draw} document {k}" for k in range(200)]
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
    (tmp_path / "test_claims.py").write_text(CLAIMS)
    # What a project gates its runs with has nothing to do with redraws.
    (tmp_path / "expected.json").write_text("{}")
    ini = "[pytest]\nclaims_expected = expected.json\naddopts = -p no:benchmark -p no:anyio\n"
    (tmp_path / "pytest.ini").write_text(ini)

    def run(*arguments, pytest=(), **rates):
        (tmp_path / "rates.json").write_text(json.dumps(rates))
        options = ["--model", "tiny", "--out", "out", *arguments]
        code = main(["calibrate", *options, "--", "test_claims.py", *pytest])
        said = capfd.readouterr()
        return code, said.out, said.err

    return run


def done(err):
    """Names of the runs that were done."""
    return re.findall(r"^\d+ of \d+: ([\w-]+)", err, re.MULTILINE)


SMALL = ("--redraws", "1", "--kinds", "bf16", "--refits", "1")


def test_runs_are_done_once_and_reported(calibrate, tmp_path):
    code, out, err = calibrate(*SMALL)
    assert code == 0, err
    assert "4 runs of tiny, profile mutants; records in out" in err
    assert done(err) == ["reference", "refit-1", "seed-1", "bf16-1"]
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


def test_runs_go_side_by_side_behind_the_reference(calibrate, tmp_path):
    code, _, err = calibrate(
        "--redraws", "2", "--kinds", "seed", "--refits", "0", "--jobs", "2", wait_for_two=True
    )
    assert code == 0, err
    assert done(err) in (["reference", "seed-1", "seed-2"], ["reference", "seed-2", "seed-1"])
    assert {path.name for path in tmp_path.glob("*.here")} == {"seed-1.here", "seed-2.here"}


def test_no_jobs_are_refused(calibrate):
    code, _, err = calibrate(*SMALL, "--jobs", "0")
    assert code == 2
    assert "Give --jobs 1 or more" in err


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


# What has changed since


def edit(path, old, new):
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))


ONE = ("--redraws", "1", "--kinds", "seed", "--refits", "0")


@pytest.mark.parametrize(
    ("file", "old", "new", "says"),
    [
        ("test_claims.py", "margin=0.1", "margin=0.2", "the declarations of claims"),
        ("test_claims.py", "range(200)", "range(160)", "code of the root folder"),
        ("conftest.py", "spec * 8", "spec * 4", "the checkpoint"),
    ],
)
def test_what_changed_claims_or_weights_came_to_is_done_again(
    calibrate, tmp_path, file, old, new, says
):
    assert calibrate(*ONE)[0] == 0
    before = read_record(tmp_path / "out/records/reference.json").data
    edit(tmp_path / file, old, new)
    code, _, err = calibrate(*ONE)
    assert code == 0, err
    (told,) = [line for line in err.splitlines() if "everything is done again" in line]
    assert says in told
    assert done(err) == ["reference", "seed-1"]
    after = read_record(tmp_path / "out/records/reference.json").data
    assert before["digest"] != after["digest"]
    code, _, err = calibrate(*ONE)
    assert (code, done(err)) == (0, [])


def test_a_part_that_is_done_by_other_code_is_done_again_with_the_rest(calibrate, tmp_path):
    assert calibrate(*ONE)[0] == 0
    (tmp_path / "out/records/seed-1.json").unlink()
    edit(tmp_path / "test_claims.py", "range(200)", "range(160)")
    code, _, err = calibrate(*ONE)
    assert code == 0, err
    assert done(err) == ["reference", "seed-1"]
    assert "left no record" not in err


def test_other_arguments_ask_for_another_calibration(calibrate, tmp_path):
    assert calibrate(*ONE)[0] == 0
    record = tmp_path / "out/records/reference.json"
    before = record.read_bytes()
    code, _, err = calibrate(*ONE, pytest=("-k", "steady"))
    assert code == 2
    assert "of runs of pytest test_claims.py, and not test_claims.py -k steady" in err
    assert record.read_bytes() == before
    code, _, err = calibrate(*ONE, "--out", "other", pytest=("-k", "steady"))
    assert code == 0, err
    data = read_record(tmp_path / "other/records/reference.json").data
    assert list(data["declarations"]) == ["a-paper/steady"]


def test_code_that_changes_meanwhile_is_said(calibrate, tmp_path):
    # The claims change when the reference is there.
    edit(
        tmp_path / "conftest.py",
        "from types import SimpleNamespace",
        "from pathlib import Path\n"
        "from types import SimpleNamespace\n\n"
        'if Path("out/records/reference.json").exists():\n'
        '    with open("test_claims.py", "a") as file:\n'
        '        file.write("# more\\n")\n',
    )
    code, _, err = calibrate(*ONE)
    assert code == 2
    assert "seed-1 left no record that can be used: code of the root folder" in err
    assert "changed after the calibration began; start it again" in err
    edit(tmp_path / "conftest.py", 'file.write("# more\\n")', "pass")
    code, _, err = calibrate(*ONE)
    assert code == 0, err
    assert done(err) == ["reference", "seed-1"]


def test_a_run_that_fails_when_it_is_done_again_is_said_to_have_failed(calibrate, tmp_path):
    assert calibrate(*ONE)[0] == 0
    edit(tmp_path / "test_claims.py", "range(200)", "range(160)")
    code, _, err = calibrate(*ONE, steady_seed=None, shaky_seed=None)
    assert code == 2
    assert "seed-1 left no record that can be used: pytest ended with 1" in err


def test_where_there_is_nothing_to_judge_pytest_says_why(calibrate, tmp_path):
    edit(tmp_path / "test_claims.py", "import pytest", "import nothing_of_that_name")
    code, _, err = calibrate(*ONE)
    assert code == 2
    assert "There is nothing that could be judged: pytest ended with 2" in err
    assert not list((tmp_path / "out").glob("records/*"))
