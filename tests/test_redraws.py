"""Labels of redraws: what they say, and what is refused."""

from __future__ import annotations

import pytest

from stillwired.errors import UsageError
from stillwired.redraws import KINDS, Redraw


@pytest.mark.parametrize("label", ["seed-1", "documents-20", "batches-3", "refit-2"])
def test_a_label_is_read_and_written_alike(label):
    redraw = Redraw.parse(label)
    assert redraw.label == label
    assert f"{redraw.kind}-{redraw.number}" == label
    assert not redraw.reference_fits
    redraw.check_regime("float32", "eager")
    redraw.check_regime("bfloat16", "sdpa")


def test_kinds_say_what_they_change():
    read = [Redraw(kind, 1) for kind in KINDS]
    assert [one.keeps_data for one in read] == [False, False, False, True]
    assert [one.cut for one in read] == [1, 1, 2, 1]


def test_the_references_fits_are_kept_in_another_regime_and_only_there():
    redraw = Redraw.parse("seed-4+reference-fits")
    assert (redraw.kind, redraw.number, redraw.reference_fits) == ("seed", 4, True)
    assert redraw.label == "seed-4+reference-fits"
    for dtype, attention in (("bfloat16", "eager"), ("float32", "sdpa")):
        redraw.check_regime(dtype, attention)
    with pytest.raises(UsageError, match=r"float32 with eager attention.*--claims-dtype"):
        redraw.check_regime("float32", "eager")
    for kind in ("documents", "batches", "refit"):
        with pytest.raises(UsageError, match=r"Only seed-4 keeps the reference's fits"):
            Redraw.parse(f"{kind}-4+reference-fits")


@pytest.mark.parametrize(
    "text", ["", "seed", "seed-0", "seed-01", "seed-1.5", "sead-1", "seed-1+fits", "seed-1 ", "1"]
)
def test_what_is_no_label_is_refused_with_those_that_are(text):
    with pytest.raises(UsageError, match=r"no redraw .*seed-1: .*documents-1: .*refit-1: "):
        Redraw.parse(text)


def test_a_record_may_have_none():
    assert Redraw.of_record("") is None
    assert Redraw.of_record("refit-3") == Redraw("refit", 3)
