"""The atlas: every record a column, every claim a row, and what differs is told."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest

from stillwired.report.atlas import atlas, columns, differences
from stillwired.report.html import safe
from stillwired.report.shown import read_shown
from stillwired.report.text import number
from tests.report import made_records
from tests.report.made_records import HOSTILE, write
from tests.report.test_lens_page import Parsed


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("records")


@pytest.fixture(scope="module")
def records(folder):
    other = write(
        folder / "other.json",
        HOSTILE.replace("\x00", ""),
        rate=0.4,
        profile="standard",
        corpus="d1" * 32,
        only=("holding", "failing"),
    )
    return [read_shown(write(folder / "record.json")), read_shown(other)]


@pytest.fixture(scope="module")
def page(records):
    return atlas(records)


def rows_of(page):
    """Cells by the text of the row's head, in order."""
    body = re.search(r"</thead>(.*?)</table>", page, re.DOTALL).group(1)
    found = {}
    for row in re.findall(r"<tr[^>]*>.*?</tr>", body, re.DOTALL):
        head, *cells = re.findall(r"<t[hd][^>]*>.*?</t[hd]>", row, re.DOTALL)
        found[re.sub(r"<[^>]+>", "|", head).strip("|")] = (row.split(">")[0], cells)
    return found


def test_every_cell_of_every_record_has_its_place(records, page):
    rows = rows_of(page)
    assert list(rows)[:4] == [
        "A First Paper",
        "first-paper/failing *||The failing is there.",
        "first-paper/holding *||N=1||The holding is there.",
        "first-paper/holding||N=2",
    ]
    cells = [cell for _, row in rows.values() for cell in row]
    judged = [cell for cell in cells if "not judged" not in cell]
    assert len(judged) == sum(len(shown.rows) for shown in records) == 10
    assert len(cells) == 14
    _, (first, second) = rows["first-paper/holding *||N=1||The holding is there."]
    for cell, shown in ((first, records[0]), (second, records[1])):
        verdict = shown.rows["first-paper/holding[ahead=1]"].verdict
        assert cell.startswith('<td class="holds" tabindex="0"><b>HOLDS</b>')
        for figure in (verdict.estimate, verdict.low, verdict.high):
            assert number(figure) in cell
        assert "400 examples in 400 documents" in cell
    assert number(records[0].rows["first-paper/holding[ahead=1]"].verdict.estimate) not in second


def test_the_primary_cell_stands_for_its_claim_and_the_others_wait(page):
    for name, (start, _) in rows_of(page).items():
        assert ("other" in start) is (name == "first-paper/holding||N=2"), name
    assert ".other{display:none}" in page


def test_heads_say_what_was_measured(records, page):
    head = re.search(r"<thead>(.*?)</thead>", page, re.DOTALL).group(1)
    _, first, second = head.split('<th scope="col">')[1:]
    for column, profile in ((first, "quick"), (second, "standard")):
        assert "sha256 abababababab…" in column
        assert f"profile {profile}" in column
        assert "cpu float32 eager" in column
        assert re.search(r"\d{4}-\d\d-\d\d", column)
    assert "2 hold, 1 fails, 1 inconclusive" in first
    assert safe(HOSTILE.replace("\x00", "")) in second


def test_what_differs_is_told_first(records, page):
    name = columns(records)[1]
    assert differences(records) == [
        f"Profiles: quick (tiny); standard ({name}).",
        f"Texts: built-in English text c0c0c0c0c0c0… (tiny); built-in English text d1d1d1d1d1d1… "
        f"({name}).",
    ]
    assert "do not all rest on the same examples" in page[: page.index("<table")]


def test_records_alike_are_said_to_be(folder, records):
    again = read_shown(write(folder / "again.json"))
    assert differences([records[0], again]) == []
    assert "measured alike" in atlas([records[0], again])


def test_regimes_tasks_versions_and_seeds_are_held_against_each_other(folder, records, monkeypatch):
    monkeypatch.setitem(
        made_records.CLAIMS, "failing", replace(made_records.CLAIMS["failing"], version=2)
    )
    other = read_shown(write(folder / "later.json", seed=1))
    other.data["tasks"]["antonym"] = "b0" * 32
    other.data["layers"] = [0.5, 3]
    other.data["redraw"] = "refit-1"
    other.data["checkpoint"]["regime"]["dtype"] = "bfloat16"
    other.data["environment"]["packages"]["stillwired"] = "9.9"
    told = differences([records[0], other])
    assert [line.split(":")[0] for line in told] == [
        "Depths",
        "Seeds",
        "Redraws",
        "Regimes",
        "stillwired",
        "The task antonym",
        "Versions of first-paper/failing",
    ]
    assert told[0] == "Depths: the profile's (tiny (1)); 0.5, 3 (tiny (2))."
    assert told[-1] == "Versions of first-paper/failing: 1 (tiny (1)); 2 (tiny (2))."


def test_text_makes_no_elements(page):
    parsed = Parsed(page)
    assert not parsed.comments
    tags = {tag for tag, _, _ in parsed.found}
    assert "img" not in tags
    assert len(parsed.all("script")) == 1
    assert not [at for _, at, _ in parsed.found for name in at if name.startswith("on")]
    ids = [attributes["id"] for _, attributes, _ in parsed.found if "id" in attributes]
    assert len(set(ids)) == len(ids)
