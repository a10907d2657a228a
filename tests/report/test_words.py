from __future__ import annotations

from stillwired.judge import Word
from stillwired.judge.changes import ChangeWord
from stillwired.report.words import COLOURS, chip, slug, word_rules


def test_every_word_has_its_colours():
    assert COLOURS.keys() == {str(word) for word in Word}
    rules = word_rules()
    for word in (*Word, *ChangeWord):
        assert f".w.{slug(str(word))},td." in rules, word


def test_changes_look_as_the_verdicts_that_mean_as_much():
    assert chip("LOST", "ability") == '<b class="w fails">LOST (ability)</b>'
    assert chip("BROKEN") == '<b class="w broken">BROKEN</b>'
    assert chip("<able>", like="HOLDS") == '<b class="w holds">&lt;able&gt;</b>'
