"""The plugin as its users see it: fabricated claims and outcomes, no model."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path
from xml.etree import ElementTree

# pytester forgets what a run inside this process imported, and these bear that only once.
import numpy as np  # noqa: F401
import pyarrow.parquet  # noqa: F401
import pytest
import scipy.stats  # noqa: F401

import stillwired.judge.verdicts
import stillwired.plugin
from stillwired.cli import main
from stillwired.records.record import read_record
from stillwired.records.rejudge import rejudge

pytest_plugins = ["pytester"]

CONFTEST = """
from dataclasses import dataclass, asdict

from stillwired.errors import CheckpointError


@dataclass(frozen=True)
class Fake:
    name: str
    layers: int = 30

    def to_json(self):
        return {
            "name": self.name,
            "origin": "made up",
            "digest": "ab" * 32,
            "layers": self.layers,
            "heads": 9,
            "parameters": 134_515_008,
        }


def pytest_claims_prepare(spec, say):
    if spec == "nothing":
        raise CheckpointError("There is no checkpoint 'nothing'. Did you mean 'tiny'?")
    say("unpacking")
    return Fake(spec.rsplit("/", 1)[-1])
"""

# One claim for each verdict. In 400 clusters of one row a level is known to about ±0.05.
CLAIMS = """
import pytest

from stillwired.judge import *

PAPER = Paper("a-paper", "A Paper", "A. Author", "Venue 2026")


def arm(p, rows=400):
    hits = [float((k * 0.6180339887) % 1 < p) for k in range(rows)]
    documents = [f"d{k}" for k in range(rows)]
    return Outcome(f"arm {p}", [f"{d}:0" for d in documents], documents, hits)


def claim(name, **more):
    given = dict(
        version=1,
        says=f"The {name} is there.",
        source=PAPER.at("Table 1"),
        published="0.5 (big model)",
        expects=(Level("arm", at_least=0.2),),
        margin=0.1,
        mutant="shuffled",
    )
    return Claim(id=f"a-paper/{name}", **given | more)


HOLDS = claim("holding", primary={"ahead": 1})


@pytest.mark.claim(HOLDS)
@pytest.mark.parametrize("ahead", [1, 2])
def test_holding(checkpoint_spec, ahead, judge):
    judge(arm=arm(0.5 / ahead + 0.2 * (ahead == 2)))
"""

FAILING = """

@pytest.mark.claim(claim("failing"))
def test_failing(checkpoint_spec, judge):
    judge(arm=arm(0.02))
"""

SECONDARY = """

@pytest.mark.claim(claim("secondary", primary={"ahead": 1}))
@pytest.mark.parametrize("ahead", [1, 2])
def test_secondary(checkpoint_spec, ahead, judge):
    judge(arm=arm(0.5 if ahead == 1 else 0.02))
"""

INCONCLUSIVE = """

@pytest.mark.claim(claim("close"))
def test_close(checkpoint_spec, judge):
    judge(arm=arm(0.3, rows=12))
"""

NOT_APPLICABLE = """

@pytest.mark.claim(claim("beyond", applies=(Needs("top-1", 0.3),)))
def test_beyond(checkpoint_spec, judge):
    judge(arm=arm(0.5), ability={"top-1": arm(0.05)})
"""

# What an instrument finds out before it measures anything.
UNABLE = """

from stillwired.errors import EarlyVerdictError, UnsuitableTaskError

APPLIES = dict(applies=(Needs("right in context", 0.3),), null="something else")


@pytest.fixture
def able(request):
    found = {"unable": (True, 0.05), "unable and broken": (False, 0.05), "broken": (False, 0.5)}
    adds_up, right = found[request.param]
    checks = [InstrumentCheck("adds up", adds_up, "0.3, 1e-4 allowed")]
    raise EarlyVerdictError("cannot", {"right in context": arm(right)}, checks)


@pytest.mark.claim(claim("before-the-test", **APPLIES))
@pytest.mark.parametrize("able", ["unable"], indirect=True)
def test_before(checkpoint_spec, able, judge):
    raise AssertionError("nothing is measured")


@pytest.mark.claim(claim("badly-measured", **APPLIES))
@pytest.mark.parametrize("able", ["unable and broken"], indirect=True)
def test_badly(checkpoint_spec, able, judge):
    raise AssertionError("nothing is measured")


@pytest.mark.claim(claim("able-and-badly-measured", **APPLIES))
@pytest.mark.parametrize("able", ["broken"], indirect=True)
def test_able(checkpoint_spec, able, judge):
    raise AssertionError("nothing is measured")


@pytest.mark.claim(claim("unable", **APPLIES))
def test_unable(checkpoint_spec, judge):
    raise EarlyVerdictError("cannot", {"right in context": arm(0.05)})


@pytest.mark.claim(claim("unsuitable", **APPLIES))
def test_unsuitable(checkpoint_spec, judge):
    raise UnsuitableTaskError("Nothing is left to ask.")
"""

BROKEN = """

@pytest.mark.claim(claim("broken", primary={"ahead": 9}))
@pytest.mark.parametrize("ahead", [1])
def test_broken(checkpoint_spec, ahead, judge):
    judge(arm=arm(0.5), checks=[InstrumentCheck("adds up", False, "0.3, 1e-4 allowed")])
"""

# A finding without a threshold: an estimate that decides nothing, small or large.
REPORTED = """

ESTIMATE = claim("estimate", expects=(Level("arm", reported=True),), margin=None, mutant=None)


@pytest.mark.claim(ESTIMATE)
@pytest.mark.parametrize("ahead", [1, 2])
def test_estimate(checkpoint_spec, ahead, judge):
    judge(arm=arm(0.02 * ahead))
"""

# Beside a verdict stands what would fail, if anything depended on it.
ACCOMPANIED = """

@pytest.mark.claim(claim("accompanied"))
@pytest.mark.parametrize("p", [0.5, 0.02])
def test_accompanied(checkpoint_spec, p, judge):
    judge(
        arm=arm(p),
        beside={"no state": arm(0.1), "rate": {"late": arm(0.3), "first": arm(0.7)}},
        facts={"trained parameters, learned": 5760, "optimiser": "Adam"},
    )
