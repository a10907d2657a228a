from __future__ import annotations

import json
from dataclasses import replace

import pytest

from stillwired.errors import RecordError
from stillwired.judge import Evidence, InstrumentCheck, Obstacle, Word
from stillwired.judge.changes import ChangeWord
from stillwired.records.baseline import Side, accept, read_side
from stillwired.records.compare import check_settings, compare
from stillwired.records.evidence import read_table
from stillwired.records.files import digest_of
from stillwired.records.record import outcomes_path, read_record
from stillwired.records.run import environment
from tests.records.made_records import CODE, REGIME, claim, evidence, outcome, record

K, G, L, U = ChangeWord.KEPT, ChangeWord.GAINED, ChangeWord.LOST, ChangeWord.UNDECIDED
OTHER = {"digest": "cd" * 32, "name": "n"}
CANNOT = Evidence({}, obstacle=Obstacle("ability", "what", "It is not there."))
BROKEN = replace(evidence(0.3), instrument=(InstrumentCheck("adds up", False, "0.3"),))


@pytest.fixture
def side(tmp_path):
    """Writes a record of claims by effect, and reads it back."""
    made = 0

    def build(*cells, **about):
        nonlocal made
        made += 1
        found = [cell if len(cell) == 3 else (claim(cell[0]), {}, cell[1]) for cell in cells]
        return read_side(record(tmp_path / f"{made}.json", found, **about))

    return build


def words(comparison):
    return {change.key.partition("/")[2]: change.word for change in comparison.changes}


def test_every_cell_of_either_is_compared_worst_first(side):
    old = side(
        ("kept", evidence(0.3)),
        ("lost", evidence(0.5)),
        ("gone", evidence(0.3)),
        ("cannot", evidence(0.3)),
        ("found", evidence(0.0)),
        ("missing", evidence(0.3)),
    )
    new = side(
        ("kept", evidence(0.31)),
        ("lost", evidence(0.3)),
        ("gone", evidence(0.0)),
        ("cannot", CANNOT),
        ("found", evidence(0.3)),
        ("fresh", evidence(0.3)),
        ("odd", BROKEN),
        checkpoint=OTHER,
    )
    comparison = compare(old, new)
    assert list(words(comparison).items()) == [
        ("gone", L),
        ("odd", ChangeWord.BROKEN),
        ("cannot", L),
        ("lost", L),
        ("missing", L),
        ("kept", K),
        ("found", G),
        ("fresh", ChangeWord.NEW),
    ]
    assert not comparison.gate.passed
    assert len(comparison.gate.lines) == 5
    assert (comparison.then["name"], comparison.now["name"]) == ("m", "n")
    assert (comparison.accepted, comparison.note, comparison.remarks) == ("", "", ())


def test_a_baseline_serves_as_well_as_its_record(side, tmp_path):
    old = side(("a", evidence(0.5)), ("b", evidence(0.0)), ("c", evidence(0.1)))
    new = side(("a", evidence(0.38)), ("b", evidence(0.0)), ("c", evidence(0.4)), checkpoint=OTHER)
    accept(read_record(old.path), tmp_path / "base.json", note="First.", date="2026-11-26")
    accept(read_record(new.path), tmp_path / "later.json")
    base, later = read_side(tmp_path / "base.json"), read_side(tmp_path / "later.json")
    comparison = compare(old, new)
    for one, other in ((base, new), (old, later), (base, later)):
        again = compare(one, other)
        assert again.changes == comparison.changes
        assert again.gate == comparison.gate
    assert (compare(base, new).accepted, compare(base, new).note) == ("2026-11-26", "First.")


def test_what_is_in_memory_needs_no_reading(side):
    old, new = side(("a", evidence(0.3))), side(("a", evidence(0.3)), checkpoint=OTHER)
    data = new.data
    outcomes = read_table(outcomes_path(new.path), data["outcomes"])
    outcomes_path(new.path).unlink()
    assert words(compare(old, Side.of_record(new.path, data, outcomes))) == {"a": K}
    with pytest.raises(RecordError, match="outcomes are missing"):
        compare(old, new)


