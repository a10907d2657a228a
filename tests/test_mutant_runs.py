"""Runs of mutants: made-up claims on made-up checkpoints, then a small matrix on a tiny model."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

# pytester forgets what a run inside this process imported, and these bear that only once.
import numpy as np  # noqa: F401
import pyarrow.parquet  # noqa: F401
import pytest
import scipy.stats  # noqa: F401

import stillwired.judge.verdicts  # noqa: F401
from stillwired.cli import main
from stillwired.records.record import read_record
from stillwired.store.cache import Store
from tests.instruments.conftest import made_checkpoint, made_corpus
from tests.running import ROOT, WITHOUT

pytest_plugins = ["pytester"]

OWN, OTHER, HARMLESS = "the-same-target-whatever-n", "patches-forgotten", "rounded-to-8-bits"
PLAIN = tuple(f"-pno:{plugin}" for plugin in WITHOUT)

CONFTEST = """
from types import SimpleNamespace


def pytest_claims_prepare(spec, say):
    say(f"unpacking {spec}")
    known = {"name": spec, "layers": 9, "digest": "ab" * 32, "origin": "made up"}
    return SimpleNamespace(name=spec, layers=9, to_json=lambda: known)
"""

CLAIMS = """
import pytest

from stillwired.errors import EngineError
from stillwired.judge import *
from tests.made_up_claims import claim


def arm(share, rows=60):
    names = [f"d{k}" for k in range(rows)]
    return Outcome("arm", names, names, [float(k < share * rows) for k in range(rows)])


@pytest.mark.claim(claim("noticing"))
def test_noticing(checkpoint_spec, judge):
    judge(arm=arm(0.0 if "same-target" in checkpoint_spec else 0.9))
"""

NOTICED_BY_THE_ENGINE = """

@pytest.fixture(scope="session")
def engine_that_checks(checkpoint_spec):
    if "patches" in checkpoint_spec:
        raise EngineError("The edit changed nothing.")


@pytest.mark.claim(claim("checked", primary={"ahead": 1}))
@pytest.mark.parametrize("ahead", [1, 2])
def test_checked(checkpoint_spec, ahead, engine_that_checks, judge):
    judge(arm=arm(0.0 if "same-target" in checkpoint_spec else 0.9))
"""

SURVIVING = """

@pytest.mark.claim(claim("deaf", mutant="patches forgotten"))
def test_deaf(checkpoint_spec, judge):
    judge(arm=arm(0.9))
"""

CRASHING = """

@pytest.mark.claim(claim("crashing"))
def test_crashing(checkpoint_spec, judge):
    if "same-target" in checkpoint_spec:
        raise RuntimeError("out of luck")
    judge(arm=arm(0.9))
"""

LARGER = """

@pytest.mark.standard
@pytest.mark.claim(claim("larger"))
def test_larger(checkpoint_spec, judge):
    judge(arm=arm(0.9))
