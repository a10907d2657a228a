from __future__ import annotations

import json
from dataclasses import replace

import pytest

from stillwired.errors import RecordError, UsageError
from stillwired.judge import Verdict, Word
from stillwired.records.expected import read_expected

ENTRY = {
    "claim": "some-paper/finding",
    "params": {"ahead": 2},
    "verdicts": ["FAILS", "INCONCLUSIVE"],
    "reason": "The model is small.",
}
FILE = {"schema": 1, "checkpoint": "m", "profile": "quick", "expected": [ENTRY]}


def write(tmp_path, data):
    path = tmp_path / "expected.json"
    path.write_text(json.dumps(data))
    return path


def verdict(word, **params):
    return Verdict("some-paper/finding", 1, params, True, word)


def test_a_listed_cell_may_only_be_what_is_listed(tmp_path):
    expected = read_expected(write(tmp_path, FILE))
    assert (expected.checkpoint, expected.profile) == ("m", "quick")
    assert expected.met(verdict(Word.FAILS, ahead=2))
    assert expected.met(verdict(Word.INCONCLUSIVE, ahead=2))
    assert not expected.met(verdict(Word.HOLDS, ahead=2))
    assert not expected.met(verdict(Word.BROKEN, ahead=2))
    assert expected.reason("some-paper/finding[ahead=2]") == "The model is small."


def test_any_other_cell_must_hold(tmp_path):
    expected = read_expected(write(tmp_path, FILE))
    assert expected.met(verdict(Word.HOLDS, ahead=1))
    assert not expected.met(verdict(Word.FAILS, ahead=1))
    assert not expected.met(verdict(Word.FAILS, ahead=2, depth=0.5))
    assert expected.reason("some-paper/finding[ahead=1]") == ""


def test_what_is_reported_needs_no_entry_and_keeps_to_one(tmp_path):
    expected = read_expected(write(tmp_path, FILE))
    assert expected.met(verdict(Word.REPORTED))
    assert not expected.met(verdict(Word.REPORTED, ahead=2))
    weak = replace(verdict(Word.NOT_APPLICABLE), reported=True)
    assert not expected.met(weak)
    assert expected.allowed(weak) == (Word.REPORTED,)
    listed = read_expected(
        write(tmp_path, FILE | {"expected": [ENTRY | {"verdicts": ["REPORTED"]}]})
    )
    assert listed.met(verdict(Word.REPORTED, ahead=2))
    assert not listed.met(verdict(Word.HOLDS, ahead=2))


def test_it_must_be_about_the_run(tmp_path):
    expected = read_expected(write(tmp_path, FILE))
    expected.check(["m"], "quick")
    expected.check_checkpoint("m")
    with pytest.raises(UsageError, match="about one checkpoint"):
        expected.check(["m", "n"], "quick")
    with pytest.raises(UsageError, match="--claims-profile quick"):
        expected.check(["m"], "paper")
    with pytest.raises(UsageError, match="--claims-model m"):
        expected.check_checkpoint("n")


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"schema": 2}, '"schema": 1'),
        ({"extra": 1}, "its keys are"),
        ({"checkpoint": 3}, "checkpoint is a int"),
        ({"expected": {}}, "expected is a dict"),
        ({"expected": [{**ENTRY, "verdict": "FAILS"}]}, "entry 1 does not have exactly"),
        ({"expected": [{k: v for k, v in ENTRY.items() if k != "reason"}]}, "exactly"),
        ({"expected": [{**ENTRY, "reason": " "}]}, "gives no reason"),
        ({"expected": [{**ENTRY, "params": []}]}, "params are an object"),
        ({"expected": [{**ENTRY, "verdicts": []}]}, "one or more of"),
        ({"expected": [{**ENTRY, "verdicts": ["fails"]}]}, "one or more of"),
        ({"expected": [{**ENTRY, "verdicts": "FAILS"}]}, "one or more of"),
        ({"expected": [{**ENTRY, "verdicts": ["BROKEN"]}]}, "a broken measurement never stands"),
        ({"expected": [ENTRY, ENTRY]}, "entry 2 .* is listed twice"),
    ],
)
def test_a_file_of_another_form_is_refused(change, says, tmp_path):
    with pytest.raises(RecordError, match=says):
        read_expected(write(tmp_path, FILE | change))


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(RecordError, match="no file of expected verdicts"):
        read_expected(tmp_path / "none.json")