def test_strict_fails_what_is_undecided(side):
    old, new = side(("a", evidence(0.5))), side(("a", evidence(0.4)), checkpoint=OTHER)
    assert words(compare(old, new)) == {"a": U}
    assert compare(old, new).gate.passed
    assert not compare(old, new, strict=True).gate.passed


def test_of_what_was_left_out_nothing_is_said(side):
    old = side(("a", evidence(0.3)), ("b", evidence(0.3)))
    new = side(("a", evidence(0.3)), checkpoint=OTHER)
    assert not compare(old, new).gate.passed
    asked = compare(old, new, deselected=["some-paper/b"])
    assert (words(asked), asked.gate.passed) == ({"a": K}, True)


def test_what_is_only_reported_is_left_out_unless_it_broke(side):
    told = claim("told", reported=True)

    def cell(p, **more):
        return told, {}, Evidence({"reader": outcome("told", p)}, **more)

    held = ("a", evidence(0.3))
    assert words(compare(side(held, cell(0.5)), side(held, cell(0.1), checkpoint=OTHER))) == {
        "a": K
    }
    assert compare(side(held, cell(0.5)), side(held, checkpoint=OTHER)).gate.passed
    odd = cell(0.5, instrument=(InstrumentCheck("adds up", False),))
    broke = compare(side(held, cell(0.5)), side(held, odd, checkpoint=OTHER))
    assert (words(broke)["told"], broke.gate.passed) == (ChangeWord.BROKEN, False)


def test_another_version_is_said_and_not_compared(side):
    old = side((claim("a"), {}, evidence(0.3)), ("b", evidence(0.3)))
    new = side((claim("a", version=2), {}, evidence(0.0)), ("b", evidence(0.3)), checkpoint=OTHER)
    comparison = compare(old, new)
    assert not comparison.gate.passed
    assert comparison.gate.lines == (
        "some-paper/a held and is not compared: version 1 then, 2 now; it FAILS now",
    )


# What makes two records one pair.


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (
            {"profile": "standard"},
            "its profile is standard, and not quick.*--claims-profile standard",
        ),
        ({"seed": 3}, "its seed is 3, and not 0.*--claims-seed 3"),
        (
            {"layers": (0.5, 3)},
            "its layers are 0.5,3, and not the profile's.*--claims-layers 0.5,3",
        ),
        (
            {"corpus": "ef"},
            r"other text than \S+: text \(sha256 ef…\) then, text \(sha256 cd…\) now",
        ),
        ({"tasks": {"a": "1", "b": "3"}}, r"other tasks than \S+: b differs\..*--claims-tasks"),
        ({"tasks": {"a": "1"}}, "b differs"),
        ({"tasks": {"a": "2", "b": "2", "c": "1"}}, "a, c differ"),
    ],
)
def test_records_of_something_else_are_refused(change, says, side):
    cells = ("a", evidence(0.3))
    new = side(cells, tasks={"a": "1", "b": "2"}, checkpoint=OTHER)
    old = side(cells, **{"tasks": {"a": "1", "b": "2"}, **change})
    with pytest.raises(RecordError, match=says):
        compare(old, new)


def test_layers_are_left_out_again(side):
    old = side(("a", evidence(0.3)))
    with pytest.raises(RecordError, match=r"not 0\.5.*no --claims-layers"):
        check_settings(old, "quick", (0.5,), 0, {})
    check_settings(old, "quick", (), 0, {})


def test_a_profile_of_other_sizes_is_another_profile(side, tmp_path):
    cell, sizes = ("a", evidence(0.3)), {"names": 100, "depths": [0.1, 0.5]}
    old = side(cell, sizes=sizes)
    accept(read_record(old.path), tmp_path / "base.json")
    new = side(cell, sizes=sizes | {"names": 70, "depths": [0.5]}, checkpoint=OTHER)
    for then in (old, read_side(tmp_path / "base.json")):
        with pytest.raises(
            RecordError,
            match=r"the quick profile has other sizes by now, names 100 then and 70 now, "
            r"depths \[0\.1, 0\.5\] then and \[0\.5\] now\. Measure both",
        ):
            compare(then, new)
    # Of a size that only one of them knows nothing is known.
    for known in (None, {"names": 100}, sizes | {"more": 5}):
        assert words(compare(old, side(cell, sizes=known, checkpoint=OTHER))) == {"a": K}
        assert words(compare(side(cell, sizes=known, checkpoint=OTHER), old)) == {"a": K}


