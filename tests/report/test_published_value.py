from __future__ import annotations

import pytest

from stillwired.judge import Difference, Level
from stillwired.report.published_value import published_value
from tests.report.made_records import claim

LEVEL = (Level("a", at_least=0.1),)
DIFFERENCE = (Difference("a", "b", at_least=0.1),)


@pytest.mark.parametrize(
    ("published", "expects", "params", "primary", "value"),
    [
        ("0.201", LEVEL, {}, {}, 0.201),
        ("0.201 (GPT-J-6B)", LEVEL, {}, {}, 0.201),
        ("−0.2 (GPT-J-6B, N=1)", LEVEL, {}, {}, -0.2),
        ("0.292 against 0.201 (GPT-J-6B, N=1)", DIFFERENCE, {}, {}, 0.091),
        ("0.1 against 0.3", DIFFERENCE, {}, {}, -0.2),
        # The cell that the text is about, and no other.
        ("0.484 (GPT-J-6B, N=1)", LEVEL, {"ahead": 1}, {}, 0.484),
        ("0.484 (GPT-J-6B, N=1)", LEVEL, {"ahead": 2}, {}, None),
        ("0.484 (GPT-J-6B)", LEVEL, {"ahead": 1}, {}, None),
        ("0.484 (GPT-J-6B)", LEVEL, {"ahead": 1}, {"ahead": 1}, 0.484),
        ("0.201 (GPT-J-6B, N=1)", LEVEL, {"population": "all"}, {"population": "all"}, 0.201),
        ("0.201 (GPT-J-6B, N=1)", LEVEL, {"population": "rare"}, {"population": "all"}, None),
        # A number that is not the quantity's, or not plainly so.
        ("0.292 against 0.201", LEVEL, {}, {}, None),
        ("0.201", DIFFERENCE, {}, {}, None),
        ("0.201", (Level("a", at_least=0.1), Level("b", at_least=0.1)), {}, {}, None),
        ("0.575 against 0.055 (GPT-J-6B, mean of six tasks)", DIFFERENCE, {}, {}, None),
        ("0.187 at layer 1 against 0.122 at layer 28 (GPT-J-6B)", DIFFERENCE, {}, {}, None),
        ("0.292, 0.190, 0.158 for N = 1, 2, 3 (GPT-J-6B)", LEVEL, {}, {}, None),
        ("0.90 (GPT-J-6B), 0.61 to 1.00 elsewhere", LEVEL, {}, {}, None),
        ("95 % right in the bin of 90 to 100 %", LEVEL, {}, {}, None),
        ("told, no figure given", LEVEL, {}, {}, None),
    ],
)
def test_only_what_is_plain_is_read(published, expects, params, primary, value):
    found = published_value(
        claim("x", published=published, expects=expects, primary=primary), params
    )
    assert found == pytest.approx(value)
