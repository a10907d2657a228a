"""Every figure of a cell is in its table, with its interval and what became of it."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest

from stillwired.judge import Needs
from stillwired.judge.results import BesideResult, CheckResult, PartResult, Verdict, Word
from stillwired.report.figures_table import cell_bar, claim_scale, figures_table
from tests.report.made_records import HOSTILE, claim
from tests.report.test_lens_page import Parsed

CLAIM = claim(
    "x",
    published="0.55",
    rivals=("other",),
    null="dealt out anew",
    applies=(Needs("words", at_least=4.0, unit="bits"),),
)


def part(name, estimate, low, high, word=Word.HOLDS, least="0.20"):
    return PartResult(name, word, estimate, low, high, least, 400, 40, 1.0, "t")


VERDICT = Verdict(
    claim=CLAIM.id,
    version=1,
    params={},
    primary=True,
    verdict=Word.HOLDS,
    estimate=0.61,
    low=0.51,
    high=0.71,
    least="0.20",
    parts=(
        part("arm", 0.61, 0.51, 0.71),
        part("arm − other (rival)", 0.32, 0.22, 0.42, Word.FAILS, "> 0"),
    ),
    checks=(
        CheckResult("instrument", "sums agree", True, "2e-7"),
        CheckResult("null", "dealt out anew", None, "arm 0.10 (0.00 … 0.20)", 0.1, 0.0, 0.2),
        CheckResult("ability", "words", False, "3.0 bits words", 3.0, 2.5, 3.5),
    ),
    beside=(
        BesideResult("level [depth0.10]", 0.11, 0.01, 0.21, 9, 9),
        BesideResult("level [depth0.90]", 0.91, 0.81, None, 9, 9),
        BesideResult("surprisal, nats", 12.3, 11.3, 13.3, 9, 9),
        BesideResult(HOSTILE, 0.44, None, None, 9, 9),
    ),
)


@pytest.fixture
def rows():
    """Figures by quantity, in the order of the table."""
    parsed = Parsed(figures_table(CLAIM, VERDICT))
    found = {}
    cells = []
    for tag, attributes, text in parsed.found:
        if tag == "th":
            cells = []
            if attributes["scope"] == "row":
                found["".join(text)] = cells
        elif tag == "td":
            cells.append("".join(text))
    return {name: row[1:] for name, row in found.items()}


def test_every_quantity_has_a_row_with_its_figures(rows):
    hostile = next(name for name in rows if "</script>" in name)
    null = "armnull: dealt out anew"
    assert list(rows.items()) == [
        ("arm", ["0.610published 0.550", "0.510 … 0.710", "0.20", "HOLDS"]),
        ("arm − other (rival)", ["0.320", "0.220 … 0.420", "> 0", "FAILS"]),
        (null, ["0.100", "0.000 … 0.200", "", "undecided"]),
        ("words", ["3.000", "2.500 … 3.500", "4 bits", "not able"]),
        ("level [depth0.10]", ["0.110", "0.010 … 0.210", "", ""]),
        ("level [depth0.90]", ["0.910", "0.810 … –", "", ""]),
        (hostile, ["0.440", "–", "", ""]),
        ("surprisal, nats", ["12.300", "11.300 … 13.300", "", ""]),
    ]


def test_only_the_claims_own_quantity_is_held_against_the_published_value():
    page = figures_table(CLAIM, VERDICT)
    assert page.count('class="m"') == page.count("published 0.550") == 1
    two = (part("arm [a]", 0.61, 0.51, 0.71), part("arm [b]", 0.7, 0.6, 0.8))
    family = replace(VERDICT, parts=two)
    assert 'class="m"' not in figures_table(CLAIM, family)


def test_what_is_no_share_does_not_press_the_shares_flat():
    dots = re.findall(r'<circle cx="([\d.]+)"', figures_table(CLAIM, VERDICT))
    low, high = map(float, dots[4:6])
    assert high - low > 100


def test_what_was_not_measured_has_no_table():
    bare = Verdict(CLAIM.id, 1, {}, True, Word.BROKEN, reason="It differs.")
    assert figures_table(CLAIM, bare) == ""
    assert cell_bar(CLAIM, bare).estimate is None


def test_cells_of_a_claim_are_drawn_on_one_scale():
    wide = replace(VERDICT, estimate=0.32, low=0.22, high=0.42, least="> 0")
    scale = claim_scale(CLAIM, [VERDICT, wide])
    for value in (0.22, 0.71, 0.2, 0.0, 0.55):
        assert scale.low < value < scale.high
    assert cell_bar(CLAIM, VERDICT).region.low == 0.2
    assert cell_bar(CLAIM, wide).region.low == 0.0
    assert cell_bar(CLAIM, wide).published is None
