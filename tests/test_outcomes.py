from __future__ import annotations

import pickle

import numpy as np
import pytest

from stillwired.errors import ClaimError
from stillwired.judge import Outcome, paired
from stillwired.outcomes import members


def make(scores, examples=None, clusters=None, name="arm"):
    rows = range(len(scores))
    return Outcome(
        name,
        [f"e{k}" for k in rows] if examples is None else examples,
        [f"c{k // 2}" for k in rows] if clusters is None else clusters,
        scores,
    )


def test_columns_become_read_only_arrays_of_their_own():
    scores = np.array([0.0, 1.0])
    arm = make(scores)
    scores[0] = 7
    assert arm.scores.tolist() == [0.0, 1.0]
    with pytest.raises(ValueError, match="read-only"):
        arm.scores[0] = 7


@pytest.mark.parametrize(
    ("scores", "examples", "clusters", "message"),
    [
        ([1.0, 2.0], ["a"], ["c", "c"], "differ in shape"),
        ([], [], [], "no rows"),
        ([1.0, np.nan], ["a", "b"], ["c", "c"], "first for example 'b'"),
        ([1.0, np.inf], ["a", "b"], ["c", "c"], "not finite"),
        ([1.0, 2.0], ["a", "a"], ["c", "c"], "only 1 different example ids"),
        ([[1.0], [2.0]], [["a"], ["b"]], [["c"], ["c"]], "differ in shape"),
    ],
)
def test_rows_without_meaning_are_refused(scores, examples, clusters, message):
    with pytest.raises(ClaimError, match=message):
        Outcome("arm", examples, clusters, scores)


def test_pairing_aligns_on_example_ids():
    a = make([1.0, 2.0, 3.0])
    b = make([30.0, 10.0, 20.0], ["e2", "e0", "e1"], ["c1", "c0", "c0"])
    left, right = paired(a, b)
    assert left.tolist() == [1, 2, 3]
    assert right.tolist() == [10, 20, 30]


def test_pairing_refuses_other_examples_and_other_clusters():
    a = make([1.0, 2.0, 3.0])
    with pytest.raises(ClaimError, match="2 occur in only one"):
        paired(a, make([1.0, 2.0, 3.0], ["e0", "e1", "other"]))
    with pytest.raises(ClaimError, match=r"'e2' into clusters 'c1' and 'c9'"):
        paired(a, make([1.0, 2.0, 3.0], None, ["c0", "c0", "c9"]))


def test_clusters_are_numbered_in_order_of_appearance():
    arm = make([0.0, 0.0, 0.0, 0.0], None, ["z", "a", "z", "m"])
    assert arm.codes.tolist() == [0, 1, 0, 2]


def test_hits_are_told_from_other_scores():
    assert make([0.0, 1.0]).is_hits
    assert not make([0.0, 0.5]).is_hits


def test_families_keep_their_order_and_refuse_other_things():
    first, second = make([1.0]), make([2.0])
    assert list(members("arm", {"b": first, "a": second})) == ["b", "a"]
    assert members("arm", first) == {None: first}
    for wrong in ({}, {"a": 3.0}, {0.5: first}, [first]):
        with pytest.raises(ClaimError, match="arm"):
            members("arm", wrong)


def test_outcomes_travel_between_processes():
    arm = make([0.0, 1.0])
    copy = pickle.loads(pickle.dumps(arm))
    assert copy.examples.tolist() == arm.examples.tolist()
    assert copy.scores.tolist() == arm.scores.tolist()
