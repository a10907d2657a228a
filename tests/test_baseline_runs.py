"""Runs compared with a baseline, and the commands for it: fabricated outcomes, no model."""

from __future__ import annotations

import json
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
from stillwired.judge.changes import ChangeWord
from stillwired.records.files import digest_of
from stillwired.records.record import read_record

pytest_plugins = ["pytester"]

CONFTEST = """
from types import SimpleNamespace

import pytest


def pytest_claims_prepare(spec):
    known = {"name": spec, "layers": 9, "digest": spec * 8}
    return SimpleNamespace(name=spec, layers=9, to_json=lambda: known)


@pytest.fixture(scope="session", autouse=True)
def corpus(request, claims_run):
    text = request.config.rootpath / "text"
    claims_run.note_corpus({"name": "text", "digest": text.read_text() if text.exists() else "cd"})
"""

# A claim wants 0.2 and may lose 0.1. In 400 clusters of one row a change of 0.1 is known to 0.03.
HEAD = """
import pytest

from stillwired.errors import MissingComponentError
from stillwired.judge import *

PAPER = Paper("a-paper", "A Paper", "A. Author", "Venue 2026")


def arm(p, rows=400):
    hits = [float((k * 0.6180339887) % 1 < p) for k in range(rows)]
    documents = [f"d{k}" for k in range(rows)]
    return Outcome("arm", [f"{d}:0" for d in documents], documents, hits)


def claim(name, **more):
    given = dict(
        version=1,
        says=f"The {name} is there.",
        source=PAPER.at("Table 1"),
        published="0.5",
        expects=(Level("arm", at_least=0.2),),
        margin=0.1,
        mutant="shuffled",
    )
    return Claim(id=f"a-paper/{name}", **given | more)


def now(checkpoint_spec, then, after):
    return arm(then if checkpoint_spec == "old" else after, rows=ROWS)


ROWS = 400
"""

CLAIM = """
@pytest.mark.claim(claim("{name}"{more}))
def test_{name}(checkpoint_spec, judge):
    judge(arm=now(checkpoint_spec, {then}, {after}){given})
"""
BROKEN = ', checks=[InstrumentCheck("adds up", checkpoint_spec == "old", "0.3")]'
ABLE = ', applies=(Needs("top-1", 0.3),)'
ABILITY = ', ability={"top-1": now(checkpoint_spec, 0.5, 0.1)}'


def a(name, then, after, more="", given=""):
    return CLAIM.format(name=name, then=then, after=after, more=more, given=given)


KEPT = a("kept", 0.5, 0.49)
LOST = a("lost", 0.5, 0.3)
GAINED = a("gained", 0.05, 0.5)
UNDECIDED = a("undecided", 0.5, 0.41)
GONE = a("gone", 0.26, 0.155)  # FAILS now, its change is undecided
FAILING = a("failing", 0.05, 0.05)
WORSE = a("worse", 0.2, 0.05)  # INCONCLUSIVE, then FAILS
SECONDARY = a("secondary", 0.5, 0.05, more=', primary={"ahead": 1}')
CANNOT = a("cannot", 0.5, 0.5, ABLE, ABILITY)
OBSTACLE = """
@pytest.mark.claim(claim("obstacle"))
def test_obstacle(checkpoint_spec, judge):
    if checkpoint_spec == "new":
        raise MissingComponentError("Layer 0 has no attention heads.")
    judge(arm=arm(0.5))
"""
ODD = a("odd", 0.5, 0.5, given=BROKEN)
EDGE = a("edge", 0.24, 0.175) + "\nROWS = 1600\n"  # FAILS now, its change is kept

PLAIN = ("-pno:cacheprovider", "-pno:benchmark", "-pno:hypothesispytest", "-pno:anyio")


@pytest.fixture
def suite(secluded, pytester, monkeypatch):
    """Run a suite on a checkpoint; what is not given is taken from the run before."""
    monkeypatch.chdir(pytester.path)
    pytester.makeconftest(CONFTEST)
    pytester.makeini("[pytest]\naddopts = --strict-markers\n")

    def run(source, model, *arguments):
        pytester.makepyfile(test_claims=HEAD + source)
        record = ("--claims-record", f"{model}.json")
        return pytester.runpytest_inprocess(*PLAIN, "--claims-model", model, *record, *arguments)

    return run


@pytest.fixture
def upgrade(suite):
    """Judge the old checkpoint, and the new one against its record."""

    def run(source, *arguments, after=None):
        suite(source, "old")
        return suite(after or source, "new", "--claims-baseline", "old.json", *arguments)

    return run