"""


@pytest.fixture
def suite(secluded, pytester):
    """Make a folder of claims and run pytest on it, under three mutants."""
    pytester.makeconftest(CONFTEST)
    pytester.makeini("[pytest]\n")

    def run(*arguments, claims=CLAIMS + NOTICED_BY_THE_ENGINE, only=(OWN, OTHER, HARMLESS)):
        pytester.makepyfile(test_claims=claims)
        given = ["--claims-mutants-only", ",".join(only)] if only else []
        return pytester.runpytest_inprocess(
            *PLAIN, "--claims-model", "tiny", "--claims-record", "out/base.json", *given, *arguments
        )

    return run


def said(result):
    return [line.rstrip() for line in result.outlines]


def out(pytester):
    return {path.name: path for path in (pytester.path / "out").iterdir()}


def test_failing_under_a_mutant_fails_no_test_and_the_matrix_decides(suite, pytester):
    result = suite()
    assert result.ret == 0
    lines = said(result)
    assert "a-paper/checked   N=1    H  FBH" in lines
    assert "a-paper/noticing  –      H  FHH" in lines
    assert "claims that their own mutant left standing: none" in lines
    assert "damaged instruments that nobody noticed: none" in lines
    assert "harmless mutants that cost a HOLDS: none" in lines
    assert not any("failed" in line for line in lines)
    # N = 2 decides nothing and is left out, four times.
    result.stdout.re_match_lines([r".* 4 deselected, 2 fails, 1 broken in .*"])
    names = ["tiny", *(f"tiny~{slug}" for slug in (OWN, OTHER, HARMLESS))]
    files = out(pytester)
    assert {f"base-{name}.json" for name in names} < set(files)
    matrix = json.loads(files["base-tiny.matrix.json"].read_text())
    assert [mutant["slug"] for mutant in matrix["mutants"]] == [OWN, OTHER, HARMLESS]


def test_the_undamaged_checkpoint_is_prepared_and_shown_once_and_judged_first(suite, pytester):
    result = suite()
    lines = said(result)
    assert sum("unpacking" in line for line in lines) == 1
    titles = [line for line in lines if line.startswith("stillwired  ")]
    assert len(titles) == 2
    assert all(line.startswith("stillwired  tiny (made up") for line in titles)
    assert all("  mutants  seed 0" in line for line in titles)
    records = [
        read_record(path).data
        for path in out(pytester).values()
        if "base-tiny" in path.name and path.suffix == ".json" and "matrix" not in path.name
    ]
    digests = {record["checkpoint"]["digest"] for record in records}
    assert len(digests) == len(records) == 4
    assert {record["profile"] for record in records} == {"mutants"}
    tests = suite("--collect-only", "-q").outlines
    order = [line.split("[")[1].rstrip("]") for line in tests if "test_noticing" in line]
    assert order == ["tiny", f"tiny~{OWN}", f"tiny~{OTHER}", f"tiny~{HARMLESS}"]


def test_an_engine_that_notices_leaves_its_words_in_the_record(suite, pytester):
    suite()
    record = read_record(out(pytester)[f"base-tiny~{OTHER}.json"])
    (cell,) = [v for v in record.verdicts if v.key == "a-paper/checked[ahead=1]"]
    assert (cell.verdict, cell.reason) == ("BROKEN", "The edit changed nothing.")
    assert [check.name for check in cell.checks] == ["noticed by an error"]


def test_what_survives_fails_the_run_unless_it_is_known(suite, pytester):
    claims = CLAIMS + SURVIVING
    result = suite(claims=claims, only=(OWN, OTHER))
    assert result.ret == 1
    lines = said(result)
    assert "claims that their own mutant left standing: 1" in lines
    assert "  a-paper/deaf: HOLDS, damaged HOLDS (patches forgotten)" in lines
    assert "damaged instruments that nobody noticed: 1" in lines
    known = {
        "schema": 1,
        "checkpoint": "tiny",
        "profile": "mutants",
        "survivors": [
            {"claim": "a-paper/deaf", "reason": "It hears nothing."},
            {"mutant": OTHER, "reason": "Nothing patches."},
        ],
    }
    pytester.path.joinpath("known.json").write_text(json.dumps(known))
    result = suite("--claims-survivors", "known.json", claims=claims, only=(OWN, OTHER))
    assert result.ret == 0
    assert any(line.endswith("; known: It hears nothing.") for line in said(result))
    # What is listed and no longer survives has to go.
    result = suite("--claims-survivors", "known.json")
    assert result.ret == 1
    result.stdout.fnmatch_lines(["patches forgotten is listed as a survivor and is none any more*"])


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"profile": "quick"}, "is about the profile quick"),
        ({"checkpoint": "other"}, "is about the checkpoint other"),
        ({"schema": 9}, '"schema": 1'),
    ],
)
def test_survivors_of_another_run_are_refused_before_anything_is_judged(
    suite, pytester, change, says
):
    known = {"schema": 1, "checkpoint": "tiny", "profile": "mutants", "survivors": []}
    pytester.path.joinpath("known.json").write_text(json.dumps(known | change))
    result = suite("--claims-survivors", "known.json")
    assert result.ret == 4
    result.stderr.fnmatch_lines([f"*{says}*"])
    assert not list(pytester.path.glob("out/*.json"))


def test_a_crash_is_no_notice(suite):
    """A claim that was not judged under its mutant has not been shown to fail."""
    result = suite(claims=CLAIMS + CRASHING, only=(OWN,))
    assert result.ret == 1
    lines = said(result)
    assert "a-paper/crashing  –      H  ·" in lines
    assert "  a-paper/crashing: HOLDS, damaged not judged (the same target whatever N)" in lines
    assert "1 not judged, because of errors." in lines


def test_what_takes_trainings_of_its_own_is_left_out(suite):
    result = suite(claims=CLAIMS + LARGER, only=(OWN,))
    assert result.ret == 0
    assert not any("a-paper/larger" in line for line in said(result))


def test_one_damaged_checkpoint_alone_is_gated_like_any_other(suite, pytester):
    result = suite("--claims-model", f"tiny~{OWN}", only=(), claims=CLAIMS)
    assert result.ret == 1
    lines = said(result)
    assert any(line.startswith("stillwired  tiny~the-same-target") for line in lines)
    assert not any("left standing" in line for line in lines)
    assert "base-tiny~the-same-target-whatever-n.json" in out(pytester)


def test_the_command_puts_the_records_together_again(suite, pytester, capsys):
    def again(*slugs):
        names = ["base-tiny.json", *(f"base-tiny~{slug}.json" for slug in slugs)]
        code = main(["mutants", *(str(pytester.path / "out" / name) for name in names)])
        return code, [line.rstrip() for line in capsys.readouterr().out.splitlines()]

    suite()
    capsys.readouterr()
    code, lines = again(OWN, OTHER, HARMLESS)
    assert code == 0
    assert "a-paper/checked   N=1    H  FBH" in lines
    suite(claims=CLAIMS + SURVIVING, only=(OWN, OTHER))
    capsys.readouterr()
    code, lines = again(OWN, OTHER)
    assert code == 1
    assert "  a-paper/deaf: HOLDS, damaged HOLDS (patches forgotten)" in lines
    assert main(["mutants", str(pytester.path / "out" / "base-tiny.json")]) == 2
    assert "None of these records is of a damaged checkpoint" in capsys.readouterr().err


# A tiny model, whose readings, trainings and sweeps are real.

SMALL = '''
"""A small suite around the real fixtures: nothing is asked that a random model could not do."""

from dataclasses import replace

import pytest

from stillwired import profiles
from stillwired.data import task_sizes

pytest_plugins = [
    "fixtures.checkpoints",
    "fixtures.text",
    "fixtures.future_lens",
    "fixtures.logit_lens",
    "fixtures.function_vectors",
]

profiles.PROFILES["mutants"] = replace(
    profiles.MUTANTS,
    judge_states=160,
    choose_states=16,
    fit_states=600,
    per_passage=4,
    lens_states=30,
    few_states=80,
)
task_sizes.SIZES["mutants"] = task_sizes.TaskSizes(
    clean=4,
    clean_elsewhere=3,
    shuffled=2,
    choosing=3,
    judged=12,
    judged_shuffled=12,
    judged_clean=3,
    judged_text=3,
    shots=2,
)


def pytest_collection_finish():
    """Late, since this loads torch: a random model does no task, and few steps train a prompt."""
    from stillwired.instruments import function_vectors, prompt_recipes

    function_vectors.ABLE = -1.0
    short = replace(prompt_recipes.SHORT, steps=4, batch=4, every=2)
    prompt_recipes.RECIPES["mutants"] = short
'''

REAL_CLAIMS = """
from dataclasses import replace