"""

ERRORS = '''
from stillwired.errors import CheckpointError


@pytest.fixture(scope="session")
def model(checkpoint_spec):
    raise CheckpointError("The tokenizer does not match. Use this model's own.")


@pytest.mark.claim(claim("fixture"))
def test_fixture(model, judge):
    judge(arm=arm(0.5))


@pytest.mark.claim(claim("silent"))
def test_silent(checkpoint_spec, judge):
    """Never judges."""


@pytest.mark.claim(claim("twice"))
def test_twice(checkpoint_spec, judge):
    judge(arm=arm(0.5))
    judge(arm=arm(0.5))


@pytest.mark.claim(claim("crash"))
def test_crash(checkpoint_spec, judge):
    raise RuntimeError("out of luck")
'''

# Two errors that instruments raise are verdicts, in the test or in a fixture of any scope.
UNMEASURED = """
from stillwired.errors import MismatchError, MissingComponentError


@pytest.fixture(scope="session")
def heads(checkpoint_spec):
    raise MissingComponentError("Layer 0 of this family has no attention heads.")


@pytest.fixture
def repeated(checkpoint_spec):
    raise MismatchError("Cutting head 0.3 gives 0.25 alone and 0.75 in a batch.")


@pytest.mark.claim(claim("heads", applies=(Needs("top-1", 0.3),), primary={"ahead": 1}))
@pytest.mark.parametrize("ahead", [1, 2])
def test_heads(heads, ahead, judge):
    judge(arm=arm(0.5))


@pytest.mark.claim(claim("gates"))
def test_gates(judge, checkpoint_spec):
    raise MissingComponentError("Layer 0 of this family has no gates.")
"""
MISMATCHED = (
    UNMEASURED
    + """

@pytest.mark.claim(claim("cut", null="shuffled"))
def test_cut(judge, repeated):
    judge(arm=arm(0.5))


@pytest.mark.claim(claim("again"))
def test_again(checkpoint_spec, judge):
    raise MismatchError("The second forward differs by 0.3, 1e-4 allowed.")
