"""Divided runs, and runs of several workers: fabricated outcomes, no model."""

from __future__ import annotations

import json

# pytester forgets what a run inside this process imported, and these bear that only once.
import matplotlib.backends.backend_svg
import matplotlib.figure  # noqa: F401
import numpy as np  # noqa: F401
import pyarrow.parquet  # noqa: F401
import pytest
import scipy.stats  # noqa: F401

import stillwired.judge.verdicts  # noqa: F401
from stillwired.cli import main
from stillwired.records.record import read_record

pytest_plugins = ["pytester"]

CONFTEST = """
import os
from types import SimpleNamespace

import pytest


def pytest_claims_prepare(spec):
    known = {"name": spec, "layers": 9, "digest": spec * 8}
    return SimpleNamespace(name=spec, layers=9, to_json=lambda: known)


@pytest.fixture(scope="session", autouse=True)
def corpus(claims_run):
    claims_run.note_corpus({"name": "text", "digest": "cd"})


@pytest.fixture(autouse=True)
def seen(request):
    spec = request.node.callspec.params.get("checkpoint_spec", "")
    with open(request.config.rootpath / "seen", "a") as file:
        file.write(f"{os.environ.get('PYTEST_XDIST_WORKER', '')} {spec}\\n")
"""

HEAD = """
import pytest

from stillwired.judge import *


def arm(p, rows=400):
    hits = [float((k * 0.6180339887) % 1 < p) for k in range(rows)]
    documents = [f"d{k}" for k in range(rows)]
    return Outcome(f"arm {p}", [f"{d}:0" for d in documents], documents, hits)


def claim(name, **more):
    given = dict(
        version=1,
        says=f"The {name} is there.",
        source=Paper("a-paper", "A Paper", "A. Author", "Venue 2026").at("Table 1"),
        published="0.5",
        expects=(Level("arm", at_least=0.2),),
        margin=0.1,
        mutant="shuffled",
    )
    return Claim(id=f"a-paper/{name}", **given | more)
"""

TEST = """

@pytest.mark.claim(claim({name!r}))
@pytest.mark.parametrize("ahead", [1, 2])
def test_{name}(checkpoint_spec, ahead, judge):
    judge(arm=arm({hits} + 0.01 * ahead), {more})
"""

HOLDING = {name: {"hits": 0.5} for name in ("one", "two", "three", "four")}
FAILING = {"failing": {"hits": 0.02}}
BROKEN = {"broken": {"hits": 0.5, "more": "checks=[InstrumentCheck('adds up', False, '0.3')]"}}
ORDINARY = """

@pytest.mark.parametrize("number", [1])
def test_ordinary(number):
    pass


@pytest.mark.skip(reason="takes too long")
@pytest.mark.claim(claim("skipped"))
@pytest.mark.parametrize("number", [1])
def test_skipped(checkpoint_spec, number, judge):
    raise RuntimeError
"""
CRASHING = """

@pytest.mark.claim(claim("crashing"))
@pytest.mark.parametrize("number", [1])
def test_crashing(checkpoint_spec, number, judge):
    raise RuntimeError("out of luck")
"""

# Other plugins would only be imported anew by every run.
PLAIN = [f"-pno:{plugin}" for plugin in ("cacheprovider", "benchmark", "hypothesispytest", "anyio")]


@pytest.fixture
def suite(secluded, pytester):
    """Make a folder of claims, a file each, and run pytest on it."""
    pytester.makeconftest(CONFTEST)
    pytester.makeini("[pytest]\naddopts = --strict-markers\n")

    def run(claims, *arguments, source="", separate=False, models=("tiny",)):
        for name, about in claims.items():
            test = TEST.format(**{"name": name, "more": "", **about})
            (pytester.path / f"test_{name}.py").write_text(HEAD + test)
        if source:
            (pytester.path / "test_source.py").write_text(HEAD + source)
        go = pytester.runpytest_subprocess if separate else pytester.runpytest_inprocess
        return go(*PLAIN, *[f"--claims-model={model}" for model in models], *arguments)

    return run


