from __future__ import annotations

import math

import pytest

from stillwired.judge.figures import figure, with_interval


@pytest.mark.parametrize(
    ("value", "decimals", "text"),
    [
        (0.01328, None, "0.0133"),
        (-0.0521, 3, "−0.052"),
        (-0.0002, 3, "0.000"),
        (0.0, None, "0"),
        (-6.4e-05, None, "−6.4e−05"),
        (math.inf, 3, "–"),
    ],
)
def test_a_figure(value, decimals, text):
    assert figure(value, decimals) == text


@pytest.mark.parametrize(
    ("values", "text"),
    [
        ((0.0133, 0.0029, 0.0238), "0.013 (0.003 … 0.024)"),
        ((-0.0521, -0.0623, -0.042), "−0.052 (−0.062 … −0.042)"),
        ((2.596, 2.326, 2.866), "2.6 (2.3 … 2.9)"),
        ((0.001, 0.0002, 0.0018), "0.0010 (0.0002 … 0.0018)"),
        ((1234.5, 1100.0, 1369.0), "1234 (1100 … 1369)"),
        ((3.7, None, None), "3.7 (– … –)"),
        ((0.5, 0.5, 0.5), "0.5 (0.5 … 0.5)"),
    ],
)
def test_an_interval_has_the_decimals_that_chance_leaves(values, text):
    assert with_interval(*values) == text
