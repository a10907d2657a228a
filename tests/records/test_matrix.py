"""Claims against mutants: what records of one run come to, and what may survive."""

from __future__ import annotations

import json

import pytest

from stillwired.errors import RecordError, UsageError
from stillwired.judge import Claim, InstrumentCheck, Level, Needs, Outcome, Paper
from stillwired.mutants.catalogue import mutant_named, with_mutants
from stillwired.options import RunOptions
from stillwired.records.finish import finish
from stillwired.records.matrix import matrices, matrix_path, write_matrix
from stillwired.records.run import RunFolder
from stillwired.records.session import Judge, Run, cell_of
from stillwired.records.survivors import decide, read_survivors
from stillwired.records.trial import check_survivors, try_claims
from stillwired.settings import Settings

OWN = mutant_named("the same target whatever N")
OTHER = mutant_named("patches forgotten")
NOISE = mutant_named("noise of a half")
HARMLESS = mutant_named("rounded to 8 bits")
ALL = (OWN, OTHER, NOISE, HARMLESS)
HOLDS, OPEN, FAILS = 1.0, 0.125, 0.0
"""Shares of hits; with 0.1 the least, forty rows leave one in eight open."""


def claim(name, **changes):
    declared = {
        "id": f"some-paper/{name}",
        "version": 1,
        "says": "Something is so.",
        "source": Paper("some-paper", "Some Paper", "A. Author", "Venue 2026").at("Table 1"),
        "published": "0.5",
        "expects": (Level("arm", at_least=0.1),),
        "margin": 0.1,
        "mutant": OWN.name,
    }
    return Claim(**{**declared, **changes})


def arm(share, rows=40):
    names = [f"d{row}" for row in range(rows)]
    return Outcome("arm", names, names, [float(row < share * rows) for row in range(rows)])


class Ran:
    """A run of made-up claims on made-up checkpoints."""

    def __init__(self, folder, mutants=ALL, models=("m",), profile=None, **more):
        given = {} if profile is None else {"profile": profile}
        settings = Settings(models=with_mutants(models, mutants), **given)
        options = RunOptions(settings, folder / "base.json", mutants=True, **more)
        self.run, self.order = Run(options, RunFolder(folder / "run", "t"), print), 0

    def judge(self, name, share, mutant=None, params=None, spec="m", changes=None, **more):
        whole = spec if mutant is None else f"{spec}~{mutant.slug}"
        declared = claim(name, **(changes or {}))
        cell = cell_of(declared, {"checkpoint_spec": whole, **(params or {})}, "test", self.order)
        self.order += 1
        return Judge(self.run, "test", cell)(arm=arm(share), **more)

    def under_all(self, name, shares, **more):
        """Judge a claim undamaged, and under each mutant."""
        for mutant, share in zip((None, *ALL), shares, strict=True):
            self.judge(name, share, mutant, **more)

    def end(self):
        return [one.record for one in finish(self.run)]


def matrix_after(folder, shares, **more):
    made = Ran(folder)
    made.under_all("a", shares, **more)
    (found,) = matrices(made.end())
    return found


def test_a_row_says_what_every_mutant_made_of_a_primary_cell(tmp_path):
    made = Ran(tmp_path)
    made.under_all(
        "a",
        (HOLDS, FAILS, HOLDS, OPEN, HOLDS),
        params={"ahead": 1},
        changes={"primary": {"ahead": 1}},
    )
    made.under_all("a", (HOLDS,) * 5, params={"ahead": 2}, changes={"primary": {"ahead": 1}})
    (matrix,) = matrices(made.end())
    (row,) = matrix.rows
    assert (row.claim, row.params, row.declares) == ("some-paper/a", {"ahead": 1}, OWN.name)
    assert (row.sound, list(row.damaged.values())) == (
        "HOLDS",
        ["FAILS", "HOLDS", "INCONCLUSIVE", "HOLDS"],
    )
    assert row.killed_by == (OWN,)
    assert matrix.mutants == ALL
    assert (matrix.standing, matrix.costly) == ([], [])
    assert [one.name for one in matrix.unnoticed] == [OTHER.name]