def shards(suite, claims, of, *arguments, **more):
    """Run every shard; returns their results."""
    return [
        suite(
            claims, f"--claims-shard={k}/{of}", f"--claims-record=shard{k}.json", *arguments, **more
        )
        for k in range(1, of + 1)
    ]


def merge(pytester, *names, arguments=()):
    """Merge records in the suite's folder; returns the exit code."""
    paths = [str(pytester.path / name) for name in names]
    return main(["merge", *paths, "--out", str(pytester.path / "merged.json"), *arguments])


THREE = ("shard1.json", "shard2.json", "shard3.json")


def test_merged_shards_are_the_undivided_run(suite, pytester, capsys):
    claims = HOLDING | FAILING
    whole = suite(claims, "--claims-record=whole.json")
    assert whole.ret == 1
    parts = shards(suite, claims, 3)
    assert [part.ret for part in parts] == [0, 0, 0]
    for number, part in enumerate(parts, 1):
        part.stdout.fnmatch_lines([f"a shard does not gate: merge the records ({number} of 3)"])
    capsys.readouterr()
    assert merge(pytester, *THREE) == 1
    shown = capsys.readouterr().out
    assert "8 hold, 2 fail" in shown
    assert "a-paper/failing[ahead=1] FAILS (p" in shown
    assert "record: " in shown
    one, two = (read_record(pytester.path / f"{name}.json").data for name in ("whole", "merged"))
    assert {**one, "times": {}} == {**two, "times": {}}
    one, two = (pytester.path / f"{name}.outcomes.parquet" for name in ("whole", "merged"))
    assert one.read_bytes() == two.read_bytes()


def test_every_claim_is_judged_in_one_shard_and_other_tests_run_in_all(suite, pytester):
    parts = shards(suite, HOLDING, 2, "-v", source=ORDINARY)
    lines = [line for part in parts for line in part.outlines if line.startswith("test_")]
    judged = sorted(line.split()[0] for line in lines if "HOLDS" in line)
    assert judged == sorted(
        f"test_{name}.py::test_{name}[tiny-{ahead}]" for name in HOLDING for ahead in (1, 2)
    )
    assert sum("test_ordinary[1] PASSED" in line for line in lines) == 2
    assert sum("test_skipped[tiny-1] SKIPPED" in line for line in lines) == 2
    # Nothing is left out by the user, so nothing has to be explained.
    assert sum("4 deselected" in line for part in parts for line in part.outlines) > 0


def test_judging_a_shard_again_does_not_gate_it_either(suite, pytester, capsys):
    shards(suite, FAILING, 1)
    capsys.readouterr()
    assert main(["judge", str(pytester.path / "shard1.json")]) == 0
    assert "a shard does not gate: merge the records (1 of 1)" in capsys.readouterr().out


def test_a_broken_cell_fails_its_shard_and_the_merged_record(suite, pytester, capsys):
    parts = shards(suite, HOLDING | BROKEN, 2)
    assert sorted(part.ret for part in parts) == [0, 1]
    (broken,) = (part for part in parts if part.ret)
    broken.stdout.fnmatch_lines(
        [
            "a-paper/broken?ahead=1? is BROKEN: *",
            "a shard does not gate: merge the records (? of 2)",
        ]
    )
    assert merge(pytester, *THREE[:2]) == 1
    assert "a-paper/broken[ahead=1] is BROKEN" in capsys.readouterr().out


def test_an_error_fails_its_shard_and_the_merged_record(suite, pytester, capsys):
    parts = shards(suite, HOLDING, 2, source=CRASHING)
    assert sorted(part.ret for part in parts) == [0, 1]
    number = [part.ret for part in parts].index(1) + 1
    assert merge(pytester, *THREE[:2]) == 1
    assert f"Shard {number} did not judge all of its claims" in capsys.readouterr().out


