"""The page of a record in a real browser."""

from __future__ import annotations

import base64
import json
import time
from dataclasses import replace

import pytest

from stillwired.report.claims_page import claims_page
from stillwired.report.shown import read_shown
from tests.report.chromium import CONTRAST, asked, let_strangers_act, needs_chromium, troubles
from tests.report.made_curves import family, outcome
from tests.report.made_curves import write as write_curves
from tests.report.made_records import write

pytestmark = needs_chromium

SHOWN_ROWS = """[...document.querySelectorAll(".verdicts tbody tr")].filter(r => r.offsetParent)
    .map(r => r.cells[0].innerText + " " + r.cells[1].innerText.replace(" *", ""))"""
SHOWN_CELLS = "[...document.querySelectorAll('.cell')].filter(c => c.offsetParent).length"
SEEN = "(e => { const b = e.getBoundingClientRect(); return b.top < innerHeight && b.bottom > 0; })"


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    folder = tmp_path_factory.mktemp("page")
    curves = read_shown(
        write_curves(folder / "curves.json", family("linear"), outcome("bigram")), draw=True
    )
    assert curves.pictures
    shown = replace(read_shown(write(folder / "record.json")), pictures=curves.pictures)
    path = folder / "page.html"
    path.write_text(claims_page([shown]), encoding="utf-8", newline="")
    return path


@pytest.fixture
def page(browser, path):
    browser("Emulation.setEmulatedMedia", media="")
    browser.screen(1280)
    browser.open(path)
    return path


def set_filter(browser, name, value):
    """Change a filter as somebody would, and wait for the page."""
    browser.run(f"""(() => {{
        const field = document.querySelector(".filters").elements[{name!r}];
        field[field.type === "checkbox" ? "checked" : "value"] = {json.dumps(value)};
        field.dispatchEvent(new Event("input", {{bubbles: true}}));
    }})()""")
    browser.settle()


def test_nothing_acts_and_nothing_is_fetched(browser, page):
    browser.run("document.querySelectorAll('details').forEach(d => d.open = true)")
    browser.run("""for (const node of document.querySelectorAll("body *")) {
        node.dispatchEvent(new MouseEvent("mouseover", {bubbles: true}));
        if (node.focus) node.focus();
    }""")
    browser.settle()
    assert browser.run("typeof window.pwned") == "undefined"
    (url,) = asked(browser)
    assert url.startswith("file://")
    assert not troubles(browser)
    assert browser.run("document.querySelectorAll('script').length") == 1
    assert browser.run("document.querySelectorAll('img, iframe, object, embed').length") == 0


def test_the_policy_stops_what_would_act(browser, page):
    assert let_strangers_act(browser) == ["csp"]
    assert browser.run("typeof window.pwned") == "undefined"


def test_filters_leave_what_was_asked_for(browser, page):
    assert len(browser.run(SHOWN_ROWS)) == browser.run(SHOWN_CELLS) == 7
    browser.run("document.querySelector('[value=holds]').click()")
    browser.settle()
    rows = browser.run(SHOWN_ROWS)
    assert len(rows) == browser.run(SHOWN_CELLS) == 5
    assert not [row for row in rows if row.startswith("first-paper/holding")]
    assert browser.run("document.getElementById('first-paper/holding').offsetParent") is None
    assert browser.run("document.querySelector('output').textContent") == "5 of 7 cells"
    browser.run("document.querySelector('[value=holds]').click()")
    set_filter(browser, "paper", "second-paper")
    assert len(browser.run(SHOWN_ROWS)) == browser.run(SHOWN_CELLS) == 4
    assert browser.run("document.querySelectorAll('.paper:not([hidden])').length") == 1
    set_filter(browser, "paper", "")
    set_filter(browser, "primary", True)
    assert browser.run(SHOWN_ROWS)[:2] == ["first-paper/failing –", "first-paper/holding N=1"]
    assert browser.run(SHOWN_CELLS) == 5
    set_filter(browser, "primary", False)
    # Also by what the claim says, whatever the case.
    set_filter(browser, "text", "HOLDING IS THERE")
    assert browser.run(SHOWN_ROWS) == ["first-paper/holding N=1", "first-paper/holding N=2"]
    set_filter(browser, "text", "nothing of that kind")
    assert browser.run(SHOWN_ROWS) == []
    assert browser.run(SHOWN_CELLS) == 0