"""
)

ALL = CLAIMS + FAILING + INCONCLUSIVE + NOT_APPLICABLE + BROKEN
# Other plugins would only be imported anew by every run.
WITHOUT = ("cacheprovider", "benchmark", "hypothesispytest", "anyio")
PLAIN = tuple(f"-pno:{plugin}" for plugin in WITHOUT)
OPTIONS = (*PLAIN, "--claims-model", "tiny")


@pytest.fixture
def suite(secluded, pytester):
    """Make a folder of claims and run pytest on it."""
    pytester.makeconftest(CONFTEST)
    pytester.makeini("[pytest]\naddopts = --strict-markers\n")

    def run(source=CLAIMS, *arguments, options=OPTIONS, separate=False):
        pytester.makepyfile(test_claims=source)
        go = pytester.runpytest_subprocess if separate else pytester.runpytest_inprocess
        return go(*options, *arguments)

    return run


def record_of(pytester, name="record.json"):
    (path,) = pytester.path.glob(f".stillwired/records/*/{name}")
    return path


# --- what a run looks like ----------------------------------------------------------------


def test_the_header_names_what_is_judged(suite):
    result = suite(CLAIMS, "--claims-seed", "3", "--claims-dtype", "bfloat16")
    result.stdout.re_match_lines(
        [
            r"  0:00  unpacking",
            r"stillwired  tiny \(made up, sha256 abababab…, 30 × 9 heads\)  cpu bf16 eager  quick"
            r"  seed 3",
            r"            134.5 M parameters  stillwired \S+  torch \S+  transformers .*",
        ]
    )


def test_the_summary_is_the_table(suite, pytester):
    result = suite(ALL)
    result.stdout.re_match_lines(
        [
            r"=+ verdicts =+",
            r"stillwired  tiny .*",
            r"claim            where  estimate  95 % interval +least  published  verdict",
            r"a-paper/holding  N=1 \*     0\.497  0\.44\d … 0\.54\d  0\.20   0\.5        HOLDS",
            r"a-paper/holding  N=2 .* HOLDS",
            r"a-paper/failing  – \* .* FAILS",
            r"a-paper/close    – \* .* INCONCLUSIVE .*documents more would settle it.*",
            r"a-paper/beyond   – \* .*–  – .* NOT APPLICABLE  .*",
            r"a-paper/broken   N=1 .* BROKEN .*adds up.*",
            r"\* primary cell: these alone decide the exit code",
            r"2 hold, 1 fails, 1 inconclusive, 1 not applicable, 1 broken   .* s   "
            r"record: \.stillwired/records/\d{8}-\d{6}-tiny/record\.json   cache: cache",
        ]
    )
    assert record_of(pytester).is_file()


def test_every_verdict_has_its_letter(suite):
    result = suite(ALL)
    result.stdout.fnmatch_lines(["test_claims.py ..FinB*"])
    result.stdout.fnmatch_lines(["=* 2 failed, 2 passed, 1 inconclusive, 1 not applicable in*"])


def test_every_verdict_has_its_word(suite):
    result = suite(ALL, "-v")
    result.stdout.fnmatch_lines(
        [
            "test_claims.py::test_holding?tiny-1? HOLDS *",
            "test_claims.py::test_failing?tiny? FAILS *",
            "test_claims.py::test_close?tiny? INCONCLUSIVE (about *",
            "test_claims.py::test_beyond?tiny? NOT APPLICABLE (*",
            "test_claims.py::test_broken?tiny-1? BROKEN *",
        ]
    )


def test_a_failed_claim_says_why_and_shows_no_traceback(suite):
    result = suite(CLAIMS + FAILING)
    result.stdout.fnmatch_lines(
        [
            "*_ test_failing?tiny? _*",
            "  claim        The failing is there.",
            "  measured     0.02?, 95 % interval 0.0?? … 0.0??, 400 examples in 400 documents",
            "  needed       0.20",
            "  published    0.5 (big model)",
            "  source       A Paper, Table 1",
        ]
    )
    result.stdout.fnmatch_lines(["FAILS test_claims.py::test_failing?tiny? - *"])
    result.stdout.no_fnmatch_line("*def test_failing*")
    result.stdout.no_fnmatch_line("*stillwired/plugin/*")


def test_quiet_shows_what_does_not_hold(suite):
    result = suite(ALL, "-q")
    result.stdout.no_fnmatch_line("stillwired *")
    result.stdout.no_fnmatch_line("*HOLDS*")
    result.stdout.no_fnmatch_line("*unpacking*")
    result.stdout.fnmatch_lines(["a-paper/failing*FAILS*", "2 hold, 1 fails,*record:*"])
    result = suite(ALL, "-qq")
    result.stdout.no_fnmatch_line("a-paper/failing*")
    result.stdout.fnmatch_lines(["2 hold, 1 fails,*"])


def test_a_log_has_no_control_sequences_and_no_progress(suite):
    source = CLAIMS.replace("ahead, judge):", "ahead, judge, claims_say):\n    claims_say('begun')")
    result = suite(source)
    assert "\x1b" not in result.stdout.str()
    result.stdout.no_fnmatch_line("*begun*")
    suite(source, "-v").stdout.fnmatch_lines(["*0:0?  begun*"])


def test_ascii_terminals_get_ascii(suite, monkeypatch):
    monkeypatch.setenv("PYTHONIOENCODING", "ascii")
    result = suite(CLAIMS, separate=True)
    result.stdout.fnmatch_lines(["a-paper/holding*0.4?? ... 0.5??*HOLDS*"])
    assert result.stdout.str().isascii()


def test_narrow_terminals_group_cells(suite, monkeypatch):
    monkeypatch.setenv("COLUMNS", "60")
    result = suite(ALL)
    result.stdout.fnmatch_lines(["a-paper/holding", "    N=1 [*] *HOLDS", "    N=2 *HOLDS"])


# --- exit codes ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("source", "arguments", "code"),
    [
        (CLAIMS, (), 0),
        (CLAIMS + FAILING, (), 1),
        (CLAIMS + SECONDARY, (), 0),
        (CLAIMS + INCONCLUSIVE, (), 0),
        (CLAIMS + INCONCLUSIVE, ("--claims-strict",), 1),
        (CLAIMS + NOT_APPLICABLE, ("--claims-strict",), 0),
        (CLAIMS + BROKEN, (), 1),
        (CLAIMS + "\ndef test_other():\n    assert False\n", (), 1),
        (CLAIMS + SECONDARY, ("-x",), 1),
    ],
)
def test_the_gate_sets_the_exit_code(source, arguments, code, suite):
    assert suite(source, *arguments).ret == code


def test_a_failure_that_does_not_count_is_still_shown(suite):
    result = suite(CLAIMS + SECONDARY)
    assert result.ret == 0
    result.stdout.fnmatch_lines(["a-paper/secondary * N=2 *FAILS*"])


def test_nothing_to_run_is_explained(suite):
    result = suite(CLAIMS, "-k", "nowhere")
    assert result.ret == 5
    result.stdout.fnmatch_lines(["No claim was judged: 2 were collected*Exit code 5*"])
    result = suite("")
    assert result.ret == 5
    result.stdout.fnmatch_lines(["No claim was judged: none was collected*Exit code 5*"])


# --- errors -------------------------------------------------------------------------------


def test_errors_are_short_and_are_no_verdicts(suite, pytester):
    result = suite(CLAIMS + ERRORS)
    assert result.ret == 1
    result.stdout.fnmatch_lines(["test_claims.py ..EEEE*"])
    result.stdout.fnmatch_lines(
        [
            "*ERROR at setup of test_fixture*",
            "CheckpointError: The tokenizer does not match. Use this model's own.",
            "*ERROR at call of test_silent*",
            "ClaimError: *test_silent* carries a claim and never called judge.*",
            "*ERROR at call of test_twice*",
            "ClaimError: *test_twice* judges twice.*",
            "*ERROR at call of test_crash*",
            "*RuntimeError: out of luck",
        ]
    )
    result.stdout.fnmatch_lines(["4 not judged, because of errors."])
    result.stdout.no_fnmatch_line("*FAILS*")
    result.stdout.no_fnmatch_line("*raise CheckpointError*")


@pytest.mark.parametrize("asked", ["--tb=long", "-vv"])
def test_tracebacks_are_shown_if_asked_for(asked, suite):
    suite(CLAIMS + ERRORS, asked).stdout.fnmatch_lines(["*raise CheckpointError(*"])


def test_a_test_without_a_claim_cannot_judge(suite):
    result = suite(CLAIMS + "\ndef test_bare(judge):\n    judge(arm=arm(0.5))\n")
    assert result.ret == 1
    result.stdout.fnmatch_lines(["ClaimError: *test_bare judges, but carries no claim.*"])


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("--claims-layers", "99"), "block 99 does not exist; tiny has blocks 0 to 29"),
        (("--claims-layers", "x"), "'x' is no depth"),
        (("--claims-model", "nothing"), "There is no checkpoint 'nothing'. Did you mean 'tiny'?"),
        (("--claims-profile", "huge"), "There is no profile 'huge'"),
        (("--claims-expected", "none.json"), "there is no file *none.json"),
        (("--claims-corpus", "none"), "there is no file or folder *none"),
    ],
)
def test_what_cannot_be_honoured_stops_the_run_before_it_starts(arguments, says, suite, pytester):
    result = suite(CLAIMS, *arguments)
    assert result.ret == 4
    result.stderr.fnmatch_lines([f"ERROR: *{says}*"])
    result.stdout.no_fnmatch_line("*Traceback*")
    assert not (pytester.path / ".stillwired").exists()


def test_cells_that_collide_are_refused(suite):
    copy = CLAIMS + CLAIMS.partition("HOLDS = ")[2].replace("claim(", "HOLDS = claim(", 1).replace(
        "test_holding", "test_again"
    )
    result = suite(copy)
    assert result.ret == 4
    result.stderr.fnmatch_lines(["ERROR: *test_holding*both judge a-paper/holding?ahead=1?*"])


# --- errors that are verdicts -------------------------------------------------------------


def test_what_a_model_lacks_and_what_does_not_repeat_are_verdicts(suite, pytester):
    result = suite(CLAIMS + MISMATCHED)
    assert result.ret == 1
    result.stdout.fnmatch_lines(["test_claims.py ..nnnBB *"])
    result.stdout.fnmatch_lines(["=* 2 failed, 2 passed, 3 not applicable in *"])
    result.stdout.no_fnmatch_line("*not judged*")
    result.stdout.no_fnmatch_line("*Traceback*")
    result.stdout.re_match_lines(
        [
            r".*_ test_cut\[tiny\] _.*",
            r"Cutting head 0\.3 gives 0\.25 alone and 0\.75 in a batch\.",
            r"  claim        The cut is there\.",
            r"a-paper/heads    N=1 \* +–  – .* NOT APPLICABLE  Layer 0 of .* no attention heads\.",
            r"a-paper/heads    N=2 .* NOT APPLICABLE  Layer 0 of this family has no attention .*",
            r"a-paper/gates    – \* .* NOT APPLICABLE  Layer 0 of this family has no gates\.",
            r"a-paper/cut      – \* .* BROKEN  Cutting head 0\.3 gives .*",
            r"a-paper/again    – \* .* BROKEN  The second forward differs by .*",
            r"2 hold, 0 fail, 0 inconclusive, 3 not applicable, 2 broken .*",
            r"a-paper/cut is BROKEN: Cutting head .*",
        ]
    )


def test_the_record_says_why_nothing_was_measured_and_is_judged_again(suite, pytester):
    suite(CLAIMS + MISMATCHED)
    record = record_of(pytester)
    stored = {
        (v["claim"], v["params"].get("ahead")): v for v in read_record(record).data["verdicts"]
    }
    heads = stored["a-paper/heads", 1]
    assert (heads["verdict"], heads["primary"]) == ("NOT APPLICABLE", True)
    assert not stored["a-paper/heads", 2]["primary"]
    assert heads["reason"] == "Layer 0 of this family has no attention heads."
    (check,) = heads["checks"]
    assert (check["kind"], check["passed"], check["detail"]) == ("ability", False, heads["reason"])
    assert heads["evidence"]["arms"] == {}
    assert heads["evidence"]["obstacle"]["kind"] == "ability"
    (check,) = stored["a-paper/cut", None]["checks"]
    assert (check["kind"], check["passed"]) == ("instrument", False)
    pairs = rejudge(record)
    assert len(pairs) == 7
    assert all(stored == derived for stored, derived in pairs)


def test_what_a_model_lacks_passes_and_may_be_expected(suite, pytester):
    assert suite(CLAIMS + UNMEASURED).ret == 0
    assert suite(CLAIMS + UNMEASURED, "--claims-strict").ret == 0
    listed = [("heads", {"ahead": 1}), ("heads", {"ahead": 2}), ("gates", {})]
    words = [(name, params, ["NOT APPLICABLE"]) for name, params in listed]
    result = suite(CLAIMS + UNMEASURED, *expect(pytester, *words))
    assert result.ret == 0
    result.stdout.fnmatch_lines(["=* 2 passed, 3 as expected in *"])
    result = suite(CLAIMS + UNMEASURED, *expect(pytester, *words[1:]))
    assert result.ret == 1
    result.stdout.fnmatch_lines(["NOT APPLICABLE, where expected.json expects HOLDS*"])
    result.stdout.fnmatch_lines(["=* 1 failed, 2 passed, 2 as expected in *"])


def test_reports_of_unmeasured_cells_are_like_any_other(suite, pytester):
    suite(CLAIMS + MISMATCHED, "--junitxml=j.xml", "-k", "not holding")
    found = {}
    for case in ElementTree.parse(pytester.path / "j.xml").iter("testcase"):
        about = {p.get("name"): p.get("value") for p in case.iter("property")}
        (outcome,) = (child for child in case if child.tag != "properties")
        found[case.get("name")] = (about["verdict"], about["n"], outcome.tag)
        assert "Layer 0" in outcome.get("message") or about["verdict"] == "BROKEN"
    assert found == {
        "test_heads[tiny-1]": ("NOT APPLICABLE", "0", "skipped"),
        "test_heads[tiny-2]": ("NOT APPLICABLE", "0", "skipped"),
        "test_gates[tiny]": ("NOT APPLICABLE", "0", "skipped"),
        "test_cut[tiny]": ("BROKEN", "0", "failure"),
        "test_again[tiny]": ("BROKEN", "0", "failure"),
    }


def test_where_a_mismatch_was_raised_is_shown_if_asked_for(suite):
    result = suite(CLAIMS + MISMATCHED, "--tb=long", "-k", "cut or again")
    result.stdout.fnmatch_lines(
        [
            "Cutting head 0.3 gives 0.25 alone and 0.75 in a batch.",
            "  claim        The cut is there.",
            "*raise MismatchError(*",
            "BROKEN *test_cut?tiny? - Cutting head *",
        ]
    )


OTHERWISE = """
from stillwired.errors import AnatomyError, EngineError, MismatchError