import pytest

from stillwired.judge import Claim, Difference, Level, Paper


def claim(name, expects, mutant, unit="documents"):
    return Claim(
        id=f"wiring/{name}",
        version=1,
        says="It is wired.",
        source=Paper("wiring", "Wiring", "A. Author", "Venue 2026").at("Table 1"),
        published="1",
        expects=(expects,),
        margin=0.1,
        mutant=mutant,
        unit=unit,
    )


LATE = claim(
    "late-states-are-nearly-final",
    Difference("late", "first", at_least=0.4),
    "the first block read at every depth",
)
OWN = claim(
    "own-states-are-needed",
    Difference("own", "others", at_least=0.4),
    "every judged state exchanged for another document's",
)
STATE = claim(
    "states-reach-the-token-behind-them",
    Level("moved", at_least=0.4),
    "patches forgotten",
)
HEADS = claim(
    "heads-reach-the-answer", Level("moved", at_least=0.4), "patches forgotten", "word pairs"
)


@pytest.mark.claim(LATE)
def test_late(future_lens, judge_readers):
    judge_readers(
        late=future_lens.read("linear", 0, future_lens.last),
        first=future_lens.read("linear", 0, future_lens.first),
    )


@pytest.mark.claim(OWN)
def test_own(future_lens, judge_readers):
    last = future_lens.last
    judge_readers(
        own=future_lens.read("linear", 0, last),
        others=future_lens.read("linear", 0, last, states="shuffled"),
    )


