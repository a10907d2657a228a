"""The page of a lens: every number is on it, it is valid, and no token can act in it."""

from __future__ import annotations

import base64
import hashlib
import re
from html.parser import HTMLParser

import numpy as np
import pytest

from stillwired.instruments.lens import Grid
from stillwired.report.lens_page import About, lens_page, sentence, spoken
from stillwired.report.lens_style import DARK, LIGHT, SHADES, shade, shades

HOSTILE = (
    "</script><script>window.pwned=1</script>",
    '" onmouseover="window.pwned=2',
    "' onfocus='window.pwned=3",
    "<img src=http://example.invalid/x.png onerror=window.pwned=4>",
    "<!--",
    "]]>",
    "&lt;b&gt;&amp;",
    "\u202egnitirw",
    "\u2066x\u2069",
    "a\x00b\x00",
    "\x1b[31mred\x1b[0m",
    "\x9b31m",
    "\U0001f468\u200d\U0001f469\u200d\U0001f467",
    "\u2764\ufe0f",
    "e\u0301",
    "\u0301",
    "\udc80",
    "\ufffe",
    "日本",
    "العربية",
    " ",
    "\n\n",
    "\t",
    "\r\n",
    "\u00a0",
    "\u2028",
    "\U000e0041",
    " supercalifragilisticexpialidocious",
    "",
)
VOID = {"meta", "input", "br", "hr", "img", "link"}
ABOUT = About(
    model="tiny",
    origin="made in memory",
    digest="0123456789abcdef" * 4,
    text="".join(HOSTILE),
    reading="one prompt of 10 learned vectors",
    date="2026-01-01 10:00 UTC",
)


def grid_of(kind="future", layers=(0, 1, 5), tokens=HOSTILE, shown=4, seed=0) -> Grid:
    """Hostile tokens everywhere, and probabilities of all sizes."""
    rng = np.random.default_rng(seed)
    shape = (len(layers), len(tokens), shown)
    words = np.empty(shape, dtype=object)
    for place in np.ndindex(*shape):
        words[place] = HOSTILE[sum(place) % len(HOSTILE)]
    probabilities = (10.0 ** -rng.uniform(0, 7, shape)).astype(np.float32)
    probabilities.flat[:3] = 0.0, 1.0, 0.5
    if kind == "logit":
        probabilities = -np.sort(-probabilities, axis=-1)
    return Grid(kind, layers, tuple(tokens), words, probabilities)


class Parsed(HTMLParser):
    """Elements of a page with their attributes and text; refuses what is not well nested."""

    def __init__(self, page: str) -> None:
        super().__init__(convert_charrefs=True)
        self.open: list[tuple[str, dict, list]] = []
        self.found: list[tuple[str, dict, list]] = []
        self.comments: list[str] = []
        self.feed(page)
        self.close()
        assert not self.open

    def handle_starttag(self, tag, attributes):
        assert len(dict(attributes)) == len(attributes)
        element = (tag, dict(attributes), [])
        self.found.append(element)
        if tag not in VOID:
            self.open.append(element)

    def handle_endtag(self, tag):
        assert self.open.pop()[0] == tag

    def handle_data(self, data):
        for _, _, text in self.open:
            text.append(data)

    def handle_comment(self, data):
        self.comments.append(data)

    def all(self, tag, **wanted):
        return [
            (attributes, "".join(text))
            for found, attributes, text in self.found
            if found == tag and all(attributes.get(key) == value for key, value in wanted.items())
        ]


@pytest.fixture(params=["future", "logit"])
def grid(request):
    return grid_of(request.param, shown=4 if request.param == "future" else 10)


@pytest.fixture
def page(grid):
    return lens_page(grid, ABOUT)


@pytest.fixture
def parsed(page):
    return Parsed(page)


def cells_of(parsed):
    return [found for found in parsed.all("td") if "aria-label" in found[0]]


def test_every_probability_is_on_the_page(grid, parsed):
    """Exactly, in the order of the page: the last layer first."""
    values = [float(attributes["value"]) for attributes, _ in parsed.all("data")]
    assert np.array_equal(np.float32(values), grid.probabilities[::-1].ravel())
    for (_, written), value in zip(parsed.all("data"), values, strict=True):
        assert float(written) == pytest.approx(value, abs=5e-5, rel=0.06)


def test_every_cell_has_a_sentence(grid, parsed):
    labels = [attributes["aria-label"] for attributes, _ in cells_of(parsed)]
    rows, columns = range(len(grid.layers)), range(len(grid.tokens))
    assert labels == [sentence(grid, row, column) for row in reversed(rows) for column in columns]


def test_sentences_read_like_sentences():
    words = np.empty((1, 2, 3), dtype=object)
    words[0] = [[" is", " a", "\n\n"], ["x", " ", "\x00"]]
    chances = np.array([[[0.62, 0.31, 0.05]] * 2], dtype=np.float32).reshape(1, 2, 3)
    future = Grid("future", (12,), (" Paris", "\n"), words, chances)
    assert sentence(future, 0, 0) == (
        "layer 12, after “ Paris”: “ is” 0.62, then “ a” 0.31, then 2 line breaks 0.05"
    )
    logit = Grid("logit", (12,), (" Paris", "\n"), words, chances)
    assert sentence(logit, 0, 1) == (
        "layer 12, after line break: “x” 0.62, or space 0.31, or “⟨U+0000⟩” 0.05"
    )


