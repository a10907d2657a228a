from __future__ import annotations

import pickle

import pytest

from stillwired.errors import ClaimError
from stillwired.judge import Verdict, Word, cell_key


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


def test_verdicts_travel_between_processes():
    verdict = Verdict("a/b", 1, {"n": 1}, True, Word.NOT_APPLICABLE, reason="too weak")
    assert pickle.loads(pickle.dumps(verdict)) == verdict
    assert str(verdict.verdict) == "NOT APPLICABLE"