def test_a_run_that_read_no_text_or_asked_no_task_may_be_compared(side):
    cell = ("a", evidence(0.3))
    with_all = side(cell, tasks={"a": "1"})
    without = side(cell, corpus=None, checkpoint=OTHER)
    for old, new in ((with_all, without), (without, with_all)):
        assert words(compare(old, new)) == {"a": K}


def test_another_regime_is_said(side):
    cell = ("a", evidence(0.3))
    regime = {**REGIME, "dtype": "bfloat16", "attention": "sdpa"}
    comparison = compare(side(cell), side(cell, regime=regime))
    assert words(comparison) == {"a": K}
    assert comparison.remarks == (
        "The regimes differ: cpu float32 eager then, cpu bfloat16 sdpa now.",
    )
    # The same weights in another regime may differ: nothing is taken for granted.
    assert comparison.changes[0].decided.high > 0


def test_one_checkpoint_in_one_regime_has_kept_everything_it_had(side):
    cell = ("a", evidence(0.3, rows=40))
    comparison = compare(side(cell), side(cell))
    assert comparison.remarks == ("Both are one checkpoint, in one regime.",)
    (change,) = comparison.changes
    assert (change.word, change.decided.low, change.decided.high) == (K, 0.0, 0.0)


OTHER_CODE = {**CODE, "stillwired": "ef" * 32}


@pytest.mark.parametrize("baseline", [False, True])
@pytest.mark.parametrize(
    ("code", "told"),
    [
        (OTHER_CODE, "code of stillwired (12121212… then, efefefef… now)"),
        (
            {**CODE, "claims/some_paper": "ef" * 32},
            "code of claims/some_paper (34343434… then, efefefef… now)",
        ),
        (None, "code (12121212… then, unknown now)"),
    ],
)
def test_other_code_is_said_and_is_not_the_checkpoint_s_doing(code, told, baseline, side, tmp_path):
    known = {"some-paper/a": {"reader − floor": 0.02}}
    cell = ("a", evidence(0.3))
    old = side(cell, refits=known)
    if baseline:
        accept(read_record(old.path), tmp_path / "base.json")
        old = read_side(tmp_path / "base.json")
    again, other = side(cell, refits=known, code=code), side(cell, refits=known, checkpoint=OTHER)
    comparison = compare(old, again)
    assert comparison.remarks == (
        f"Measured otherwise: {told}.",
        "Both are one checkpoint, in one regime: what changed is not its doing.",
    )
    # Other code fits otherwise: two checkpoints are no further apart.
    part, apart = comparison.changes[0].decided, compare(old, other).changes[0].decided
    assert part.method != "identical"
    assert (part.low, part.high) == (apart.low, apart.high)
    assert compare(old, side(cell, checkpoint=OTHER, code=code)).remarks == (
        f"Measured otherwise: {told}.",
        "What changed may come from that, and not from the checkpoint.",
    )


def test_other_libraries_threads_and_processors_are_said(side, monkeypatch):
    cell = ("a", evidence(0.3))
    old = side(cell)
    was = environment()
    found = was | {"threads": 99, "cpu": "Another"}
    found["packages"] = was["packages"] | {"torch": "1.0"}
    monkeypatch.setattr("stillwired.records.record.environment", lambda: found)
    (told, whose) = compare(old, side(cell)).remarks
    for name, then, now in (
        ("torch", was["packages"]["torch"], "1.0"),
        ("threads", was["threads"], "99"),
        ("cpu", was["cpu"], "Another"),
    ):
        assert f"{name} ({then} then, {now} now)" in told
    assert whose.endswith("what changed is not its doing.")