def test_the_table_says_what_it_is(grid, parsed):
    (table,) = [t for t in parsed.all("table") if "role" in t[0]]
    assert table[0]["role"] == "grid"
    heads = parsed.all("th", scope="col")
    assert heads[0][1] == "layer"
    assert [a["aria-label"] for a, _ in heads[1:]] == [spoken(token) for token in grid.tokens]
    assert [text for _, text in parsed.all("th", scope="row")] == ["5", "1", "0"]
    (caption,) = [text for _, text in parsed.all("caption")]
    for fact in (ABOUT.model, ABOUT.origin, ABOUT.digest, ABOUT.reading, ABOUT.date):
        assert fact in caption
    assert "the last one is on top" in "".join(text for _, text in parsed.all("p"))
    assert parsed.all("html", lang="en")
    assert parsed.all("meta", charset="utf-8")
    ids = [attributes["id"] for _, attributes, _ in parsed.found if "id" in attributes]
    assert len(set(ids)) == len(ids)


def test_shading_follows_the_confidence(grid, parsed):
    classes = [attributes["class"] for attributes, _ in cells_of(parsed)]
    assert classes == [f"s{shade(float(sure))}" for sure in grid.confidence[::-1].ravel()]
    assert [shade(p) for p in (0.0, 0.024, 0.026, 0.5, 1.0, 1.0000001)] == [0, 0, 1, 10, 20, 20]


# Hostile tokens.


def test_tokens_make_no_elements(grid, parsed):
    """The page has the elements of a page of harmless tokens, and no others."""
    plain = np.full(grid.words.shape, "x", dtype=object)
    harmless = Grid(grid.kind, grid.layers, ("x",) * len(grid.tokens), plain, grid.probabilities)
    expected = Parsed(lens_page(harmless, ABOUT))

    def elements(found):
        return [(tag, sorted(at)) for tag, at, _ in found.found if tag not in ("i", "b")]

    assert elements(parsed) == elements(expected)
    assert not parsed.comments
    assert not [at for _, at, _ in parsed.found for name in at if name.startswith("on")]


def test_nothing_invisible_is_left(page):
    assert not re.search(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\xa0]", page)
    assert not re.search(
        "[\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufffe\U000e0000-\U000e007f]", page
    )
    page.encode()


def test_what_is_hidden_is_named(parsed):
    tips = "".join(text for attributes, text in parsed.all("div", **{"class": "tip"}))
    for name in (
        "⟨U+202E RIGHT-TO-LEFT OVERRIDE⟩gnitirw",
        "a⟨U+0000⟩b⟨U+0000⟩",
        "⟨U+001B⟩[31mred",
        "⟨U+DC80⟩",
        "⟨U+200D ZERO WIDTH JOINER⟩",
        "◌\u0301",
        "e\u0301",
        "</script><script>window.pwned=1</script>",
        "&lt;b&gt;&amp;",
        " supercalifragilisticexpialidocious",
        "\n\n",
        "\t",
    ):
        assert name in tips


def test_whitespace_is_visible_and_long_tokens_are_cut(parsed):
    cells = "".join(text for attributes, text in parsed.all("div", **{"class": "w"}))
    heads = [text for _, text in parsed.all("th", scope="col")]
    assert "·supercalifra…" in heads
    assert {"·", "⏎⏎", "⇥", "␍⏎", "⟨U+00A0⟩"} <= set(heads)
    assert not re.search(r"[ \n\t]", "".join(heads))
    assert "supercalifragilistic" not in cells


# What the page may do.


def test_the_policy_admits_only_the_pages_own_style_and_script(parsed):
    (policy,) = [
        attributes["content"]
        for attributes, _ in parsed.all("meta")
        if attributes.get("http-equiv") == "Content-Security-Policy"
    ]
    assert policy.startswith("default-src 'none'; ")
    assert "unsafe" not in policy
    assert "http" not in policy
    for tag in ("style", "script"):
        ((attributes, content),) = parsed.all(tag)
        assert not attributes
        digest = base64.b64encode(hashlib.sha256(content.encode()).digest()).decode()
        assert f"{tag}-src 'sha256-{digest}'" in policy
    assert not [a for _, a, _ in parsed.found if {"src", "href", "style"} & set(a)]


def luminance(colour):
    channels = [int(colour[k : k + 2], 16) / 255 for k in (1, 3, 5)]
    linear = [c / 12.92 if c <= 0.03928 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
    return sum(w * c for w, c in zip((0.2126, 0.7152, 0.0722), linear, strict=True))


@pytest.mark.parametrize("theme", [LIGHT, DARK])
def test_text_stands_out_on_every_shade(theme):
    for background in shades(theme):
        for what in ("text", "mark"):
            pair = sorted((luminance(background), luminance(theme[what])))
            assert (pair[1] + 0.05) / (pair[0] + 0.05) >= 4.5, (background, what)


def test_shades_are_even_and_differ():
    for theme in (LIGHT, DARK):
        steps = [luminance(colour) for colour in shades(theme)]
        assert len(steps) == SHADES + 1
        assert steps == sorted(steps, reverse=theme is LIGHT)
        assert max(steps[0], steps[-1]) / min(steps[0], steps[-1]) > 2