def words(result):
    """Each cell's word, as the table has it, in the table's order."""
    shown = result.stdout.str().partition("compared with")[2].partition("held before")[0]
    lines = shown.splitlines()
    at = next(line.index("word") for line in lines if line.startswith("claim "))
    rows = [line for line in lines if line.startswith("a-paper/") and len(line) > at]
    known = "|".join(map(str, ChangeWord))
    return {row.split()[0].partition("/")[2]: re.match(known, row[at:])[0] for row in rows}


# --- what decides -------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("source", "arguments", "code", "letters", "word"),
    [
        (KEPT, (), 0, ".", "KEPT"),
        (LOST, (), 1, ".", "LOST"),
        (GAINED, (), 0, ".", "GAINED"),
        (UNDECIDED, (), 0, ".", "UNDECIDED"),
        (UNDECIDED, ("--claims-strict",), 1, ".", "UNDECIDED"),
        (GONE, (), 1, "F", "UNDECIDED"),
        (EDGE, (), 0, "F", "KEPT"),
        (FAILING, (), 0, "f", "KEPT"),
        (WORSE, (), 0, "f", "LOST"),
        (SECONDARY, (), 0, "F", "LOST"),
        (CANNOT, (), 1, "F", "LOST"),
        (OBSTACLE, (), 1, "F", "LOST"),
        (ODD, (), 1, "B", "BROKEN"),
    ],
    ids=lambda value: value.split('"')[1] if isinstance(value, str) and "claim(" in value else None,
)
def test_the_comparison_sets_the_exit_code(source, arguments, code, letters, word, upgrade):
    result = upgrade(source, *arguments)
    assert result.ret == code
    result.stdout.fnmatch_lines([f"test_claims.py {letters} *"])
    assert set(words(result).values()) == {word}


def test_a_run_against_its_own_baseline_has_kept_everything(suite):
    source = KEPT + LOST + FAILING + UNDECIDED + GONE
    suite(source, "old")
    result = suite(source, "old", "--claims-baseline", "old.json")
    assert result.ret == 0
    result.stdout.fnmatch_lines(
        [
            "test_claims.py ..f..*",
            "=* verdicts =*",
            "old (sha256 oldoldol…) compared with old (sha256 oldoldol…)",
            "from old.json",
            "Both are one checkpoint, in one regime.",
            "claim *change  95 % interval *allowed  word",
            "4 held before: 0 lost, 0 undecided, 4 kept, 0 gained   1 did not: 1 kept",
        ]
    )
    assert set(words(result).values()) == {"KEPT"}


def test_other_code_of_the_claims_is_said(suite):
    suite(KEPT, "old")
    result = suite(KEPT + "# Seen in another way.\n", "old", "--claims-baseline", "old.json")
    assert result.ret == 0
    result.stdout.re_match_lines(
        [
            r"Measured otherwise: code of the root folder \(\w{8}… then, \w{8}… now\)\.",
            r"Both are one checkpoint, in one regime: what changed is not its doing\.",
        ]
    )


def test_a_profile_of_other_sizes_is_refused_before_anything_runs(suite, pytester):
    suite(KEPT, "old")
    path = pytester.path / "old.json"
    data = json.loads(path.read_text())
    times = data.pop("times")
    data["sizes"]["names"] = 3
    del data["digest"]
    path.write_text(json.dumps({**data, "digest": digest_of(data), "times": times}))
    result = suite(KEPT, "new", "--claims-baseline", "old.json")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(["*other sizes by now, names 3 then and 100 now.*"])
    assert not (pytester.path / "new.json").exists()


def test_the_summary_shows_the_worst_first_and_the_reasons(upgrade):
    result = upgrade(KEPT + LOST + GAINED + UNDECIDED + GONE + CANNOT + SECONDARY)
    assert result.ret == 1
    assert list(words(result)) == [
        "gone",
        "cannot",
        "lost",
        "secondary",
        "undecided",
        "kept",
        "gained",
    ]
    result.stdout.re_match_lines(
        [
            r"a-paper/gone +– \* +HOLDS +FAILS +−0\.10\d +−0\.1.. … −0\.0..  −0\.1 +UNDECIDED.*",
            r"a-paper/cannot +– \* +HOLDS +NOT APPLICABLE +– +– +– +LOST \(ability\).*",
            r"a-paper/lost +– \* +HOLDS +HOLDS +−0\.198 .* LOST",
            r"6 held before: 3 lost, 2 undecided, 1 kept, 0 gained   1 did not: 1 gained",
            r"a-paper/gone held and FAILS now, its change UNDECIDED: −0\.10.*, −0\.1 allowed; .*",
            r"a-paper/cannot is LOST: it held and does not apply now: .*",
            r"a-paper/lost is LOST \(p .*, Holm over 4 primary cells that held\): .*",
            r"a-paper/undecided is UNDECIDED: .*",
        ]
    )