def test_a_shard_that_stopped_early_is_not_taken_for_a_whole_one(suite, pytester, capsys):
    failing = {"afailing": {"hits": 0.02}}
    arguments = ("-x", "--claims-shard=1/1", "--claims-record=shard1.json")
    assert suite(failing | HOLDING, *arguments).ret == 1
    assert read_record(pytester.path / "shard1.json").data["incomplete"] is True
    assert merge(pytester, "shard1.json") == 1
    assert "Shard 1 did not judge all of its claims" in capsys.readouterr().out


def test_several_checkpoints_are_dealt_out_whole(suite, pytester, capsys):
    models = ("tiny", "small")
    parts = shards(suite, HOLDING, 2, models=models)
    assert [part.ret for part in parts] == [0, 0]
    written = sorted(path.name for path in pytester.path.glob("shard*-*.json"))
    assert len(written) == 2
    assert {name.removesuffix(".json").split("-")[1] for name in written} == set(models)
    # The other shard has nothing to say about this checkpoint, and is not missed.
    assert merge(pytester, written[0]) == 0
    assert suite(HOLDING, "--claims-record=whole.json", models=models).ret == 0
    name = written[0].removesuffix(".json").split("-")[1]
    one, two = (read_record(pytester.path / f"{n}.json") for n in ("merged", f"whole-{name}"))
    assert one.data["digest"] == two.data["digest"]


def test_a_missing_shard_is_missed_and_a_part_does_not_gate(suite, pytester, capsys):
    shards(suite, HOLDING | FAILING, 3)
    assert merge(pytester, *THREE[:2]) == 2
    assert "Of the 3 shards of this run 3 is not here" in capsys.readouterr().err
    assert not (pytester.path / "merged.json").exists()
    assert merge(pytester, *THREE[:2], arguments=("--partial",)) == 0
    assert "a shard does not gate: merge the records (1, 2 of 3)" in capsys.readouterr().out
    assert read_record(pytester.path / "merged.json").data["shard"]["parts"] == [1, 2]


def test_the_merged_record_meets_expectations_as_a_run_does(suite, pytester, capsys):
    cells = [
        {
            "claim": "a-paper/failing",
            "params": {"ahead": ahead},
            "verdicts": ["FAILS"],
            "reason": "It is known.",
        }
        for ahead in (1, 2)
    ]
    file = {"schema": 1, "checkpoint": "tiny", "profile": "quick", "expected": cells}
    known = pytester.path / "known.json"
    known.write_text(json.dumps(file))
    shards(suite, HOLDING | FAILING, 2)
    assert merge(pytester, *THREE[:2]) == 1
    assert merge(pytester, *THREE[:2], arguments=("--expected", str(known))) == 0
    file["checkpoint"] = "another"
    known.write_text(json.dumps(file))
    assert merge(pytester, *THREE[:2], arguments=("--expected", str(known))) == 2
    assert "is about another, and this run's checkpoint is tiny" in capsys.readouterr().err


def test_the_merged_record_is_compared_with_a_baseline_as_a_run_is(suite, pytester, capsys):
    worse = HOLDING | FAILING
    suite(worse, "--claims-record=base.json")
    shards(suite, worse, 2)
    base = ("--baseline", str(pytester.path / "base.json"))
    # What failed before is not lost.
    assert merge(pytester, *THREE[:2], arguments=base) == 0
    assert "KEPT" in capsys.readouterr().out
    shards(suite, worse | {"one": {"hits": 0.3}}, 2)
    assert merge(pytester, *THREE[:2], arguments=base) == 1
    assert "LOST" in capsys.readouterr().out
    assert merge(pytester, *THREE[:2], arguments=(*base, "--partial")) == 2
    assert "--baseline goes with neither" in capsys.readouterr().err


def test_github_is_told_of_the_merged_record(suite, pytester, monkeypatch, capsys):
    shards(suite, HOLDING, 2)
    place = pytester.path / "summary.md"
    place.write_text("before\n")
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(place))
    assert merge(pytester, *THREE[:2]) == 0
    said = place.read_text()
    assert said.startswith("before\n")
    assert "the gate passes" in said
    assert "8 hold" in said


