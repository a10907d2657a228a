from __future__ import annotations

import pytest

from stillwired.judge import Verdict, Word
from stillwired.report.status import properties, status


@pytest.mark.parametrize(
    ("word", "expected", "shown"),
    [
        ("", None, None),
        ("HOLDS", None, ("passed", ".", "HOLDS")),
        ("FAILS", None, ("failed", "F", "FAILS")),
        ("BROKEN", None, ("failed", "B", "BROKEN")),
        ("INCONCLUSIVE", None, ("inconclusive", "i", "INCONCLUSIVE")),
        ("NOT APPLICABLE", None, ("not applicable", "n", "NOT APPLICABLE")),
        ("REPORTED", None, ("reported", "r", "REPORTED")),
        ("ERROR", None, ("error", "E", "ERROR")),
        ("ERROR", False, ("error", "E", "ERROR")),
        ("HOLDS", True, ("passed", ".", "HOLDS")),
        ("FAILS", True, ("as expected", "f", "FAILS, as expected")),
        ("INCONCLUSIVE", True, ("as expected", "i", "INCONCLUSIVE, as expected")),
        ("REPORTED", True, ("reported", "r", "REPORTED")),
        ("HOLDS", False, ("failed", "F", "HOLDS, not expected")),
        ("REPORTED", False, ("failed", "F", "REPORTED, not expected")),
        ("NOT APPLICABLE", False, ("failed", "F", "NOT APPLICABLE, not expected")),
    ],
)
def test_every_verdict_has_its_word_and_letter(word, expected, shown):
    assert status({"word": word, "expected": expected, "beside": []}) == shown


def test_letters_of_unmet_needs_differ_from_failures():
    letters = {
        word: status({"word": str(word), "expected": None, "beside": []})[1] for word in Word
    }
    assert len(set(letters.values())) == len(Word)


def test_properties_for_other_reports():
    verdict = Verdict("p/f", 1, {}, True, Word.HOLDS, estimate=0.5, low=0.4, high=0.6, n=9)
    assert dict(properties(verdict)) == {
        "claim": "p/f",
        "verdict": "HOLDS",
        "estimate": 0.5,
        "low": 0.4,
        "high": 0.6,
        "n": 9,
        "clusters": 0,
    }
    assert type(dict(properties(verdict))["verdict"]) is str
