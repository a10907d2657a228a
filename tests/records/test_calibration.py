"""A calibration's runs: in which order, held against what, and which are done already."""

from __future__ import annotations

import json
import re

import pytest

from stillwired.errors import RecordError, UsageError
from stillwired.records.calibration import (
    KINDS,
    Planned,
    find_record,
    keep_asked,
    place,
    plan,
    stale,
    time_left,
)
from stillwired.records.files import digest_of
from stillwired.records.record import outcomes_path, read_record
from stillwired.records.run import environment
from tests.records.made_calibration import CODE, claim, write_run

MODEL = {"model": "m", "profile": "quick"}


def names(runs):
    return [run.name for run in runs]


# Which runs


def test_all_kinds_of_a_number_follow_each_other_behind_the_reference():
    assert names(plan(["bf16", "seed"], 2, 1)) == [
        "reference",
        "refit-1",
        "seed-1",
        "bf16-1",
        "seed-2",
        "bf16-2",
    ]
    assert len(plan([name for name in KINDS if name != "refit"], 20, 3)) == 1 + 5 * 20 + 3


def test_what_another_kind_is_held_against_is_run_with_it():
    runs = plan(["sdpa"], 1, 0)
    assert names(runs) == ["reference", "seed-1", "sdpa-1"]
    assert [run.against for run in runs[1:]] == ["reference", "seed-1"]
    # Both judge the same examples.
    assert {run.draw for run in runs[1:]} == {"seed-1"}
    assert names(plan(["documents"], 1, 0)) == ["reference", "documents-1"]


def test_each_kind_asks_pytest_for_its_redraw_and_its_regime():
    options = {run.name: run.options() for run in plan([*KINDS][:-1], 3, 1)}
    assert options["reference"] == []
    assert options["seed-3"] == ["--claims-redraw", "seed-3"]
    assert options["batches-3"] == ["--claims-redraw", "batches-3"]
    fits = ["--claims-redraw", "seed-3+reference-fits"]
    assert options["bf16-3"] == ["--claims-dtype", "bfloat16", *fits]
    assert options["sdpa-3"] == ["--claims-attention", "sdpa", *fits]
    assert options["refit-1"] == ["--claims-redraw", "refit-1"]


def test_unknown_kinds_and_empty_plans_are_refused():
    with pytest.raises(UsageError, match=r"kind of redraw 'refit'. .*seed, documents, batches"):
        plan(["refit"], 1, 1)
    for kinds, redraws, refits in (([], 3, 0), (["seed"], 0, 0), (["seed"], -1, 2)):
        with pytest.raises(UsageError, match="Nothing is left to calibrate with"):
            plan(kinds, redraws, refits)
    assert names(plan([], 0, 1)) == ["reference", "refit-1"]


# Which are done


@pytest.fixture
def folder(tmp_path):
    """A reference and two redraws of it."""
    for run in (Planned(), Planned("seed", 1), Planned("bf16", 1)):
        write_run(tmp_path, run, {"a": 0.5})
    return tmp_path


@pytest.fixture
def outline():
    """What the runs would judge now: the same as they did."""
    return {
        "environment": environment() | {"code": CODE},
        "checkpoints": {"m": {"name": "m", "digest": "ab"}},
        "corpus": None,
        "tasks": None,
        "declarations": {"a-paper/a": claim("a").to_json()},
    }


def there(folder, run):
    return find_record(folder, run, **MODEL)


def edited(path, change):
    """Change a record and sign it anew."""
    data = json.loads(path.read_text())
    change(data)
    del data["digest"]
    data["digest"] = digest_of({key: value for key, value in data.items() if key != "times"})
    path.write_text(json.dumps(data))


def test_intact_records_of_the_calibration_are_done(folder, outline):
    reference = there(folder, Planned())
    assert reference.data["digest"] == read_record(place(folder, Planned())).data["digest"]
    assert stale(reference, outline, None) == ""
    for run in (Planned("seed", 1), Planned("bf16", 1)):
        assert there(folder, run).path == place(folder, run)
        assert stale(there(folder, run), outline, reference) == ""
    assert there(folder, Planned("seed", 2)) is None


@pytest.mark.parametrize("damage", ["cut", "table lost", "table cut", "table of another"])
def test_a_damaged_record_is_not_done(folder, damage):
    path = place(folder, Planned("seed", 1))
    table = outcomes_path(path)
    if damage == "cut":
        path.write_text(path.read_text()[:-40])
    elif damage == "table lost":
        table.unlink()
    elif damage == "table cut":
        table.write_bytes(table.read_bytes()[:-40])
    else:
        table.write_bytes(outcomes_path(place(folder, Planned())).read_bytes())
    assert there(folder, Planned("seed", 1)) is None