def test_shards_of_other_selections_do_not_add_up(suite, pytester, capsys):
    suite(HOLDING, "--claims-shard=1/2", "--claims-record=shard1.json")
    suite(HOLDING, "--claims-shard=2/2", "--claims-record=shard2.json", "-k", "not three")
    assert merge(pytester, "shard1.json", "shard2.json") == 2
    assert "the same -k and -m" in capsys.readouterr().err


def test_shards_of_two_states_of_the_code_do_not_add_up(suite, pytester, capsys):
    suite(HOLDING, "--claims-shard=1/2", "--claims-record=shard1.json")
    changed = HOLDING | {"two": {"hits": 0.4}}
    suite(changed, "--claims-shard=2/2", "--claims-record=shard2.json")
    assert merge(pytester, "shard1.json", "shard2.json") == 2
    said = capsys.readouterr().err
    assert "the code of the root folder is" in said
    assert "from one state of the code" in said
    assert not (pytester.path / "merged.json").exists()


def test_shards_whose_claims_lie_apart_know_one_code(suite, pytester, capsys):
    """Each judges one folder, and says what made the whole run."""
    for name in ("one", "two"):
        (pytester.path / name).mkdir()
        test = HEAD + TEST.format(name=name, hits=0.5, more="")
        (pytester.path / name / f"test_{name}.py").write_text(test)
    for k in (1, 2):
        suite({}, f"--claims-shard={k}/2", f"--claims-record=shard{k}.json", "one", "two")
    suite({}, "--claims-record=whole.json", "one", "two")
    assert merge(pytester, "shard1.json", "shard2.json") == 0
    one, two = (read_record(pytester.path / f"{name}.json").data for name in ("whole", "merged"))
    assert set(one["environment"]["code"]) == {"stillwired", ".", "one", "two"}
    assert one["digest"] == two["digest"]


@pytest.mark.parametrize("workers", [(), ("-n", "2")])
def test_more_shards_than_files_are_refused_before_anything_runs(workers, suite, pytester):
    result = suite(HOLDING, "--claims-shard=1/5", *workers, separate=bool(workers))
    assert result.ret != 0
    text = "\n".join((*result.outlines, *result.errlines))
    assert "there are 5 shards and 4 files of claims" in text
    assert "INTERNALERROR" not in text
    assert not (pytester.path / "seen").exists()


# --- several workers ------------------------------------------------------------------------


def test_workers_judge_a_shard_as_one_process_does(suite, pytester):
    alone = suite(HOLDING, "--claims-shard=2/2", "--claims-record=alone.json")
    spread = suite(
        *(HOLDING, "--claims-shard=2/2", "--claims-record=spread.json", "-n", "2"), separate=True
    )
    assert alone.ret == spread.ret == 0
    one, two = (read_record(pytester.path / f"{name}.json").data for name in ("alone", "spread"))
    assert one["shard"]["parts"] == [2]
    assert {**one, "times": {}} == {**two, "times": {}}


def test_a_worker_of_a_load_group_sees_one_checkpoint(suite, pytester):
    # One name begins the other.
    models = ("tiny", "tiny-b")
    serial = suite(HOLDING, "--claims-record=serial.json", models=models)
    (pytester.path / "seen").unlink()
    spread = suite(
        *(HOLDING, "--claims-record=spread.json", "-n", "2", "--dist", "loadgroup"),
        models=models,
        separate=True,
    )
    assert serial.ret == spread.ret == 0
    seen = {tuple(line.split()) for line in (pytester.path / "seen").read_text().splitlines()}
    assert len(seen) == len({worker for worker, _ in seen}) == len({spec for _, spec in seen}) == 2
    for model in models:
        one, two = (
            read_record(pytester.path / f"{name}-{model}.json").data
            for name in ("serial", "spread")
        )
        assert {**one, "times": {}} == {**two, "times": {}}
