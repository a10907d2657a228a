from __future__ import annotations

import re
from xml.etree import ElementTree

import matplotlib as mpl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stillwired.report.curves_figure import Heading
from stillwired.report.vector_attention_figure import (
    described,
    figure,
    laid_out,
    largest,
    shade,
    visible,
)
from stillwired.report.vectors import Attention, attention_of
from tests.report.made_vectors import attention_cell, pattern, record_of

SVG = "{http://www.w3.org/2000/svg}"
HEADING = Heading("tiny", "quick")


def made(figure=None):
    figures = {"attention, present-past": figure or pattern()}
    return attention_of(*record_of(attention_cell("present-past"), figures=figures))


def plain(tokens, weights, heads=((1, 0),)):
    return Attention("any", heads, tuple(tokens), tuple(map(tuple, weights)), {})


def root_of(attention):
    return ElementTree.fromstring(figure(attention, HEADING))


@pytest.mark.parametrize(
    ("token", "seen"),
    [
        (" walked", "·walked"),
        ("\n\n", "⏎⏎"),
        ("\t", "⇥"),
        ("a\x00b\x1b", "a␀b␛"),
        ("\x7f", "␡"),
        ("\u202e", "�"),
        ("\ud800", "�"),
        ("\u2028", "�"),
        ("\u0301", "◌\u0301"),
        ("é", "é"),
        ("<b>&", "<b>&"),
        ("", ""),
    ],
)
def test_every_sign_of_a_token_is_seen(token, seen):
    assert visible(token) == seen


@given(st.text())
def test_whatever_a_token_holds_the_picture_is_whole(token):
    shown = visible(token)
    assert not re.search(r"[\x00-\x20\x7f\ud800-\udfff]", shown)
    root = ElementTree.fromstring(f"<a>{shown.replace('&', '&amp;').replace('<', '&lt;')}</a>")
    assert (root.text or "") == shown


def test_lines_end_where_the_prompt_s_lines_end_or_are_full():
    tokens = ["Q", ":", " walk", "\n", "A", ":", " walked", "\n\n", "Q"]
    assert [(p.line, p.column, p.text) for p in laid_out(tokens, 30)] == [
        (0, 0, "Q"),
        (0, 1, ":"),
        (0, 2, "·walk"),
        (0, 7, "⏎"),
        (1, 0, "A"),
        (1, 1, ":"),
        (1, 2, "·walked"),
        (1, 9, "⏎⏎"),
        (2, 0, "Q"),
    ]
    assert [(p.line, p.column) for p in laid_out(["abc", "de", "f", "ghi"], 6)] == [
        (0, 0),
        (0, 3),
        (0, 5),
        (1, 0),
    ]
    assert [p.text for p in laid_out(["a", "a-very-long-token"], 6)] == ["a", "a-ver…"]
    # Wide signs take two columns.
    assert [p.column for p in laid_out(["日本", "x"], 6)] == [0, 4]


def test_tokens_are_shaded_by_their_share_of_what_the_first_leaves():
    attention = plain("abcd", [[0.6, 0.3, 0.1, 0.0]])
    assert largest(attention) == pytest.approx(0.75)
    fills = [
        found[1]
        for path in root_of(attention).iter(f"{SVG}path")
        if (found := re.search(r"fill: (#[0-9a-f]{6})", path.get("style", "")))
    ]
    oranges = mpl.colormaps["Oranges"]
    wanted = [mpl.colors.to_hex(oranges(shade(share, 0.75))) for share in (0.75, 0.25, 0.0)]
    at = fills.index(wanted[0])
    assert fills[at : at + 3] == wanted
    assert shade(0.25, 1.0) == 0.5
    assert (shade(0.75, 0.75), shade(0.0, 0.75)) == (1.0, 0.0)


def test_each_head_has_the_prompt_with_the_first_token_s_weight_above():
    attention = made()
    texts = [text.text for text in root_of(attention).iter(f"{SVG}text")]
    assert texts.count("·began") == texts.count("·swim") == 4
    for head, weights in zip(attention.heads, attention.weights, strict=True):
        assert f"layer {head[0]}, head {head[1]}" in texts
        assert f"first token {weights[0]:.2f}" in texts
    joined = " ".join(filter(None, texts))
    assert "all chosen heads give 0.60 of what the first token leaves" in joined
    assert "profile quick, one prompt of present-past, 4 heads" in joined


def test_panels_and_long_prompts_stay_on_the_page():
    long = [word for k in range(120) for word in (f' {{"in": "word-{k}"', ', "out": "x"}', "\n")]
    weights = [1 / len(long)] * len(long)
    root = root_of(plain(long, [weights] * 4, heads=((0, 0), (1, 0), (2, 0), (3, 0))))
    width = float(root.get("width").removesuffix("pt"))
    sizes = {
        float(found[1])
        for text in root.iter(f"{SVG}text")
        if "Mono" in text.get("style") and (found := re.search(r"([\d.]+)px", text.get("style")))
    }
    assert sizes == {6.0}
    for text in root.iter(f"{SVG}text"):
        if "Mono" in text.get("style"):
            end = float(text.get("x")) + len(text.text) * 6 * 0.602
            assert end < width - 10


def test_type_is_smaller_where_lines_would_break():
    def sizes(word):
        tokens = [part for _ in range(10) for part in (word, "\n")]
        weights = [1 / len(tokens)] * len(tokens)
        root = root_of(plain(tokens, [weights] * 4, heads=((0, 0), (1, 0), (2, 0), (3, 0))))
        placed = {text.get("y") for text in root.iter(f"{SVG}text") if "Mono" in text.get("style")}
        return len(placed), {
            found[1]
            for text in root.iter(f"{SVG}text")
            if "Mono" in text.get("style") and (found := re.search(r"(\S+)px", text.get("style")))
        }

    # Panels are 2.6 inches wide, and a sign takes 0.602 of the type's size.
    assert sizes("x" * 30) == (10, {"10"})
    assert sizes("x" * 34) == (10, {"8.5"})


def test_a_head_that_looks_at_the_first_token_alone_is_drawn():
    attention = plain("ab", [[1.0, 0.0]])
    assert largest(attention) == 1.0
    assert "nan" not in figure(attention, HEADING)
    assert "layer 1, head 0: 1.00 on the first token" in described(attention, HEADING)


def test_screen_readers_are_told_where_heads_look():
    attention = made()
    said = described(attention, HEADING)
    assert root_of(attention).find(f"{SVG}desc").text == said
    shares = attention.shares(0)
    best = max(range(len(shares)), key=shares.__getitem__)
    assert attention.tokens[best] == " fell"
    assert f"0.20 on the first token; of the rest, ·fell {shares[best]:.2f}, " in said
    assert said.endswith("random heads of the same layers 0.10.")