def test_a_failed_test_says_what_held(upgrade):
    result = upgrade(GONE)
    result.stdout.fnmatch_lines(
        [
            "*_ test_gone?new? _*",
            "FAILS, and it held in old.json",
            "arm is 0.1*, expected at least 0.20",
            "  claim        The gone is there.",
            "FAILS, held before *test_gone?new? - FAILS, and it held in old*",
        ]
    )
    verbose = upgrade(GONE + FAILING, "-v")
    verbose.stdout.fnmatch_lines(
        [
            "*test_gone?new? FAILS, held before*",
            "*test_failing?new? FAILS, did not hold before*",
            "=* 1 failed, 1 did not hold before in *",
        ]
    )


def test_a_cell_that_is_missing_is_lost_unless_it_was_left_out(upgrade):
    result = upgrade(KEPT + LOST, after=KEPT)
    assert result.ret == 1
    result.stdout.fnmatch_lines(
        [
            "a-paper/lost *HOLDS * LOST (missing)*",
            "a-paper/lost is LOST: it held and was not judged",
        ]
    )
    result = upgrade(KEPT + LOST, "-k", "kept")
    assert result.ret == 0
    result.stdout.no_fnmatch_line("*a-paper/lost*")
    result.stdout.fnmatch_lines(
        ["*Of what held, 1 cell was left out by a selection (1 primary): nothing guards it.*"]
    )
    result = upgrade(KEPT + FAILING, after=KEPT + a("fresh", 0.5, 0.05))
    assert result.ret == 0
    assert words(result) == {"kept": "KEPT", "failing": "NOT COMPARED", "fresh": "NEW"}


def test_another_version_is_said(upgrade):
    raised = LOST.replace('claim("lost"', 'claim("lost", version=2') + KEPT
    result = upgrade(LOST + KEPT, after=raised.replace("0.3)", "0.05)"))
    assert result.ret == 1
    result.stdout.fnmatch_lines(
        [
            "test_claims.py F. *",
            "a-paper/lost *NOT COMPARED  version 1 then, 2 now",
            "a-paper/lost held and is not compared: version 1 then, 2 now; it FAILS now",
        ]
    )


def test_a_degenerate_model_gains_nothing(upgrade):
    able = ', applies=(Needs("variety", 0.1),)'
    worse = ', ability={"variety": now(checkpoint_spec, 0.6, 0.4)}'
    result = upgrade(a("loops", 0.5, 0.9, able, worse) + a("sound", 0.5, 0.9))
    assert result.ret == 0
    assert words(result) == {"loops": "KEPT", "sound": "GAINED"}
    result.stdout.fnmatch_lines(
        ["a-paper/loops *KEPT  it grew, but the model got worse: variety changed by −0.20 *"]
    )


def test_an_error_leaves_a_cell_missing_and_the_record_unfit(upgrade, capsys):
    crash = (
        "\n@pytest.mark.claim(claim('kept'))\ndef test_kept(checkpoint_spec, judge):\n    1 / 0\n"
    )
    result = upgrade(KEPT + LOST, after=LOST.replace("0.3", "0.5") + crash)
    assert result.ret == 1
    result.stdout.fnmatch_lines(
        ["a-paper/kept *LOST (missing)*", "1 not judged, because of errors."]
    )
    assert main(["baseline", "accept", "new.json"]) == 2
    assert "kept from judging every claim" in capsys.readouterr().err


def test_a_run_that_x_stops_is_no_baseline(suite, capsys):
    suite(FAILING + KEPT, "old", "-x")
    assert main(["baseline", "accept", "old.json"]) == 2
    assert "kept from judging every claim" in capsys.readouterr().err


def test_workers_compare_as_one_process_does(upgrade, pytester):
    source = KEPT + LOST + GONE + FAILING + SECONDARY
    one, two = upgrade(source), upgrade(source, "-n", "2", "-p", "xdist")
    assert one.ret == two.ret == 1
    assert words(one) == words(two)
    two.stdout.fnmatch_lines(["*2 failed, 2 passed, 1 did not hold before in *"])


