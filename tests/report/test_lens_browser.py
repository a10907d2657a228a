"""The page in a real browser."""

from __future__ import annotations

import pytest

from stillwired.report.lens_page import lens_page
from tests.report.chromium import CONTRAST, asked, let_strangers_act, needs_chromium, troubles
from tests.report.test_lens_page import ABOUT, grid_of

pytestmark = needs_chromium

GRIDS = {
    "future": grid_of("future", layers=tuple(range(30))),
    "logit": grid_of("logit", layers=tuple(range(30)), shown=10),
}


@pytest.fixture(params=["future", "logit"])
def either(request, browser, tmp_path):
    return opened(browser, tmp_path, request.param)


@pytest.fixture
def page(browser, tmp_path):
    return opened(browser, tmp_path, "future")


def opened(browser, folder, kind):
    path = folder / "lens.html"
    path.write_text(lens_page(GRIDS[kind], ABOUT), encoding="utf-8", newline="")
    browser("Input.dispatchMouseEvent", type="mouseMoved", x=0, y=0)
    browser.screen(1280)
    browser.open(path)
    return GRIDS[kind]


TIPS = """[...document.querySelectorAll(".tip")]
    .filter(tip => getComputedStyle(tip).display !== "none")"""
SHOWN = f"""{TIPS}.map(tip => (b => ({{text: tip.innerText, cell: tip.parentElement.ariaLabel,
    box: [b.left, b.top, b.right, b.bottom]}}))(tip.getBoundingClientRect()))"""
PLACE = (
    """(cell => [cell.parentElement.rowIndex - 1, cell.cellIndex - 1])(document.activeElement)"""
)
CELL = ".scroll > table > tbody > tr:nth-child({}) > td:nth-of-type({})"


def the_tip(browser, width=1280, height=900):
    """The one tooltip that is shown, inside of the window."""
    (tip,) = browser.run(SHOWN)
    left, top, right, bottom = tip["box"]
    assert left >= 0
    assert top >= 0
    assert right <= width
    assert bottom <= height
    return tip


def numbers_in(tip, grid, row, column):
    for probability in grid.probabilities[row, column].tolist():
        written = f"{probability:.4f}" if probability >= 0.001 else f"{probability:.1e}"
        assert written in tip["text"]


def test_nothing_acts_and_nothing_is_fetched(browser, either):
    """Wherever the mouse and the focus go, no token's script runs and no request leaves."""
    browser.point(CELL.format(1, 1))
    for _ in range(5):
        browser.press("Tab", 9)
        browser.press("ArrowRight", 39)
    browser.run("""(async () => { for (const cell of document.querySelectorAll("td[aria-label]"))
        { cell.focus(); cell.dispatchEvent(new MouseEvent("mouseover", {bubbles: true})); } })()""")
    assert browser.run("typeof window.pwned") == "undefined"
    (url,) = asked(browser)
    assert url.startswith("file://")
    assert not troubles(browser)
    assert browser.run("document.querySelectorAll('script').length") == 1


def test_the_policy_stops_what_would_act(browser, page):
    """Were the escaping ever to fail, this is what stands behind it."""
    assert let_strangers_act(browser) == ["csp"]
    assert browser.run("typeof window.pwned") == "undefined"


def test_hovering_shows_the_probabilities(browser, either):
    assert browser.run(SHOWN) == []
    for row, column in ((1, 1), (3, 4), (20, 2)):
        browser.point(CELL.format(row, column))
        tip = the_tip(browser)
        numbers_in(tip, either, 30 - row, column - 1)
        assert f"layer {30 - row}, after" in tip["text"]
    browser("Input.dispatchMouseEvent", type="mouseMoved", x=2, y=2)
    browser.settle()
    assert browser.run(SHOWN) == []


def test_the_tip_can_be_pointed_at(browser, page):
    browser.point(CELL.format(3, 3))
    shown = the_tip(browser)
    left, top, right, bottom = shown["box"]
    browser("Input.dispatchMouseEvent", type="mouseMoved", x=(left + right) / 2,
            y=(top + bottom) / 2)  # fmt: skip
    browser.settle()
    assert the_tip(browser)["cell"] == shown["cell"]


