from __future__ import annotations

import json
import pickle
from dataclasses import replace

import numpy as np
import pytest

from stillwired.errors import ClaimError
from stillwired.judge import BesideResult, Evidence, Verdict, Word, cell_key


def test_a_cell_is_named_by_its_parameters_in_any_order():
    assert cell_key("a/b", {}) == "a/b"
    assert cell_key("a/b", {"n": 1, "depth": "last"}) == 'a/b[depth="last", n=1]'
    assert cell_key("a/b", {"depth": "last", "n": 1}) == cell_key("a/b", {"n": 1, "depth": "last"})
    assert cell_key("a/b", {"n": 1}) != cell_key("a/b", {"n": "1"})


def test_what_a_record_adds_is_passed_over_and_what_it_lacks_is_named():
    data = Verdict("a/b", 1, {"n": 1}, True, Word.HOLDS).to_json()
    assert Verdict.from_json({**data, "evidence": {"arm": "id"}}).verdict is Word.HOLDS
    with pytest.raises(ClaimError, match="low"):
        Verdict.from_json({k: v for k, v in data.items() if k != "low"})
    with pytest.raises(ClaimError, match="MAYBE"):
        Verdict.from_json({**data, "verdict": "MAYBE"})


def test_keys_of_older_records_are_enough_and_are_all_that_is_written_without_need():
    plain = Verdict("a/b", 1, {"n": 1}, True, Word.HOLDS)
    assert list(plain.to_json()) == [
        *("claim", "version", "params", "primary", "verdict", "reason", "estimate", "low", "high"),
        *("least", "n", "clusters", "p_fail", "parts", "checks"),
    ]
    assert Verdict.from_json(plain.to_json()) == plain
    beside = BesideResult("no state", 0.5, None, 0.6, 8, 2)
    more = replace(plain, beside=(beside,), facts={"trained": 5760, "by": "hand", "loss": 0.5})
    data = json.loads(json.dumps(more.to_json()))
    assert set(data) - set(plain.to_json()) == {"beside", "facts"}
    assert Verdict.from_json(data) == more
    with pytest.raises(ClaimError, match="clusters"):
        Verdict.from_json({**data, "beside": [{"name": "no state"}]})


def test_a_word_that_is_reported_marks_its_verdict():
    verdict = Verdict("a/b", 1, {}, False, Word.REPORTED)
    assert (verdict.reported, verdict.usual) == (True, Word.REPORTED)
    assert verdict.to_json()["reported"] is True
    other = replace(verdict, verdict=Word.NOT_APPLICABLE)
    assert Verdict.from_json(other.to_json()).usual is Word.REPORTED
    assert Verdict("a/b", 1, {}, True, Word.FAILS).usual is Word.HOLDS


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"facts": {"rank": np.int64(3)}}, "'rank' is .* a int64"),
        ({"facts": {"rank": float("nan")}}, "'rank' is nan"),
        ({"facts": {"rank": None}}, "NoneType"),
        ({"facts": {"ranks": [1, 2]}}, "list"),
        ({"facts": {"frozen": True}}, "bool"),
        ({"facts": {3: "rank"}}, "named 3, a int"),
        ({"beside": {0.5: {}}}, "named 0.5, a float"),
    ],
)
def test_what_has_no_place_in_a_record_is_no_fact(given, message):
    with pytest.raises(ClaimError, match=message):
        Evidence({}, **given)


def test_verdicts_travel_between_processes():
    verdict = Verdict("a/b", 1, {"n": 1}, True, Word.NOT_APPLICABLE, reason="too weak")
    assert pickle.loads(pickle.dumps(verdict)) == verdict
    assert str(verdict.verdict) == "NOT APPLICABLE"