def test_records_may_come_in_any_order(tmp_path):
    made = Ran(tmp_path)
    made.under_all("a", (HOLDS, FAILS, FAILS, FAILS, HOLDS))
    paths = made.end()
    (one,), (other,) = matrices(paths), matrices(paths[::-1])
    assert set(other.mutants) == set(one.mutants)
    assert [row.sound for row in other.rows] == [row.sound for row in one.rows]


def test_a_claim_that_its_own_mutant_leaves_standing_survives(tmp_path):
    """That another mutant kills it does not count."""
    matrix = matrix_after(tmp_path, (HOLDS, HOLDS, FAILS, FAILS, HOLDS))
    (one,) = matrix.standing
    assert one.name == "some-paper/a"
    assert one.why == f"HOLDS, damaged HOLDS ({OWN.name})"
    assert not decide(matrix).passed


def test_a_claim_that_is_no_longer_applicable_survives(tmp_path):
    made = Ran(tmp_path, (OWN,))
    changes = {"applies": (Needs("able", 0.3),)}
    made.judge("a", HOLDS, None, changes=changes, ability={"able": arm(HOLDS)})
    made.judge("a", FAILS, OWN, changes=changes, ability={"able": arm(FAILS)})
    (matrix,) = matrices(made.end())
    assert [one.why for one in matrix.standing] == [f"HOLDS, damaged NOT APPLICABLE ({OWN.name})"]


def test_one_primary_cell_is_enough_to_kill_a_claim(tmp_path):
    made = Ran(tmp_path)
    made.under_all("a", (HOLDS, HOLDS, HOLDS, HOLDS, HOLDS), params={"ahead": 1})
    made.under_all("a", (HOLDS, FAILS, HOLDS, HOLDS, HOLDS), params={"ahead": 2})
    (matrix,) = matrices(made.end())
    assert len(matrix.rows) == 2
    assert matrix.standing == []


def test_what_was_not_tried_does_not_survive(tmp_path):
    made = Ran(tmp_path, (OTHER,))
    made.judge("a", HOLDS)
    made.judge("a", FAILS, OTHER)
    made.judge("b", HOLDS, changes={"mutant": "no such thing"})
    made.judge("b", HOLDS, OTHER, changes={"mutant": "no such thing"})
    (matrix,) = matrices(made.end())
    assert list(matrix.tried) == ["some-paper/b"]
    (one,) = matrix.standing
    assert (one.name, one.why) == ("some-paper/b", "there is no mutant 'no such thing'")


def test_a_mutant_is_noticed_by_any_cell_by_a_check_or_by_the_claim_that_names_it(tmp_path):
    secondary = {"params": {"ahead": 2}, "changes": {"primary": {"ahead": 1}}}
    made = Ran(tmp_path)
    made.judge("a", HOLDS, **secondary)
    made.judge("a", FAILS, OTHER, **secondary)
    made.judge("b", OPEN)
    made.judge("b", FAILS, OWN)
    made.judge("c", HOLDS)
    made.judge("c", HOLDS, NOISE, checks=[InstrumentCheck("adds up", False)])
    (matrix,) = matrices(made.end())
    assert matrix.noticed == {OTHER, OWN, NOISE}


def test_an_open_claim_that_fails_under_anothers_mutant_has_noticed_nothing(tmp_path):
    matrix = matrix_after(tmp_path, (OPEN, FAILS, FAILS, FAILS, FAILS))
    assert matrix.noticed == {OWN}
    assert [one.name for one in matrix.unnoticed] == [OTHER.name]


def test_harmless_mutants_that_cost_a_hold_are_listed_and_decide_nothing(tmp_path):
    matrix = matrix_after(tmp_path, (HOLDS, FAILS, FAILS, HOLDS, OPEN))
    assert [(one.name, one.why) for one in matrix.costly] == [
        (HARMLESS.name, "some-paper/a: INCONCLUSIVE")
    ]
    assert decide(matrix).passed
    assert matrix_after(tmp_path / "b", (HOLDS, FAILS, FAILS, HOLDS, HOLDS)).costly == []
    # What did not hold cannot be lost.
    assert matrix_after(tmp_path / "c", (OPEN, FAILS, FAILS, HOLDS, FAILS)).costly == []