@pytest.mark.claim(STATE)
def test_state(future_lens, judge_readers):
    middle, how = future_lens.middle, {"few": True, "score": "surprisal"}
    own = future_lens.learned(1, middle, **how)
    others = future_lens.learned(1, middle, states="shuffled", **how)
    judge_readers(moved=replace(own, scores=(abs(own.scores - others.scores) > 1e-6).astype(float)))


@pytest.mark.claim(HEADS)
def test_heads(function_vectors, judge_vectors):
    lift = function_vectors.outcomes(function_vectors.vectors, "alpha").lift("top")
    judge_vectors(moved=replace(lift, scores=(abs(lift.scores) > 1e-9).astype(float)))
"""

CHECKPOINTS = ("heads-that-carry-tasks-silenced", "rounded-to-2-bits", HARMLESS)
INSTRUMENTS = (
    "the-first-block-read-at-every-depth",
    "every-judged-state-exchanged-for-another-documents",
    "patches-forgotten",
    "patches-that-leave-everything-as-it-is",
    "targets-dealt-out-anew",
    "judged-on-rows-that-readers-were-fitted-to",
    "the-lens-without-the-final-norm",
    "a-wrong-start-before-every-text",
)


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    """A folder with a random Llama, a text, two tasks and the small suite."""
    folder = tmp_path_factory.mktemp("tiny")
    made = made_checkpoint()
    made.model.save_pretrained(folder / "model")
    made.tokenizer.save_pretrained(folder / "model")
    texts = [{"text": document.text} for document in made_corpus().documents]
    (folder / "text.jsonl").write_text("".join(json.dumps(text) + "\n" for text in texts))
    (folder / "tasks").mkdir()
    for name, step in (("alpha", 1), ("gamma", 7)):
        # No two rows share an answer: each is a cluster.
        rows = [{"input": f"w{40 + k}", "output": f"w{step * k % 40}"} for k in range(40)]
        (folder / "tasks" / f"{name}.json").write_text(json.dumps(rows))
    (folder / "conftest.py").write_text(SMALL)
    (folder / "pytest.ini").write_text("[pytest]\n")
    (folder / "test_wiring.py").write_text(REAL_CLAIMS)
    known = {
        "schema": 1,
        "checkpoint": "model",
        "profile": "mutants",
        "survivors": [
            {"mutant": INSTRUMENTS[-1], "reason": "A random model says much the same without."}
        ],
    }
    (folder / "known.json").write_text(json.dumps(known))
    return folder


def go(folder: Path, *arguments: str, cache: str = "cache", record: str = "out/base.json"):
    """Run the small suite in a process of its own, on the model unless others are named."""
    kept = {k: v for k, v in os.environ.items() if k not in ("COLUMNS", "PYTEST_ADDOPTS")}
    given = {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"}
    command = [sys.executable, "-m", "pytest", *PLAIN]
    command += [] if "--claims-model" in arguments else ["--claims-model", "model"]
    command += ["--claims-corpus", "text.jsonl", "--claims-tasks", "tasks"]
    command += ["--claims-cache", cache, "--claims-record", record]
    done = subprocess.run(
        [*command, *arguments],
        cwd=folder,
        capture_output=True,
        text=True,
        env={**kept, **given},
        timeout=170,
        check=False,
    )
    return done.returncode, done.stdout.splitlines()


@pytest.fixture(scope="module")
def matrix(tiny):
    """The matrix of a first run, with what it said."""
    only = ",".join([*CHECKPOINTS, *INSTRUMENTS])
    code, lines = go(tiny, "--claims-mutants-only", only, "--claims-survivors", "known.json")
    found = json.loads((tiny / "out" / "base-model.matrix.json").read_text())
    return code, lines, found


def words(matrix, claim):
    (row,) = [row for row in matrix[2]["rows"] if row["claim"] == f"wiring/{claim}"]
    return row["sound"], row["damaged"]


def test_what_holds_on_a_tiny_model_fails_under_its_own_mutant(matrix):
    code, lines, found = matrix
    assert code == 0, "\n".join(lines)
    assert found["standing"] == []
    assert [row["sound"] for row in found["rows"]] == ["HOLDS"] * 4
    for claim, mutant in (
        ("late-states-are-nearly-final", INSTRUMENTS[0]),
        ("own-states-are-needed", INSTRUMENTS[1]),
        ("states-reach-the-token-behind-them", INSTRUMENTS[2]),
        ("heads-reach-the-answer", INSTRUMENTS[2]),
    ):
        assert words(matrix, claim)[1][mutant] == "FAILS"


def test_the_engine_and_the_checks_notice_what_no_claim_is_about(matrix):
    _, damaged = words(matrix, "states-reach-the-token-behind-them")
    assert damaged["patches-that-leave-everything-as-it-is"] == "BROKEN"
    _, damaged = words(matrix, "own-states-are-needed")
    assert damaged["targets-dealt-out-anew"] == "BROKEN"
    assert damaged["the-lens-without-the-final-norm"] == "BROKEN"
    assert damaged["judged-on-rows-that-readers-were-fitted-to"] == "BROKEN"
    assert damaged["patches-forgotten"] == "HOLDS"
    assert [one["name"] for one in matrix[2]["unnoticed"]] == ["a wrong start before every text"]


def test_harmless_damage_costs_nothing(matrix):
    assert matrix[2]["costly"] == []
    for claim in ("late-states-are-nearly-final", "heads-reach-the-answer"):
        assert words(matrix, claim)[1][HARMLESS] == "HOLDS"


def test_every_damaged_checkpoint_was_judged_whole(matrix):
    for row in matrix[2]["rows"]:
        assert set(row["damaged"]) == {*CHECKPOINTS, *INSTRUMENTS}
        assert "NOT APPLICABLE" not in row["damaged"].values()


def test_a_run_that_is_repeated_measures_nothing_and_comes_to_the_same(tiny, matrix):
    def kept():
        return {(entry.kind, entry.key, entry.created) for entry in Store(tiny / "cache").entries()}

    before = kept()
    assert {"survey", "readings", "tasks"} <= {kind for kind, *_ in before}
    only = ",".join([*CHECKPOINTS, *INSTRUMENTS])
    survivors = ("--claims-survivors", "known.json")
    code, _ = go(tiny, "--claims-mutants-only", only, *survivors, record="out/again.json")
    assert code == 0
    assert json.loads((tiny / "out" / "again-model.matrix.json").read_text()) == matrix[2]
    assert kept() == before


def test_mutants_leave_nothing_behind_that_a_sound_run_would_take_for_its_own(tiny, matrix):
    """Even where they come first, as one mutant alone does."""
    damaged_first = ("--claims-model", "model~patches-forgotten", "--claims-model", "model")
    given = ("--claims-profile", "mutants", "-k", "state or heads", *damaged_first)
    go(tiny, *given, cache="other", record="out/other.json")
    ours = read_record(tiny / "out" / "other-model.json").verdicts
    theirs = {v.key: v for v in read_record(tiny / "out" / "base-model.json").verdicts}
    assert len(ours) == 2
    assert all(verdict == theirs[verdict.key] for verdict in ours)