def test_a_baseline_that_knows_nothing_of_what_made_it_is_read(side, tmp_path):
    cell, path = ("a", evidence(0.3)), tmp_path / "base.json"
    new = side(cell)
    accept(read_record(new.path), path)
    data = json.loads(path.read_text())
    for key in ("environment", "digest"):
        del data[key]
    path.write_text(json.dumps(data | {"digest": digest_of(data)}))
    comparison = compare(read_side(path), new)
    assert words(comparison) == {"a": K}
    assert comparison.remarks[0] == (
        "Measured otherwise: code, libraries and machine (unknown then, known now)."
    )
    assert comparison.changes[0].decided.high > 0


@pytest.mark.parametrize(
    ("then", "now", "paired"),
    [("1", "1", True), ("1", "2", False), (None, "2", True), ("1", None, True), ("", "2", True)],
)
def test_rows_are_paired_unless_the_tokenizers_are_known_to_differ(then, now, paired, side):
    cell = ("a", evidence(0.3))
    known = [{} if one is None else {"tokenizer": one} for one in (then, now)]
    comparison = compare(
        side(cell, checkpoint=known[0]), side(cell, checkpoint={**OTHER, **known[1]})
    )
    (change,) = comparison.changes
    assert change.decided.paired is paired
    assert ("unpaired" in change.reason) is not paired
    told = ("The tokenizers differ, so that examples are not paired.",)
    assert comparison.remarks == (() if paired else told)


def test_refits_are_those_of_the_record_that_knows_more(side):
    cell, name = ("a", evidence(0.3)), "some-paper/a"
    plain = compare(side(cell), side(cell, checkpoint=OTHER)).changes[0].decided
    width = plain.high - plain.low
    known = {name: {"reader − floor": 0.02}}
    for old, new in ((known, None), (None, known), ({name: {"reader − floor": 0.001}}, known)):
        found = compare(side(cell, refits=old), side(cell, checkpoint=OTHER, refits=new))
        part = found.changes[0].decided
        assert part.high - part.low > 2 * width
    # The same checkpoint was not fitted again.
    found = compare(side(cell, refits=known), side(cell, refits=known)).changes[0].decided
    assert (found.low, found.high) == (0.0, 0.0)


def test_a_redraw_rests_on_the_same_fits_unless_it_is_a_refit(side):
    cell, known = ("a", evidence(0.3)), {"some-paper/a": {"reader − floor": 0.02}}
    coarse = REGIME | {"dtype": "bfloat16"}

    def part(old, new):
        found = compare(side(cell, refits=known, **old), side(cell, refits=known, **new))
        part = found.changes[0].decided
        return part.high - part.low, part.method, found.remarks

    redrawn = part({}, {"redraw": "seed-1"})
    assert redrawn[:2] == (0.0, "identical")
    assert redrawn[2] == (
        "The redraws differ: none then, seed-1 now.",
        "Both are one checkpoint, in one regime.",
    )
    # In another regime equal scores are no proof, but nothing was fitted again.
    kept = part({"redraw": "seed-1"}, {"redraw": "seed-1+reference-fits", "regime": coarse})
    assert 0 < kept[0] < 0.1
    for other in ({"redraw": "seed-1", "regime": coarse}, {"redraw": "refit-1"}):
        assert part({"redraw": "seed-1"}, other)[0] > 2 * kept[0]
    assert part({"redraw": "refit-1"}, {"redraw": "refit-2"})[1] != "identical"
    assert part({"redraw": "refit-1"}, {"redraw": "refit-1"}) == (
        0.0,
        "identical",
        ("Both are one checkpoint, in one regime.",),
    )


def test_verdicts_are_those_of_the_records(side):
    old, new = side(("a", evidence(0.3))), side(("a", evidence(0.06)), checkpoint=OTHER)
    (change,) = compare(old, new).changes
    assert (change.then, change.now) == (Word.HOLDS, Word.INCONCLUSIVE)
    assert (change.primary, change.held) == (True, True)