@pytest.fixture
def untidy():
    yield
    raise MismatchError("Too late.")


@pytest.mark.claim(claim("engine"))
def test_engine(checkpoint_spec, judge):
    raise EngineError("The trace is empty.")


@pytest.mark.claim(claim("anatomy"))
def test_anatomy(checkpoint_spec, judge):
    raise AnatomyError("There is no such part in any family.")


@pytest.mark.claim(claim("judged"))
def test_judged(checkpoint_spec, judge):
    judge(arm=arm(0.5))
    raise MismatchError("Too late.")


@pytest.mark.claim(claim("untidy"))
def test_untidy(checkpoint_spec, untidy, judge):
    judge(arm=arm(0.5))


def test_bare():
    raise MismatchError("No claim is concerned.")
"""


def test_other_errors_and_later_ones_stay_errors(suite, pytester):
    result = suite(CLAIMS + OTHERWISE)
    assert result.ret == 1
    result.stdout.fnmatch_lines(["test_claims.py ..EEE.EF*"])
    result.stdout.fnmatch_lines(["4 not judged, because of errors."])
    claims = {v["claim"]: v["verdict"] for v in read_record(record_of(pytester)).data["verdicts"]}
    assert "BROKEN" not in claims.values()
    assert not {"a-paper/engine", "a-paper/anatomy"} & set(claims)


# --- estimates, and what stands beside a verdict ------------------------------------------


def test_what_is_reported_passes_and_decides_nothing(suite, pytester):
    for source in (CLAIMS + REPORTED, CLAIMS + FAILING + REPORTED):
        strict = suite(source, "--claims-strict", "--junitxml=j.xml", "-v")
        assert strict.ret == (1 if "failing" in source else 0)
    strict.stdout.fnmatch_lines(
        [
            "test_claims.py::test_estimate?tiny-1? REPORTED *",
            "test_claims.py::test_estimate?tiny-2? REPORTED *",
        ]
    )
    strict.stdout.re_match_lines(
        [
            r"a-paper/estimate  N=1 +0\.02\d +0\.01\d … 0\.0\d\d  – +0\.5 +REPORTED",
            r"a-paper/estimate  N=2 +0\.0[34]\d .* – .* REPORTED",
            r"2 hold, 1 fails, 0 inconclusive, 0 not applicable, 0 broken, 2 reported .*",
            r"a-paper/failing FAILS \(p .*, Holm over 2 primary cells\)",
        ]
    )
    strict.stdout.fnmatch_lines(["=* 1 failed, 2 passed, 2 reported in *"])
    suite(CLAIMS + REPORTED, "--claims-record", "r.json").stdout.fnmatch_lines(
        ["test_claims.py ..rr *"]
    )
    for case in ElementTree.parse(pytester.path / "j.xml").iter("testcase"):
        if "estimate" in case.get("name"):
            about = {p.get("name"): p.get("value") for p in case.iter("property")}
            assert (about["verdict"], about["n"]) == ("REPORTED", "400")
            assert [child.tag for child in case] == ["properties"]
    record = read_record(pytester.path / "r.json")
    cells = [v for v in record.data["verdicts"] if v["claim"] == "a-paper/estimate"]
    assert [(v["verdict"], v["primary"], v["least"]) for v in cells] == [
        ("REPORTED", False, "")
    ] * 2
    assert all(stored == derived for stored, derived in rejudge(record.path))


def test_the_command_judges_estimates_and_what_stands_beside_again(suite, pytester, capsys):
    suite(CLAIMS + REPORTED + ACCOMPANIED, "--claims-record", "r.json")
    assert main(["judge", str(pytester.path / "r.json"), "--strict"]) == 1
    text = capsys.readouterr().out
    assert "3 hold, 1 fails, 0 inconclusive, 0 not applicable, 0 broken, 2 reported" in text
    assert "judged again from the outcomes: all agree with the record" in text


def test_what_is_reported_needs_no_entry_and_keeps_to_one(suite, pytester):
    result = suite(CLAIMS + REPORTED, *expect(pytester))
    assert result.ret == 0
    result.stdout.fnmatch_lines(["=* 2 passed, 2 reported in *"])
    result = suite(CLAIMS + REPORTED, *expect(pytester, ("estimate", {"ahead": 2}, ["REPORTED"])))
    assert result.ret == 0
    result.stdout.fnmatch_lines(["=* 2 passed, 2 reported in *"])
    result = suite(CLAIMS + REPORTED, *expect(pytester, ("estimate", {"ahead": 2}, ["HOLDS"])))
    assert result.ret == 1
    result.stdout.fnmatch_lines(
        [
            "test_claims.py ..rF *",
            "REPORTED, where expected.json expects HOLDS (It is small.)",
            "a-paper/estimate * REPORTED (HOLDS expected)",
            "a-paper/estimate?ahead=2? is REPORTED, expected HOLDS",
        ]
    )


def test_what_stands_beside_a_verdict_is_kept_and_shown_and_changes_nothing(suite, pytester):
    result = suite(CLAIMS + ACCOMPANIED, "-v", "--claims-record", "r.json")
    beside = [
        "  beside       no state: 0.1??, 95 % interval 0.0?? … 0.1??, 400 examples in 400 *",
        "  beside       rate ?late?: 0.3??, *",
        "  beside       rate ?first?: 0.?*",
        "  fact         trained parameters, learned: 5,760",
        "  fact         optimiser: Adam",
    ]
    # Beneath the test that passed, and in the message of the one that did not: once for each.
    result.stdout.fnmatch_lines(
        [
            "test_claims.py::test_accompanied?tiny-0.5? HOLDS *",
            *beside,
            "test_claims.py::test_accompanied?tiny-0.02? FAILS *",
            "*_ test_accompanied?tiny-0.02? _*",
            "  claim        The accompanied is there.",
            "  measured     0.02?, *",
            *beside,
        ]
    )
    assert result.stdout.str().count("optimiser") == 2
    assert "optimiser" not in suite(CLAIMS + ACCOMPANIED, "-k", "tiny-0.5").stdout.str()
    spread = suite(CLAIMS + ACCOMPANIED, "-v", "-n", "2", "-k", "tiny-0.5", separate=True)
    spread.stdout.fnmatch_lines(["*HOLDS test_claims.py::test_accompanied?tiny-0.5? *", *beside])
    record = read_record(pytester.path / "r.json")
    found = {v["params"].get("p"): v for v in record.data["verdicts"]}
    assert [found[p]["verdict"] for p in (0.5, 0.02)] == ["HOLDS", "FAILS"]
    one = found[0.5]
    assert one["facts"] == {"trained parameters, learned": 5760, "optimiser": "Adam"}
    assert [b["name"] for b in one["beside"]] == ["no state", "rate [late]", "rate [first]"]
    assert one["evidence"]["beside"]["no state"] in record.data["outcomes"]
    assert all(stored == derived for stored, derived in rejudge(record.path))


def test_what_was_measured_first_may_decide_a_claim(suite, pytester):
    result = suite(CLAIMS + UNABLE, "--claims-record", "r.json")
    assert result.ret == 1
    result.stdout.fnmatch_lines(
        [
            "a-paper/before-the-test * NOT APPLICABLE  0.05 (0.03 … 0.08) right in context*",
            "a-paper/badly-measured * BROKEN  instrument check failed: adds up: *",
            "a-paper/able-and-badly-measured * BROKEN  instrument check failed: adds up: *",
            "a-paper/unable * NOT APPLICABLE  0.05 (0.03 … 0.08) right in context, 0.3 needed",
            "a-paper/unsuitable * NOT APPLICABLE  Nothing is left to ask.",
        ]
    )
    record = read_record(pytester.path / "r.json")
    found = {v["claim"]: v for v in record.data["verdicts"]}
    (check,) = found["a-paper/unable"]["checks"]
    # The interval of the ability stands in the record, and judges the claim again.
    assert check["low"] < check["estimate"] == 0.0525 < check["high"] < 0.3
    assert all(stored == derived for stored, derived in rejudge(record.path))


# --- options ------------------------------------------------------------------------------

SEES = (
    CLAIMS
    + """

