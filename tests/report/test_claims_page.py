"""The page of a record: everything is on it, it is valid, and nothing in a record can act."""

from __future__ import annotations

import json
import re
from dataclasses import replace

import pytest

from stillwired.judge import Claim
from stillwired.records.baseline import read_side
from stillwired.report.claims_page import claims_page
from stillwired.report.html import safe
from stillwired.report.lens_terminal import pieces
from stillwired.report.shown import read_shown
from stillwired.report.text import number
from stillwired.report.words import COLOURS
from tests.report import made_records
from tests.report.made_records import HOSTILE, write
from tests.report.test_lens_page import Parsed, luminance

SVG = (
    '<svg xmlns="http://www.w3.org/2000/svg" role="img" aria-labelledby="title" viewBox="0 0 9 9">'
    '<title id="title">A picture</title><path d="M 0 0" style="fill: red"/></svg>'
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("records")


@pytest.fixture(scope="module")
def shown(folder):
    pictures = {"first-paper-heads.svg": SVG, "other-paper.svg": SVG}
    return replace(read_shown(write(folder / "record.json")), pictures=pictures)


@pytest.fixture(scope="module")
def page(shown):
    return claims_page([shown])


@pytest.fixture(scope="module")
def parsed(page):
    return Parsed(page)


def rows_of(page):
    """What the cells of the table of verdicts hold, a list for each row."""
    table = re.search(r'<table class="verdicts">(.*?)</table>', page, re.DOTALL).group(1)
    return [re.findall(r"<t[hd][^>]*>(.*?)</t[hd]>", row) for row in table.split("</tr>")[1:-1]]


def test_every_verdict_is_in_the_table_with_its_figures(shown, page):
    rows = rows_of(page)
    assert len(rows) == len(shown.rows) == 7
    for cells, row in zip(rows, shown.rows.values(), strict=True):
        verdict = row.verdict
        assert safe(verdict.claim) in cells[0]
        assert cells[2] == number(verdict.estimate)
        assert number(verdict.low) in cells[3]
        assert number(verdict.high) in cells[3]
        assert str(verdict.verdict) in cells[6]
        assert safe(verdict.reason) in cells[6]
        assert ("*" in cells[1]) is verdict.primary


def test_every_claim_says_what_it_says_and_what_it_is_held_against(shown, parsed):
    sections = {
        attributes["id"]: text for attributes, text in parsed.all("section", **{"class": "claim"})
    }
    assert sections.keys() == shown.claims.keys()
    for name, claim in shown.claims.items():
        text = sections[name]
        for said in (claim.says, claim.published, claim.mutant, claim.source.place):
            assert said is None or shown_as(said) in text, said
    holding = sections["first-paper/holding"]
    for said in ("arm − other at least 0.10", "rival", "dealt out anew", "(1, 2), (3, 4)", "bits"):
        assert said in holding
    # What every cell shares is told once, what one cell has is told there.
    assert holding.count("(1, 2), (3, 4)") == 1
    assert holding.count(shown_as(HOSTILE)) == 4
    assert "1 of 1 checks of the instrument passed" in holding


def shown_as(text):
    """A text as somebody reads it."""
    return "".join(part for part, _ in pieces(text, literal=True))


def test_cells_are_folded_unless_they_are_primary(shown, parsed):
    cells = parsed.all("details", **{"class": "cell"})
    rows = list(shown.rows.values())
    assert len(cells) == len(rows)
    for (attributes, text), row in zip(cells, rows, strict=True):
        alone = len(shown.rows_of(row.verdict.claim)) == 1
        assert ("open" in attributes) is (row.verdict.primary or alone)
        assert str(row.verdict.verdict) in text
        assert shown_as(row.verdict.reason) in text


def test_links_lead_to_cells(parsed):
    ids = [attributes["id"] for _, attributes, _ in parsed.found if "id" in attributes]
    assert len(set(ids)) == len(ids)
    links = [attributes["href"] for attributes, _ in parsed.all("a")]
    inside = [link[1:] for link in links if link.startswith("#")]
    assert len(inside) > 13
    assert set(inside) <= set(ids)
    assert [link for link in links if not link.startswith("#")] == [
        "https://arxiv.org/abs/2601.00001",
        f"https://arxiv.org/abs/{shown_as(HOSTILE)}",
    ]


def test_pictures_stand_with_their_paper(page):
    first, second = (page.index(f'<svg role="img" aria-labelledby="d{k}-title"') for k in (1, 2))
    assert page.index("A First Paper") < first < page.index("first-paper/failing</a></h4>")
    assert second > page.index("<h3>Pictures</h3>")
    assert ".v0{fill: red}" in page


def test_why_there_is_no_picture_is_told(shown):
    page = claims_page([replace(shown, pictures={}, undrawn=f"No ink. {HOSTILE}")])
    assert "No picture was drawn. No ink. &lt;/script&gt;" in page


def test_what_was_measured_on_and_how_to_do_it_again(shown, parsed):
    (facts,) = [text for _, text in parsed.all("section", **{"class": "facts"})]
    data = shown.data
    for told in (
        data["digest"],
        "ab" * 32,
        "c0" * 32,
        "a0" * 32,
        data["environment"]["platform"],
        data["environment"]["cpu"],
        "--claims-model tiny --claims-profile quick --claims-seed 0",
        "stillwired judge",
    ):
        assert told in facts
    assert "2e-7, 1e-5 allowed" in facts


def test_what_went_wrong_in_the_run_is_told(shown):
    assert "2 not judged, because of errors." in claims_page(
        [shown], ["2 not judged, because of errors."]
    )


def test_what_the_gate_says_stands_before_the_table(shown, page):
    head = page[: page.index("<table")]
    assert "The gate fails" in head
    for line in shown.finished.gate.lines:
        assert safe(line) in head


# Several records, and one compared with another.


def test_records_share_a_page_without_meeting(folder, shown):
    other = read_shown(write(folder / "other.json", HOSTILE.replace("\x00", ""), rate=0.4))
    parsed = Parsed(claims_page([shown, other, shown]))
    ids = [attributes["id"] for _, attributes, _ in parsed.found if "id" in attributes]
    assert len(set(ids)) == len(ids)
    assert {"1/first-paper/failing", "2/first-paper/failing"} <= set(ids)
    links = [attributes["href"][1:] for attributes, _ in parsed.all("a")]
    assert {link for link in links if not link.startswith("ttps:")} <= set(ids)
    assert len(parsed.all("details", **{"class": "cell"})) == 21


def test_a_comparison_stands_on_the_page_and_decides(folder, shown):
    new = read_shown(
        write(folder / "new.json", "tiny", rate=0.4), baseline=read_side(folder / "record.json")
    )
    page = claims_page([new])
    parsed = Parsed(page)
    ((_, text),) = parsed.all("section", **{"class": "comparison"})
    assert "Compared with tiny" in text
    assert "2 held before: 2 lost" in text
    rows = re.search(r'<table class="changes">(.*?)</table>', page, re.S).group(1).split("<tr>")
    (lost,) = [row for row in rows if "first-paper/holding</a><small>N=1 *" in row]
    change = next(c for c in new.comparison.changes if c.key == "first-paper/holding[ahead=1]")
    assert number(change.decided.estimate) in lost
    assert change.decided.allowed in lost
    assert lost.count(">HOLDS<") == 2
    assert ">LOST<" in lost
    assert 'href="#first-paper/holding:ahead=1"' in lost
    assert "is LOST" in page[: page.index("<table")]
    assert "Compared with" not in claims_page([shown])


# Hostile text.


def harmless(monkeypatch, folder):
    """The same record with text that would do nothing."""
    plain = "x" * 30
    monkeypatch.setattr(made_records, "HOSTILE", plain)
    made = {
        name: Claim.from_json(
            json.loads(json.dumps(claim.to_json()).replace(json.dumps(HOSTILE)[1:-1], plain))
        )
        for name, claim in made_records.CLAIMS.items()
    }
    monkeypatch.setattr(made_records, "CLAIMS", made)
    return read_shown(write(folder / "harmless.json"))


def test_text_makes_no_elements(page, shown, folder, monkeypatch):
    plain = harmless(monkeypatch, folder)
    expected = Parsed(claims_page([replace(plain, pictures=shown.pictures)]))
    parsed = Parsed(page)

    def elements(found):
        return [(tag, sorted(at)) for tag, at, _ in found.found if not tag.startswith("svg")]

    assert elements(parsed) == elements(expected)
    assert not parsed.comments
    assert not [at for _, at, _ in parsed.found for name in at if name.startswith("on")]
    assert not [at for _, at, _ in parsed.found if {"src", "style"} & set(at)]


def test_nothing_invisible_is_left(page):
    assert not re.search(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]", page)
    assert not re.search("[\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff]", page)


# Size and looks.


def test_seven_hundred_cells_stay_small(shown):
    one, _ = (row.verdict for row in shown.rows_of("first-paper/holding"))
    # More than a cell has on average.
    usual = replace(one, beside=one.beside[:1], facts={"heads": "(1, 2)"})
    many = [replace(usual, params={"ahead": k}, primary=k == 0) for k in range(700)]
    finished = replace(shown.finished, verdicts=tuple(many))
    page = claims_page([replace(shown, finished=finished, pictures={})])
    assert page.count('<details class="cell"') == 700
    assert len(page.encode()) < 2_500_000


@pytest.mark.parametrize("word", COLOURS)
def test_words_can_be_read_on_their_ground(word):
    light, ink, dark, glow = COLOURS[word]
    for ground, text in ((light, ink), (dark, glow)):
        pair = sorted((luminance(ground), luminance(text)))
        assert (pair[1] + 0.05) / (pair[0] + 0.05) >= 7
