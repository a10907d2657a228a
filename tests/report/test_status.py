from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from stillwired import __version__
from stillwired.judge import Verdict, Word
from stillwired.options import RunOptions
from stillwired.records.expected import Expectations, ExpectedCell
from stillwired.records.run import RunFolder
from stillwired.records.session import Run
from stillwired.report.status import not_passed, properties, run_properties, status
from stillwired.settings import Settings


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
    assert status({"word": word, "expected": expected, "gated": True, "beside": []}) == shown


@pytest.mark.parametrize(
    ("word", "held", "shown"),
    [
        ("FAILS", True, ("failed", "F", "FAILS, held before")),
        ("FAILS", False, ("did not hold before", "f", "FAILS, did not hold before")),
        ("NOT APPLICABLE", True, ("failed", "F", "NOT APPLICABLE, held before")),
        ("NOT APPLICABLE", False, ("not applicable", "n", "NOT APPLICABLE")),
        ("HOLDS", True, ("passed", ".", "HOLDS")),
        ("INCONCLUSIVE", True, ("inconclusive", "i", "INCONCLUSIVE")),
        ("BROKEN", False, ("failed", "B", "BROKEN")),
        ("ERROR", True, ("error", "E", "ERROR")),
    ],
)
def test_with_a_baseline_it_matters_what_held_before(word, held, shown):
    about = {"word": word, "expected": None, "held": held, "gated": True, "beside": []}
    assert status(about) == shown


def test_letters_of_unmet_needs_differ_from_failures():
    letters = {
        word: status({"word": str(word), "expected": None, "gated": True, "beside": []})[1]
        for word in Word
    }
    assert len(set(letters.values())) == len(Word)


@pytest.mark.parametrize(
    ("word", "reason", "known", "why"),
    [
        (Word.HOLDS, "", "", ""),
        (Word.REPORTED, "said anyway", "", ""),
        (Word.INCONCLUSIVE, "too few rows", "", "too few rows"),
        (Word.INCONCLUSIVE, "too few rows", "a small model", "a small model"),
        (Word.NOT_APPLICABLE, "", "", "NOT APPLICABLE"),
    ],
)
def test_what_leaves_the_question_open_has_not_passed(word, reason, known, why):
    verdict = Verdict("p/f", 1, {}, True, word, reason=reason)
    cell = ExpectedCell("p/f", {}, (word,), known)
    expected = Expectations(Path("m.json"), "m", "quick", {cell.key: cell}) if known else None
    assert not_passed(verdict, expected) == why


def test_properties_for_other_reports():
    verdict = Verdict("p/f", 1, {}, True, Word.HOLDS, estimate=0.5, low=0.4, high=0.6, n=9)
    assert dict(properties(verdict)) == {
        "claim": "p/f",
        "version": 1,
        "cell": "p/f",
        "primary": "yes",
        "verdict": "HOLDS",
        "estimate": 0.5,
        "low": 0.4,
        "high": 0.6,
        "n": 9,
        "clusters": 0,
    }
    assert type(dict(properties(verdict))["verdict"]) is str
    other = replace(verdict, params={"ahead": 2}, primary=False, least="0.02", estimate=None)
    told = dict(properties(other))
    assert (told["cell"], told["primary"], told["least"]) == ("p/f[ahead=2]", "no", "0.02")
    assert "estimate" not in told


def test_properties_of_a_whole_run(tmp_path):
    settings = Settings(models=("org/a", "b"), layers=(0.1, 15), seed=4, dtype="bfloat16")
    run = Run(RunOptions(settings), RunFolder(tmp_path / "run", "t"), print)
    run.folder.note("checkpoint", "org/a", {"name": "A", "digest": "aa"})
    run.folder.note("checkpoint", "b", {"name": "B"})
    run.note_corpus({"name": "text", "digest": "cc"})
    run.note_tasks({"antonym": "dd"})
    told = run_properties(run)
    assert told[0] == ("stillwired", __version__)
    assert dict(told[1:]) == {
        "stillwired.profile": "quick",
        "stillwired.seed": "4",
        "stillwired.device": "cpu",
        "stillwired.dtype": "bfloat16",
        "stillwired.attention": "eager",
        "stillwired.layers": "0.1,15",
        "stillwired.checkpoint.a": "aa",
        "stillwired.checkpoint.b": "",
        "stillwired.corpus": "cc",
        "stillwired.task.antonym": "dd",
    }


@pytest.mark.parametrize(
    ("word", "shown"),
    [
        ("FAILS", ("fails", "F", "FAILS")),
        ("BROKEN", ("broken", "B", "BROKEN")),
        ("HOLDS", ("passed", ".", "HOLDS")),
        ("ERROR", ("error", "E", "ERROR")),
    ],
)
def test_where_no_verdict_fails_a_test_none_is_counted_as_failed(word, shown):
    about = {"word": word, "expected": None, "gated": False, "beside": [], "cell": ("", None)}
    assert status(about) == shown