def changed_library(outline):
    outline["environment"]["packages"] = outline["environment"]["packages"] | {"torch": "1.0"}


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda o: o["checkpoints"]["m"].update(digest="cd"), "the checkpoint"),
        (lambda o: o["declarations"]["a-paper/a"].update(margin=0.2), "the declarations of claims"),
        (lambda o: o["declarations"].clear(), "the declarations of claims"),
        (lambda o: o.update(corpus="ef"), "the text"),
        (lambda o: o["environment"].update(threads=99), r"threads \(\d+ then, 99 now\)"),
        (changed_library, r"torch \(.* then, 1\.0 now\)"),
        (
            lambda o: o["environment"].update(code={**CODE, "claims/a_paper": "ef"}),
            r"code of claims/a_paper \(34343434… then, ef… now\)",
        ),
    ],
)
def test_what_would_come_out_otherwise_now_does_not_count(change, says, folder, outline):
    reference = there(folder, Planned())
    change(outline)
    for run in (Planned(), Planned("seed", 1)):
        assert re.fullmatch(says, stale(there(folder, run), outline, reference))


def test_nor_does_what_unknown_code_made(folder, outline):
    path = place(folder, Planned())
    edited(path, lambda data: data["environment"].pop("code"))
    why = stale(there(folder, Planned()), outline, None)
    assert why == "code (unknown then, 12121212… now)"


def test_the_user_s_own_tasks_count(folder, outline):
    edited(place(folder, Planned()), lambda data: data.update(tasks={"antonym": "1"}))
    record = there(folder, Planned())
    for tasks, why in ((None, ""), ({"antonym": "1"}, ""), ({"antonym": "2"}, "the tasks")):
        assert stale(record, outline | {"tasks": tasks}, None) == why


def test_other_claims_than_those_of_the_record_may_be_new(folder, outline):
    outline["declarations"]["a-paper/b"] = claim("b").to_json()
    assert stale(there(folder, Planned()), outline, None) == ""


def test_a_redraw_is_of_the_reference_s_text(folder, outline):
    reference, path = there(folder, Planned()), place(folder, Planned("seed", 1))
    edited(path, lambda data: data.update(corpus=None))
    assert stale(there(folder, Planned("seed", 1)), outline, reference) == ""
    edited(path, lambda data: data.update(corpus={"name": "other", "digest": "ef"}))
    why = stale(there(folder, Planned("seed", 1)), outline, reference)
    assert why == "corpus, which the reference has otherwise"


def test_a_record_of_something_else_is_never_replaced(folder):
    with pytest.raises(RecordError, match=r"its profile is quick, and not paper.*--out"):
        find_record(folder, Planned(), model="m", profile="paper")
    with pytest.raises(RecordError, match=r"its checkpoint is m, and not n"):
        find_record(folder, Planned(), model="n", profile="quick")
    for run, wrong in (
        (Planned("seed", 1), "redraw is none, and not seed-1"),
        (Planned("bf16", 1), r"redraw is none, and not seed-1\+reference-fits"),
    ):
        write_run(folder, Planned(), {"a": 0.5}, path=place(folder, run))
        with pytest.raises(RecordError, match=wrong):
            there(folder, run)
    write_run(folder, Planned("sdpa", 1), {"a": 0.5}, path=place(folder, Planned("bf16", 1)))
    with pytest.raises(RecordError, match="its dtype is float32, and not bfloat16"):
        there(folder, Planned("bf16", 1))


def test_records_of_other_arguments_are_kept(folder, tmp_path):
    keep_asked(folder, ["claims/", "--claims-layers", "0.5"])
    keep_asked(folder, ["claims/", "--claims-layers", "0.5"])
    with pytest.raises(
        RecordError,
        match=r"of runs of pytest claims/ --claims-layers 0\.5, and not claims/\. .*--out",
    ):
        keep_asked(folder, ["claims/"])
    # Where nothing has been done yet, anything may be asked for.
    empty = tmp_path / "empty"
    keep_asked(empty, ["claims/"])
    keep_asked(empty, ["claims/a"])
    write_run(empty, Planned(), {"a": 0.5})
    with pytest.raises(RecordError, match="of runs of pytest claims/a, and not claims/"):
        keep_asked(empty, ["claims/"])


# How long it takes


def test_time_left_is_told_kind_by_kind():
    todo = [Planned("seed", 3), Planned("bf16", 3), Planned("sdpa", 3), Planned("seed", 4)]
    took = {"": [600.0], "seed": [40.0, 60.0], "bf16": [100.0]}
    # A kind that has not been run counts like the mean of the others, 75 s.
    assert time_left(todo, took) == 50 + 100 + 75 + 50
    assert time_left(todo, {"": [600.0]}) is None
    assert time_left([], took) == 0