def test_what_is_only_reported_has_no_row(tmp_path):
    reported = {"expects": (Level("arm", reported=True),), "margin": None, "mutant": None}
    matrix = matrix_after(tmp_path, (HOLDS,) * 5, changes=reported)
    assert matrix.rows == ()
    assert matrix.standing == []


def test_each_undamaged_checkpoint_has_its_matrix(tmp_path):
    made = Ran(tmp_path, (OWN,), ("m", "n"))
    for spec, share in (("m", FAILS), ("n", HOLDS)):
        made.judge("a", HOLDS, spec=spec)
        made.judge("a", share, OWN, spec=spec)
    found = matrices(made.end())
    assert [len(matrix.standing) for matrix in found] == [0, 1]


def test_records_that_do_not_belong_together_are_refused(tmp_path):
    made = Ran(tmp_path / "one", (OWN,))
    made.judge("a", HOLDS)
    made.judge("a", FAILS, OWN)
    sound, damaged = made.end()
    with pytest.raises(RecordError, match="no record is of the undamaged one"):
        matrices([damaged])
    with pytest.raises(RecordError, match="are both of m"):
        matrices([sound, damaged, sound])
    assert matrices([sound]) == []
    made = Ran(tmp_path / "two", (OWN,))
    made.judge("a", FAILS, OWN, changes={"says": "Something else is so."})
    with pytest.raises(RecordError, match="declare some-paper/a differently"):
        matrices([sound, *made.end()])
    from stillwired.profiles import PAPER

    made = Ran(tmp_path / "three", (OWN,), profile=PAPER)
    made.judge("a", FAILS, OWN)
    with pytest.raises(RecordError, match="differ in profile: paper and quick"):
        matrices([sound, *made.end()])


# What is written


def test_the_file_says_what_a_report_needs(tmp_path):
    matrix = matrix_after(tmp_path, (HOLDS, FAILS, HOLDS, HOLDS, OPEN))
    write_matrix(tmp_path / "matrix.json", matrix)
    data = json.loads((tmp_path / "matrix.json").read_text())
    assert data["schema"] == 1
    assert data["mutants"][0] == {
        "name": OWN.name,
        "slug": OWN.slug,
        "damages": "instrument",
        "harmless": False,
        "noticed": True,
    }
    (row,) = data["rows"]
    assert row["sound"] == "HOLDS"
    assert row["damaged"][OWN.slug] == "FAILS"
    assert row["killed_by"] == [OWN.slug]
    assert data["standing"] == []
    assert [one["name"] for one in data["unnoticed"]] == [OTHER.name]
    assert [one["name"] for one in data["costly"]] == [HARMLESS.name]


@pytest.mark.parametrize(
    ("record", "matrix"),
    [
        ("record.json", "matrix.json"),
        ("record-tiny.json", "matrix-tiny.json"),
        ("base.json", "base.matrix.json"),
        ("base-tiny.json", "base-tiny.matrix.json"),
    ],
)
def test_a_matrix_lies_beside_the_undamaged_record(record, matrix, tmp_path):
    assert matrix_path(tmp_path / record) == tmp_path / matrix


# What may survive

FILE = {
    "schema": 1,
    "checkpoint": "m",
    "profile": "quick",
    "survivors": [
        {"claim": "some-paper/a", "reason": "The model is small."},
        {"mutant": "patches-forgotten", "reason": "Nothing here patches."},
    ],
}


def write(tmp_path, data):
    path = tmp_path / "survivors.json"
    path.write_text(json.dumps(data))
    return path