def test_quiet_shows_what_is_not_well(upgrade):
    result = upgrade(KEPT + LOST, "-q")
    assert words(result) == {"lost": "LOST"}
    result.stdout.fnmatch_lines(["2 held before: 1 lost, *"])


def test_claims_without_a_checkpoint_are_judged_for_themselves(upgrade):
    bare = "\n@pytest.mark.claim(claim('bare'))\ndef test_bare(judge):\n    judge(arm=arm({}))\n"
    result = upgrade(KEPT, after=KEPT + bare.format(0.05))
    assert result.ret == 1
    assert words(result) == {"kept": "KEPT"}
    result.stdout.fnmatch_lines(["a-paper/bare FAILS (p *"])
    assert upgrade(KEPT, after=KEPT + bare.format(0.5)).ret == 0
    # Only of such there is nothing that the baseline is about.
    result = upgrade(KEPT, after=bare.format(0.5))
    assert result.ret == 1
    assert words(result)["kept"] == "LOST"


# --- what cannot be compared --------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("--claims-profile", "standard"), "its profile is quick, and not standard"),
        (("--claims-seed", "3"), "its seed is 0, and not 3*--claims-seed 0"),
        (("--claims-layers", "0.5"), "its layers are the profile's, and not 0.5"),
        (("--claims-model", "other"), "compared with one checkpoint, and --claims-model names 2"),
        (("--claims-expected", "old.json"), "does not go with --claims-expected"),
        (("--claims-shard", "1/2"), "does not go with --claims-shard*stillwired merge"),
        (("--claims-mutants",), "does not go with --claims-mutants"),
        (("--claims-baseline", "none.json"), "there is no file *none.json"),
        (("--claims-baseline", "edited.json"), "edited after it was written"),
        (("--claims-baseline", "pytest.ini"), "is not JSON"),
    ],
)
def test_what_cannot_be_compared_stops_the_run_before_it_starts(arguments, says, suite, pytester):
    suite(KEPT, "old")
    text = (pytester.path / "old.json").read_text()
    (pytester.path / "edited.json").write_text(text.replace('"seed": 0', '"seed": 1'))
    (pytester.path / "pytest.ini").write_text("[pytest]\n")
    result = suite(KEPT, "new", "--claims-baseline", "old.json", *arguments)
    assert result.ret == 4
    result.stderr.fnmatch_lines([f"ERROR: *{says}*"])
    assert not (pytester.path / "new.json").exists()
    assert not (pytester.path / "new.run").exists()


def test_other_text_is_found_out_at_the_end_and_does_not_pass(suite, pytester):
    suite(KEPT, "old")
    (pytester.path / "text").write_text("ef")
    result = suite(KEPT, "new", "--claims-baseline", "old.json")
    assert result.ret == 1
    result.stdout.fnmatch_lines(["Nothing was compared. *old.json was measured on other text*"])
    assert read_record(pytester.path / "new.json").data["corpus"]["digest"] == "ef"


def test_a_baseline_without_its_outcomes_does_not_pass(suite, pytester):
    suite(KEPT, "old")
    (pytester.path / "old.outcomes.parquet").unlink()
    result = suite(KEPT, "new", "--claims-baseline", "old.json")
    assert result.ret == 1
    result.stdout.fnmatch_lines(["Nothing was compared. The record's outcomes are missing*"])


def test_the_ini_file_may_name_the_baseline(suite, pytester):
    suite(LOST, "old")
    pytester.makeini("[pytest]\naddopts = --strict-markers\nclaims_baseline = old.json\n")
    assert suite(LOST, "new").ret == 1


# --- refits -------------------------------------------------------------------------------


def test_refits_beside_the_claims_reach_the_record_and_the_comparison(suite, pytester):
    def measure(name):
        cells = {"-": {"arm": {"sd": 0.05, "estimates": []}}}
        content = {"restarts": 5, "claims": {f"a-paper/{name}": cells}}
        (pytester.path / "refits.json").write_text(json.dumps(content))

    suite(KEPT, "old")
    measure("elsewhere")
    assert suite(KEPT, "new", "--claims-baseline", "old.json").ret == 0
    assert "refits" not in read_record(pytester.path / "new.json").data
    measure("kept")
    result = suite(KEPT, "new", "--claims-baseline", "old.json", "--claims-strict")
    assert read_record(pytester.path / "new.json").data["refits"] == {"a-paper/kept": {"arm": 0.05}}
    assert result.ret == 1
    assert words(result) == {"kept": "UNDECIDED"}
    result.stdout.fnmatch_lines(["*fits of one checkpoint differ too much (by 0.05)*"])
    (pytester.path / "refits.json").write_text("{}")
    result = suite(KEPT, "new")
    assert result.ret == 4
    result.stderr.fnmatch_lines(["ERROR: *refits.json is not of the form*"])