def test_the_keyboard_goes_everywhere(browser, page):
    for _ in range(8):
        browser.press("Tab", 9)
        if browser.run("document.activeElement.tagName") == "TD":
            break
    assert browser.run(PLACE) == [0, 0]
    numbers_in(the_tip(browser), page, 29, 0)
    for key, code, modifiers, place in (
        ("ArrowUp", 38, 0, [0, 0]),
        ("ArrowDown", 40, 0, [1, 0]),
        ("ArrowRight", 39, 0, [1, 1]),
        ("End", 35, 0, [1, len(page.tokens) - 1]),
        ("ArrowRight", 39, 0, [1, len(page.tokens) - 1]),
        ("End", 35, 2, [29, len(page.tokens) - 1]),
        ("ArrowLeft", 37, 0, [29, len(page.tokens) - 2]),
        ("Home", 36, 2, [0, 0]),
    ):
        browser.press(key, code, modifiers)
        assert browser.run(PLACE) == place, key
        tip = the_tip(browser)
        numbers_in(tip, page, 29 - place[0], place[1])
    browser.press("Escape", 27)
    assert browser.run(SHOWN) == []
    browser.press("ArrowDown", 40)
    assert browser.run(f"{TIPS}.length") == 1
    # One cell is in the order of the Tab key: the one where the focus was.
    assert browser.run("document.querySelectorAll('td[tabindex=\"0\"]').length") == 1
    # What the mouse points at wins over what has the focus.
    browser.point(CELL.format(8, 3))
    numbers_in(the_tip(browser), page, 22, 2)


def test_the_focused_cell_is_not_under_the_headings(browser, page):
    for key, code, modifiers in (("End", 35, 2), ("Home", 36, 0), ("ArrowUp", 38, 0)):
        browser.press(key, code, modifiers)
    browser.run("document.querySelector('td[aria-label]').focus()")
    for key, code in [("End", 35), ("ArrowDown", 40)] + [("ArrowLeft", 37)] * 20:
        browser.press(key, code)
        covered = browser.run("""(b => {
            const found = document.elementFromPoint(b.left + 4, b.top + 4);
            return document.activeElement.contains(found) ? '' : `${found} ${b.left} ${b.top}`;
        })(document.activeElement.getBoundingClientRect())""")
        assert covered == "", (key, covered)


def test_cells_have_their_sentence_as_name(browser, page):
    document = browser("DOM.getDocument")["root"]["nodeId"]
    node = browser("DOM.querySelector", nodeId=document, selector=CELL.format(2, 3))["nodeId"]
    (found,) = browser("Accessibility.getPartialAXTree", nodeId=node, fetchRelatives=False)["nodes"]
    assert found["role"]["value"] == "gridcell"
    assert found["name"]["value"].startswith("layer 28, after “")
    assert found["name"]["value"] == browser.run(
        f"document.querySelector({CELL.format(2, 3)!r}).ariaLabel"
    )


def test_contrast_in_light_and_dark_and_by_choice(browser, either):
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


def test_small_screens_do_not_scroll_the_page_sideways(browser, either):
    browser.point(CELL.format(2, 1))
    browser.screen(400, 800)
    the_tip(browser, 400, 800)
    browser("Input.dispatchMouseEvent", type="mouseMoved", x=1, y=1)
    assert browser.run("document.documentElement.scrollWidth") <= 400
    for row in (2, 10):
        browser.run(f"document.querySelector({CELL.format(row, 2)!r}).focus()")
        browser.settle()
        numbers_in(the_tip(browser, 400, 800), either, 30 - row, 1)


def test_without_scripts_tips_are_still_shown(browser, either, tmp_path):
    path = tmp_path / "lens.html"
    path.write_text(path.read_text(encoding="utf-8").split("<script>")[0], encoding="utf-8")
    browser.open(path)
    browser.point(CELL.format(2, 2))
    numbers_in(the_tip(browser), either, 28, 1)


def test_it_prints(browser, page):
    printed = browser("Page.printToPDF", printBackground=True)["data"]
    assert printed.startswith("JVBERi0")