def test_listed_survivors_may_stand_and_must(tmp_path):
    survivors = read_survivors(write(tmp_path, FILE))
    assert survivors.claims == {"some-paper/a": "The model is small."}
    assert survivors.mutants == {OTHER.name: "Nothing here patches."}
    standing = matrix_after(tmp_path / "a", (HOLDS,) * 5)
    assert not decide(standing).passed
    # The first mutant is not listed.
    assert not decide(standing, survivors).passed
    more = [*FILE["survivors"], {"mutant": OWN.name, "reason": "Known."}]
    whole = read_survivors(write(tmp_path, FILE | {"survivors": more}))
    assert decide(standing, whole).passed
    fallen = matrix_after(tmp_path / "b", (HOLDS, FAILS, FAILS, HOLDS, HOLDS))
    assert decide(fallen).passed
    found = decide(fallen, survivors)
    assert not found.passed
    assert [line.split(" is listed")[0] for line in found.stale] == ["some-paper/a", OTHER.name]


def test_what_was_not_tried_need_not_survive(tmp_path):
    made = Ran(tmp_path, (NOISE,))
    made.judge("a", HOLDS)
    made.judge("a", HOLDS, NOISE)
    (matrix,) = matrices(made.end())
    assert decide(matrix, read_survivors(write(tmp_path, FILE))).passed


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"schema": 2}, '"schema": 1'),
        ({"extra": 1}, "its keys are"),
        ({"checkpoint": 3}, "checkpoint is a int"),
        ({"survivors": {}}, "survivors is a dict"),
        ({"survivors": ["a"]}, "entry 1 does not have exactly"),
        ({"survivors": [{"claim": "a"}]}, "entry 1 does not have exactly"),
        ({"survivors": [{"claim": "a", "mutant": "b", "reason": "c"}]}, "does not have exactly"),
        ({"survivors": [{"claim": "a", "reason": " "}]}, "not empty"),
        ({"survivors": [{"claim": 3, "reason": "c"}]}, "are strings"),
        ({"survivors": FILE["survivors"][:1] * 2}, r"entry 2 \(some-paper/a\) is listed twice"),
        (
            {"survivors": [{"mutant": name, "reason": "c"} for name in (OWN.name, OWN.slug)]},
            "entry 2 .* is listed twice",
        ),
    ],
)
def test_a_file_of_another_form_is_refused(change, says, tmp_path):
    with pytest.raises(RecordError, match=says):
        read_survivors(write(tmp_path, FILE | change))


def test_a_survivor_that_is_no_mutant_is_named(tmp_path):
    entry = {"mutant": "patches forgoten", "reason": "c"}
    with pytest.raises(UsageError, match="Did you mean patches-forgotten"):
        read_survivors(write(tmp_path, FILE | {"survivors": [entry]}))


# The end of a run


def test_a_run_leaves_a_matrix_for_each_checkpoint_and_judges_it(tmp_path):
    made = Ran(tmp_path, (OWN,), ("m", "x/n"))
    for spec, share in (("m", FAILS), ("x/n", HOLDS)):
        made.judge("a", HOLDS, spec=spec)
        made.judge("a", share, OWN, spec=spec)
    one, other = try_claims(made.run.options, finish(made.run))
    assert (one.path.name, other.path.name) == ("base-m.matrix.json", "base-n.matrix.json")
    assert (one.decision.passed, other.decision.passed) == (True, False)
    assert json.loads(other.path.read_text())["standing"][0]["name"] == "some-paper/a"


def test_survivors_are_about_one_checkpoint_and_one_profile(tmp_path):
    path = write(tmp_path, FILE)
    assert check_survivors(Ran(tmp_path, (OWN,), survivors=path).run.options).path == path
    with pytest.raises(UsageError, match="names 2"):
        check_survivors(Ran(tmp_path, (OWN,), ("m", "n"), survivors=path).run.options)
    other = write(tmp_path, FILE | {"profile": "paper"})
    with pytest.raises(RecordError, match="about the profile paper, and the matrix about quick"):
        check_survivors(Ran(tmp_path, (OWN,), survivors=other).run.options)
    assert check_survivors(Ran(tmp_path, (OWN,)).run.options) is None
