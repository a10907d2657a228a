"""The atlas in a real browser."""

from __future__ import annotations

import pytest

from stillwired.report.atlas import atlas
from stillwired.report.shown import read_shown
from tests.report.chromium import CONTRAST, asked, needs_chromium, troubles
from tests.report.made_records import HOSTILE, write

pytestmark = needs_chromium

ROWS = "[...document.querySelectorAll('.atlas tbody tr:not(.paper)')].filter(r => r.offsetParent)"
TIPS = """[...document.querySelectorAll(".tip")].filter(t => getComputedStyle(t).display !== "none")
    .map(t => t.innerText)"""
PLACE = f"(c => [{ROWS}.indexOf(c.parentElement), c.cellIndex])(document.activeElement)"


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    folder = tmp_path_factory.mktemp("atlas")
    only = ("holding", "failing", "told")
    one, two = (
        write(folder / "a.json"),
        write(folder / "b.json", HOSTILE.replace("\x00", ""), only=only),
    )
    path = folder / "atlas.html"
    path.write_text(atlas([read_shown(one), read_shown(two)]), encoding="utf-8", newline="")
    return path


@pytest.fixture
def page(browser, path):
    browser("Emulation.setEmulatedMedia", media="")
    browser("Input.dispatchMouseEvent", type="mouseMoved", x=0, y=0)
    browser.screen(1280)
    browser.open(path)
    return path


def test_nothing_acts_and_nothing_is_fetched(browser, page):
    browser.run("document.querySelector('#others').click()")
    browser.run("""for (const node of document.querySelectorAll("body *")) {
        node.dispatchEvent(new MouseEvent("mouseover", {bubbles: true}));
        if (node.focus) node.focus();
    }""")
    assert browser.run("typeof window.pwned") == "undefined"
    assert len(asked(browser)) == 1
    assert not troubles(browser)


def test_other_cells_come_on_demand_also_without_scripts(browser, page):
    assert browser.run(f"{ROWS}.length") == 6
    browser("Emulation.setScriptExecutionDisabled", value=True)
    try:
        browser.open(page)
        assert browser.run(f"{ROWS}.length") == 6
        browser.run("document.querySelector('#others').click()")
        assert browser.run(f"{ROWS}.length") == 7
    finally:
        browser("Emulation.setScriptExecutionDisabled", value=False)


def test_a_cell_tells_more_when_it_is_pointed_at_or_has_the_focus(browser, page):
    assert browser.run(TIPS) == []
    browser.point(".atlas td.fails")
    (tip,) = browser.run(TIPS)
    assert tip.startswith("first-paper/failing")
    assert "expected at least 0.20" in tip
    browser("Input.dispatchMouseEvent", type="mouseMoved", x=2, y=2)
    browser.run("document.querySelector('.atlas td.holds').focus()")
    browser.settle()
    (tip,) = browser.run(TIPS)
    assert "95 % interval" in tip
    assert "400 examples in 400 documents" in tip


def test_arrows_go_from_cell_to_cell_past_those_that_were_not_judged(browser, page):
    browser.run("document.querySelector('.atlas td[tabindex]').focus()")
    assert browser.run(PLACE) == [0, 1]
    for key, code, place in (
        ("ArrowUp", 38, [0, 1]),
        ("ArrowRight", 39, [0, 2]),
        ("ArrowRight", 39, [0, 2]),
        ("ArrowDown", 40, [1, 2]),
        # Three cells of the second record were not judged.
        ("ArrowDown", 40, [5, 2]),
        ("ArrowLeft", 37, [5, 1]),
        ("ArrowUp", 38, [4, 1]),
        ("ArrowRight", 39, [4, 1]),
    ):
        browser.press(key, code)
        assert browser.run(PLACE) == place, (key, place)
    assert browser.run("document.querySelectorAll('td[tabindex=\"0\"]').length") == 1


def test_hiding_the_focused_row_leaves_a_cell_for_the_tab_key(browser, page):
    browser.run("document.querySelector('#others').click()")
    browser.run("document.querySelector('.other td[tabindex]').focus()")
    browser.run("document.querySelector('#others').click()")
    browser.settle()
    assert browser.run("document.querySelector('td[tabindex=\"0\"]').offsetParent !== null") is True


def test_contrast_in_light_and_dark(browser, page):
    for dark in (False, True):
        browser.screen(1280, dark=dark)
        least, page_light = browser.run(CONTRAST)
        assert least >= 4.5
        assert (page_light < 0.1) is dark


@pytest.mark.parametrize("width", [360, 1280])
def test_the_page_does_not_scroll_sideways(browser, page, width):
    browser.screen(width, 800)
    assert browser.run("document.documentElement.scrollWidth") <= width