@pytest.mark.claim(claim("depths"))
def test_depths(checkpoint_spec, depth, judge, claims_config, claims_run):
    assert claims_run.settings is claims_config
    assert claims_run.prepared(checkpoint_spec).layers == 30
    print("SEES", depth, type(depth).__name__, claims_config)
    judge(arm=arm(0.5))
"""
)


def test_depths_come_from_the_profile_or_from_the_option(suite):
    def ids(*arguments):
        result = suite(SEES, "--collect-only", "-q", "-k", "depths", *arguments)
        return re.findall(r"test_depths\[tiny-(\S+)\]", result.stdout.str())

    assert ids() == [f"depth{d}" for d in ("0.10", "0.30", "0.50", "0.70", "0.90", "1.00")]
    assert len(ids("--claims-profile", "paper")) == 21
    assert ids("--claims-layers", "0.25,15,0.125") == ["depth0.25", "block15", "depth0.125"]


def test_collecting_prepares_nothing(suite, pytester):
    result = suite(SEES, "--collect-only", "--claims-model", "nothing")
    assert result.ret == 0
    result.stdout.no_fnmatch_line("*unpacking*")
    assert not (pytester.path / ".stillwired").exists()


def test_options_reach_the_fixtures(suite, pytester):
    (pytester.path / "text").mkdir()
    result = suite(
        SEES,
        *("-s", "-k", "depths", "--claims-layers", "15", "--claims-device", "cuda:1"),
        *("--claims-dtype", "float16", "--claims-attention", "sdpa", "--claims-seed", "9"),
        *("--claims-corpus", "text", "--claims-cache", "there", "--claims-profile", "standard"),
        "--claims-strict",
    )
    (line,) = [line for line in result.outlines if "SEES" in line]
    assert "SEES 15 int Settings(models=('tiny',)" in line
    for part in (
        "name='standard'",
        "layers=(15,)",
        "device='cuda:1'",
        "dtype='float16'",
        "attention='sdpa'",
        f"corpus=PosixPath('{pytester.path / 'text'}')",
        f"cache=PosixPath('{pytester.path / 'there'}')",
        "seed=9",
        "strict=True",
    ):
        assert part in line
    result.stdout.fnmatch_lines(["*block 15*"])


def test_ini_keys_do_what_options_do_and_options_win(suite, pytester):
    ini = "[pytest]\nclaims_model = one two\nclaims_layers = 0.5\nclaims_strict = true\n"
    pytester.makeini(ini + "claims_profile = standard\nclaims_seed = 4\n")
    result = suite(SEES, "-s", "-k", "depths", options=PLAIN)
    lines = [line for line in result.outlines if "SEES" in line]
    assert len(lines) == 2
    assert "name='standard'" in lines[0]
    assert "seed=4, " in lines[0]
    assert "strict=True" in lines[0]
    result = suite(SEES, "-s", "-k", "depths", "--claims-seed", "5")
    (line,) = [line for line in result.outlines if "SEES" in line]
    assert "models=('tiny',)" in line
    assert "seed=5" in line


def test_help_lists_every_option_with_its_default(suite):
    text = " ".join(suite(CLAIMS, "--help").stdout.str().split())
    for flag in ("model", "profile", "layers", "device", "dtype", "attention", "corpus", "cache"):
        assert f"--claims-{flag}" in text
    for flag in ("record", "strict", "expected", "seed"):
        assert f"--claims-{flag}" in text
    assert "Default: smollm2-135m-instruct. Ini key: claims_model." in text


def test_parameters_by_hand_are_left_alone(suite):
    source = SEES.replace(
        '@pytest.mark.claim(claim("depths"))',
        '@pytest.mark.claim(claim("depths"))\n@pytest.mark.parametrize("depth", [0.2])',
    )
    result = suite(source, "-v", "-k", "depths", "--claims-layers", "0.7")
    result.stdout.fnmatch_lines(["*test_depths?tiny-0.2? HOLDS*"])


def test_tasks_that_cannot_be_meant_are_refused_before_anything_runs(suite, pytester):
    pytester.makefile(".json", **{"tasks/bad": '[{"input": "hot"}]'})
    result = suite(CLAIMS, "--claims-tasks", "tasks")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(['ERROR: *bad.json, row 1: no "output". Give every row*'])
    assert not list(pytester.path.glob(".stillwired/records/*"))


# --- records ------------------------------------------------------------------------------


def test_the_record_holds_the_run(suite, pytester):
    source = CLAIMS.replace(
        "    judge(arm",
        "    claims_run.note_corpus({'name': 'text', 'digest': 'cd'})\n"
        "    claims_run.note_tasks({'antonym': 'ef'})\n"
        "    claims_run.note_cells('head sweep', 20, 2000)\n"
        "    claims_run.note_figure('head map', {'effects': [[0.5]]})\n"
        "    claims_run.note_time('fitting', 1.5)\n    judge(arm",
    ).replace("ahead, judge)", "ahead, judge, claims_run)")
    result = suite(source + INCONCLUSIVE)
    result.stdout.fnmatch_lines(["sweeps:  cells, of those of full forwards: head sweep 1/100"])
    data = read_record(record_of(pytester)).data
    assert data["checkpoint"]["name"] == "tiny"
    assert data["checkpoint"]["digest"] == "ab" * 32
    assert data["checkpoint"]["regime"] == {
        "device": "cpu",
        "dtype": "float32",
        "attention": "eager",
    }
    assert (data["profile"], data["seed"]) == ("quick", 0)
    assert data["corpus"] == {"name": "text", "digest": "cd"}
    assert data["tasks"] == {"antonym": "ef"}
    assert data["figures"] == {"head map": {"effects": [[0.5]]}}
    assert data["times"]["steps"] == {"fitting": 1.5}
    assert data["times"]["sweeps"] == {"head sweep": [20, 2000]}
    assert set(data["declarations"]) == {"a-paper/holding", "a-paper/close"}
    cells = [(v["claim"], v["params"], v["primary"], v["verdict"]) for v in data["verdicts"]]
    assert cells == [
        ("a-paper/close", {}, True, "INCONCLUSIVE"),
        ("a-paper/holding", {"ahead": 1}, True, "HOLDS"),
        ("a-paper/holding", {"ahead": 2}, False, "HOLDS"),
    ]
    assert all(stored == derived for stored, derived in rejudge(record_of(pytester)))


def test_the_same_seed_gives_the_same_digest(suite, pytester):
    for name in ("one", "two"):
        suite(ALL, "--claims-record", f"{name}.json")
    one, two = (read_record(pytester.path / f"{name}.json").data for name in ("one", "two"))
    assert one["digest"] == two["digest"]
    suite(ALL, "--claims-record", "three.json", "--claims-seed", "1")
    assert read_record(pytester.path / "three.json").data["digest"] != one["digest"]


def test_a_record_can_be_put_elsewhere(suite, pytester):
    result = suite(CLAIMS, "--claims-record", "out/base.json")
    result.stdout.fnmatch_lines(["*record: out/base.json*"])
    assert sorted(f.name for f in (pytester.path / "out").iterdir()) == [
        "base.json",
        "base.outcomes.parquet",
    ]
    assert not (pytester.path / ".stillwired").exists()


def test_several_models_have_a_record_and_a_table_each(suite, pytester):
    result = suite(CLAIMS, "--claims-model", "x/other", "--claims-record", "r.json")
    assert result.ret == 0
    result.stdout.re_match_lines(
        [
            r"stillwired  tiny .*",
            r"2 hold.*record: r-tiny.json.*",
            r"stillwired  other .*",
            r"2 hold.*record: r-other.json.*",
        ]
    )
    assert read_record(pytester.path / "r-other.json").data["checkpoint"]["spec"] == "x/other"


def test_claims_that_read_no_checkpoint_need_none(suite, pytester):
    source = CLAIMS.replace("checkpoint_spec, ", "")
    result = suite(source, "--claims-model", "nothing", options=PLAIN)
    assert result.ret == 0
    result.stdout.fnmatch_lines(["stillwired  no checkpoint  quick  seed 0"])
    result.stdout.no_fnmatch_line("*cache:*")
    assert read_record(record_of(pytester)).data["checkpoint"]["spec"] is None


def test_junit_knows_the_verdicts(suite, pytester):
    suite(ALL, "--junitxml=j.xml")
    cases = ElementTree.parse(pytester.path / "j.xml").iter("testcase")
    found = {}
    for case in cases:
        properties = {p.get("name"): p.get("value") for p in case.iter("property")}
        outcome = [child.tag for child in case if child.tag in ("failure", "skipped", "error")]
        found[case.get("name")] = (properties["verdict"], outcome, properties.get("n"))
    assert found == {
        "test_holding[tiny-1]": ("HOLDS", [], "400"),
        "test_holding[tiny-2]": ("HOLDS", [], "400"),
        "test_failing[tiny]": ("FAILS", ["failure"], "400"),
        "test_close[tiny]": ("INCONCLUSIVE", ["skipped"], "12"),
        "test_beyond[tiny]": ("NOT APPLICABLE", ["skipped"], found["test_beyond[tiny]"][2]),
        "test_broken[tiny-1]": ("BROKEN", ["failure"], found["test_broken[tiny-1]"][2]),
    }


# --- expected verdicts --------------------------------------------------------------------


def expect(pytester, *cells, **more):
    entries = [
        {"claim": f"a-paper/{name}", "params": params, "verdicts": words, "reason": "It is small."}
        for name, params, words in cells
    ]
    content = {"schema": 1, "checkpoint": "tiny", "profile": "quick", "expected": entries} | more
    (pytester.path / "expected.json").write_text(json.dumps(content))
    return ("--claims-expected", "expected.json")


def test_expected_verdicts_pass_and_are_shown_as_such(suite, pytester):
    arguments = expect(
        pytester,
        ("failing", {}, ["FAILS"]),
        ("close", {}, ["INCONCLUSIVE", "HOLDS"]),
        ("beyond", {}, ["NOT APPLICABLE"]),
    )
    result = suite(CLAIMS + FAILING + INCONCLUSIVE + NOT_APPLICABLE, *arguments)
    assert result.ret == 0
    result.stdout.fnmatch_lines(["test_claims.py ..fin *"])
    result.stdout.fnmatch_lines(["a-paper/failing*FAILS (expected)*"])
    result.stdout.fnmatch_lines(["=* 2 passed, 3 as expected in *"])


@pytest.mark.parametrize(
    ("cells", "says"),
    [
        ([("holding", {"ahead": 2}, ["FAILS"])], "HOLDS, where expected.json expects FAILS*"),
        ([], "FAILS, where expected.json expects HOLDS, as every cell*"),
    ],
)
def test_any_other_verdict_fails_a_better_one_too(cells, says, suite, pytester):
    source = CLAIMS + (FAILING if not cells else "")
    result = suite(source, *expect(pytester, *cells))
    assert result.ret == 1
    result.stdout.fnmatch_lines([says, "  remedy       *"])
    result.stdout.fnmatch_lines(["test_claims.py *F*"])


def test_an_expectation_that_met_no_cell_fails_unless_it_was_left_out(suite, pytester):
    arguments = expect(pytester, ("failing", {}, ["FAILS"]), ("gone", {}, ["FAILS"]))
    result = suite(CLAIMS + FAILING, *arguments)
    assert result.ret == 1
    result.stdout.fnmatch_lines(["a-paper/gone is expected but was not judged"])
    arguments = expect(pytester, ("failing", {}, ["FAILS"]))
    assert suite(CLAIMS + FAILING, "-k", "holding", *arguments).ret == 0


@pytest.mark.parametrize(
    ("more", "arguments", "says"),
    [
        ({"checkpoint": "other"}, (), "about other, and this run's checkpoint is tiny"),
        ({"profile": "paper"}, (), "about the profile paper, and this run's is quick"),
        ({}, ("--claims-model", "second"), "about one checkpoint"),
        ({"schema": 9}, (), '"schema": 1'),
    ],
)
def test_expectations_of_another_run_are_refused(more, arguments, says, suite, pytester):
    result = suite(CLAIMS, *expect(pytester, **more), *arguments)
    assert result.ret == 4
    result.stderr.fnmatch_lines([f"ERROR: *{says}*"])


# --- several processes, interruptions -----------------------------------------------------


def test_xdist_merges_to_the_serial_record(suite, pytester):
    serial = suite(ALL, "--claims-record", "serial.json")
    spread = suite(ALL, "-n", "2", "--claims-record", "spread.json", separate=True)
    assert spread.ret == serial.ret == 1
    one, two = (read_record(pytester.path / f"{name}.json") for name in ("serial", "spread"))
    assert {**one.data, "times": {}} == {**two.data, "times": {}}
    spread.stdout.fnmatch_lines(["stillwired  tiny (made up*seed 0", "*134.5 M parameters*"])
    spread.stdout.fnmatch_lines(["2 hold, 1 fails, 1 inconclusive, 1 not applicable, 1 broken*"])
    rows = [line for line in spread.outlines if line.startswith("a-paper/")]
    assert [row.split()[0] for row in rows[:6]] == [
        f"a-paper/{name}" for name in ("holding", "holding", "failing", "close", "beyond", "broken")
    ]


def test_xdist_keeps_what_could_not_be_measured(suite, pytester):
    serial = suite(CLAIMS + MISMATCHED, "--claims-record", "serial.json")
    arguments = ("-n", "2", "--claims-record", "spread.json")
    spread = suite(CLAIMS + MISMATCHED, *arguments, separate=True)
    assert spread.ret == serial.ret == 1
    one, two = (read_record(pytester.path / f"{name}.json") for name in ("serial", "spread"))
    assert {**one.data, "times": {}} == {**two.data, "times": {}}
    spread.stdout.fnmatch_lines(["=* 2 failed, 2 passed, 3 not applicable in *"])


def test_xdist_reports_a_checkpoint_that_is_not_there(suite, pytester):
    arguments = ("-n", "2", "--claims-model", "nothing")
    result = suite(CLAIMS, *arguments, options=PLAIN, separate=True)
    assert result.ret == 1
    result.stdout.fnmatch_lines(["CheckpointError: There is no checkpoint 'nothing'.*"])
    result.stdout.fnmatch_lines(["2 not judged, because of errors."])
    result.stdout.no_fnmatch_line("*INTERNALERROR*")
    assert not list(pytester.path.glob(".stillwired/records/*"))


def test_an_interrupted_run_leaves_its_cells_and_no_record(suite, pytester):
    source = CLAIMS + (
        "\nimport pathlib, time\n"
        "@pytest.mark.claim(claim('slow'))\n"
        "def test_slow(checkpoint_spec, judge):\n"
        "    pathlib.Path('reached').touch()\n"
        "    time.sleep(60)\n"
    )
    pytester.makepyfile(test_claims=source)
    command = [sys.executable, "-m", "pytest", *OPTIONS]
    with subprocess.Popen(
        command, cwd=pytester.path, stdout=subprocess.PIPE, text=True, env={**os.environ}
    ) as process:
        deadline = time.monotonic() + 60
        while not (pytester.path / "reached").exists() and time.monotonic() < deadline:
            time.sleep(0.05)
        process.send_signal(signal.SIGINT)
        output, _ = process.communicate(timeout=60)
    assert process.returncode == 2
    (folder,) = (pytester.path / ".stillwired" / "records").iterdir()
    assert len(list((folder / "cells").iterdir())) == 2
    assert not list(folder.glob("record*"))
    assert "Interrupted: 2 judged, no record was written. The cells judged so far stay in" in output
    assert re.search(r"a-paper/holding +N=1 .*HOLDS", output)


# --- other people's projects --------------------------------------------------------------


def test_other_projects_see_nothing(pytester):
    pytester.makepyfile(
        """
        import pytest

        @pytest.mark.claim("insurance", number=3)
        @pytest.mark.parametrize("depth", [1, 2])
        def test_theirs(depth):
            assert depth

        @pytest.fixture
        def judge():
            return "their judge"

        @pytest.mark.claim
        def test_court(judge):
            assert judge == "their judge"

        def test_light():
            import sys
            heavy = {"torch", "numpy", "scipy", "pyarrow", "transformers", "nnsight"}
            assert not heavy & set(sys.modules)
        """
    )
    command = [sys.executable, "-m", "pytest", *PLAIN]
    done = subprocess.run(command, cwd=pytester.path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout
    lines = [line for line in done.stdout.splitlines() if not line.startswith("plugins:")]
    assert not any("stillwired" in line or "claim" in line.lower() for line in lines)
    assert "4 passed" in done.stdout
    assert not (pytester.path / ".stillwired").exists()


@pytest.mark.parametrize("out", [False, True])
def test_all_parts_of_the_plugin_are_left_out_together(pytester, out):
    options = ("--trace-config", *(["-pno:stillwired"] if out else []))
    lines = pytester.runpytest_subprocess(*PLAIN, *options).outlines
    there = [part for part in stillwired.plugin.pytest_plugins if f"'{part}'" in "".join(lines)]
    assert there == ([] if out else stillwired.plugin.pytest_plugins)


def test_nothing_heavy_is_imported_at_start_up():
    parts = ", ".join(stillwired.plugin.pytest_plugins)
    source = (
        f"import sys, {parts}, stillwired.cli, stillwired.records.session, "
        "stillwired.records.finish, stillwired.report.summary, stillwired.report.console\n"
        "print([m for m in ('torch', 'numpy', 'scipy', 'pyarrow', 'transformers') "
        "if m in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", source], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "[]"


def test_a_claim_that_is_asked_of_nothing_is_skipped(suite):
    """As of cyclic tasks, where none of the tasks is cyclic."""
    nothing = """

@pytest.mark.claim(claim("idle"))
@pytest.mark.parametrize("cyclic_task", [])
def test_idle(checkpoint_spec, cyclic_task, judge):
    judge(arm=arm(0.5))
"""
    result = suite(CLAIMS + nothing)
    assert result.ret == 0
    result.assert_outcomes(passed=2, skipped=1)


def test_the_package_says_that_it_is_typed():
    import stillwired

    assert (Path(stillwired.__file__).parent / "py.typed").is_file()