def test_a_link_leads_to_its_cell_and_unfolds_it(browser, page):
    cell = "document.getElementById('first-paper/holding:ahead=2')"
    assert browser.run(f"{cell}.open") is False
    browser.run("document.querySelector('a[href=\"#first-paper/holding:ahead=2\"]').click()")
    browser.settle()
    assert browser.run(f"{cell}.open") is True
    assert browser.run(f"{SEEN}({cell})") is True
    assert browser.run(f"{cell}.matches(':target')") is True


def test_an_address_leads_to_its_cell_although_a_filter_hides_it(browser, page):
    set_filter(browser, "text", "failing")
    browser.run("location.hash = '#first-paper/holding:ahead=2'")
    browser.settle()
    cell = "document.getElementById('first-paper/holding:ahead=2')"
    assert browser.run(f"{SEEN}({cell})") is True
    assert browser.run("document.querySelector('output').textContent") == "7 of 7 cells"


def test_a_page_opened_at_a_cell_shows_it(browser, page):
    browser.open(page, "#first-paper/holding:ahead=2")
    browser.settle()
    cell = "document.getElementById('first-paper/holding:ahead=2')"
    assert browser.run(f"{cell}.open && {SEEN}({cell})") is True


def test_the_keyboard_reaches_cells_and_opens_them(browser, page):
    browser.press("Tab", 9)
    assert browser.run("document.activeElement.textContent") == "Skip to the verdicts"
    browser.run("document.getElementById('first-paper/holding:ahead=2').firstChild.focus()")
    assert browser.run("document.activeElement.tagName") == "SUMMARY"
    browser("Input.dispatchKeyEvent", type="keyDown", key="Enter", code="Enter", text="\r",
            windowsVirtualKeyCode=13)  # fmt: skip
    browser("Input.dispatchKeyEvent", type="keyUp", key="Enter", code="Enter")
    browser.settle()
    assert browser.run("document.activeElement.parentElement.open") is True


def test_pictures_have_a_name_and_a_description(browser, page):
    document = browser("DOM.getDocument")["root"]["nodeId"]
    node = browser("DOM.querySelector", nodeId=document, selector=".drawn")["nodeId"]
    (found,) = browser("Accessibility.getPartialAXTree", nodeId=node, fetchRelatives=False)["nodes"]
    assert found["role"]["value"] in ("img", "image")
    assert found["name"]["value"].startswith("Future Lens, N = 1")
    # What intervals draw stands beside them in figures.
    assert browser.run("document.querySelectorAll('svg.p:not([aria-hidden])').length") == 0


def test_contrast_in_light_and_dark_and_by_choice(browser, page):
    browser.run("document.querySelectorAll('details').forEach(d => d.open = true)")
    # Pictures have their own ground, whose colours are checked where they are drawn.
    browser.run("document.querySelectorAll('figure').forEach(f => f.remove())")
    browser.run("document.querySelectorAll('svg').forEach(s => s.remove())")
    for dark, chosen, is_dark in (
        (False, "system", False),
        (True, "system", True),
        (True, "light", False),
        (False, "dark", True),
    ):
        browser.screen(1280, dark=dark)
        browser.run(f"document.querySelector('#{chosen}').click()")
        browser.settle()
        least, page_light = browser.run(CONTRAST)
        assert least >= 4.5
        assert (page_light < 0.1) is is_dark


@pytest.mark.parametrize("width", [360, 760, 1280])
def test_the_page_does_not_scroll_sideways(browser, page, width):
    browser.run("document.querySelectorAll('details').forEach(d => d.open = true)")
    browser.screen(width, 800)
    assert browser.run("document.documentElement.scrollWidth") <= width


def test_without_scripts_everything_can_be_read(browser, page):
    browser("Emulation.setScriptExecutionDisabled", value=True)
    try:
        browser.open(page)
        assert len(browser.run(SHOWN_ROWS)) == browser.run(SHOWN_CELLS) == 7
        assert browser.run("document.querySelector('.filters').offsetParent") is None
        browser.open(page, "#first-paper/holding:ahead=2")
        time.sleep(0.2)
        cell = "document.getElementById('first-paper/holding:ahead=2')"
        assert browser.run(f"{SEEN}({cell})") is True
    finally:
        browser("Emulation.setScriptExecutionDisabled", value=False)


def test_it_prints(browser, page):
    browser("Emulation.setEmulatedMedia", media="print")
    browser.settle()
    assert browser.run("document.querySelector('.filters').offsetParent") is None
    assert browser.run("document.querySelector('.verdicts').offsetParent") is not None
    printed = base64.b64decode(browser("Page.printToPDF", printBackground=True)["data"])
    assert printed.startswith(b"%PDF")
    browser("Emulation.setEmulatedMedia", media="")