def test_a_fitted_claim_whose_refits_nobody_knows_is_undecided_and_says_so(suite, pytester):
    suite(KEPT, "old")
    content = {"restarts": 5, "claims": {}, "unmeasured": {"a-paper/kept": [{}]}}
    (pytester.path / "refits.json").write_text(json.dumps(content))
    result = suite(KEPT, "new", "--claims-baseline", "old.json", "--claims-strict")
    assert read_record(pytester.path / "new.json").data["refits"] == {"a-paper/kept": {}}
    assert result.ret == 1
    assert words(result) == {"kept": "UNDECIDED"}
    fails = "a-paper/kept is UNDECIDED, which fails a strict comparison: *was never measured"
    result.stdout.fnmatch_lines([fails])


# --- the commands -------------------------------------------------------------------------


@pytest.fixture
def records(suite):
    """Records of an old checkpoint and of a new one that lost something."""

    def make(source=KEPT + LOST + UNDECIDED):
        suite(source, "old")
        suite(source, "new")

    return make


def test_a_diff_is_the_comparison_of_a_run(records, suite, capsys):
    records()
    result = suite(KEPT + LOST + UNDECIDED, "new", "--claims-baseline", "old.json")
    capsys.readouterr()
    assert main(["diff", "old.json", "new.json"]) == 1
    text = capsys.readouterr().out
    shown = result.stdout.str()
    for line in text.splitlines():
        assert line in shown.splitlines()
    assert "Holm over 3 primary cells that held" in text


@pytest.mark.parametrize(
    ("source", "strict", "code"),
    [(KEPT, [], 0), (LOST, [], 1), (UNDECIDED, [], 0), (UNDECIDED, ["--strict"], 1)],
)
def test_the_exit_code_of_a_diff(source, strict, code, records, capsys):
    records(source)
    assert main(["diff", "old.json", "new.json", *strict]) == code
    # The other way round nothing is lost.
    assert main(["diff", "new.json", "old.json", *strict]) == 0


def test_a_baseline_is_accepted_and_compared_with(records, suite, pytester, capsys):
    records()
    capsys.readouterr()
    assert main(["baseline", "accept", "old.json", "--note", "The first release."]) == 0
    told = capsys.readouterr().out
    assert told == "baseline: ci/baselines/old-quick.json  (3 cells, 3 hold)\n"
    baseline = "ci/baselines/old-quick.json"
    data = json.loads((pytester.path / baseline).read_text())
    assert re.fullmatch(r"\d{4}-\d\d-\d\d", data["accepted"])
    assert data["note"] == "The first release."
    (pytester.path / "old.json").unlink()
    assert main(["diff", baseline, "new.json"]) == 1
    assert (
        f"from {baseline}, accepted {data['accepted']}: The first release."
        in capsys.readouterr().out
    )
    result = suite(KEPT + LOST + UNDECIDED, "new", "--claims-baseline", baseline)
    assert result.ret == 1
    assert words(result) == {"lost": "LOST", "undecided": "UNDECIDED", "kept": "KEPT"}
    assert main(["baseline", "accept", "new.json", "--out", baseline]) == 2
    assert "already" in capsys.readouterr().err
    assert main(["baseline", "accept", "new.json", "--out", baseline, "--force"]) == 0
    assert main(["diff", baseline, "new.json"]) == 0


def test_what_cannot_be_accepted_or_compared_is_refused(suite, capsys):
    suite(ODD, "new")
    capsys.readouterr()
    for arguments, says in (
        (["baseline", "accept", "new.json"], "1 BROKEN cell"),
        (["baseline", "accept", "none.json"], "There is no record"),
        (["diff", "new.json", "none.json"], "There is no record or baseline"),
    ):
        assert main(arguments) == 2
        error = capsys.readouterr().err
        assert says in error
        assert error.startswith(f"stillwired {arguments[0]}: ")
    with pytest.raises(SystemExit) as stopped:
        main(["baseline"])
    assert stopped.value.code == 2
