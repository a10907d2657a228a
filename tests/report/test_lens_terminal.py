"""The grid in a terminal: columns line up, nothing in a token steers the terminal."""

from __future__ import annotations

import re

import numpy as np
import pytest

from stillwired.instruments.lens import Grid
from stillwired.report.lens_terminal import Look, columns_of, cut, lens_lines, pieces, visible
from tests.report.test_lens_page import HOSTILE, grid_of

ANSI = re.compile(r"\x1b\[(?:0|1|22|48;5;\d+;38;5;\d+|4\d;3\d)m")
TITLE = ["tiny  sha256 01234567…"]


def plain_grid(cells, tokens, chances=None, kind="future"):
    words = np.array(cells, dtype=object)
    if chances is None:
        chances = np.full(words.shape, 0.5)
    return Grid(kind, tuple(range(len(cells))), tuple(tokens), words, np.float32(chances))


def table_of(lines, layers):
    """Lines of the table, without those above it."""
    return [
        line
        for line in lines
        if re.match(rf" *({'|'.join(map(str, layers))}) ", ANSI.sub("", line))
    ]


@pytest.mark.parametrize("colours", [0, 8, 256])
@pytest.mark.parametrize("width", [20, 41, 80, 200])
@pytest.mark.parametrize("ascii_only", [False, True])
def test_hostile_tokens_keep_to_their_columns(colours, width, ascii_only):
    grid = grid_of(layers=(0, 9, 10))
    lines = lens_lines(grid, TITLE, Look(width, colours, ascii_only))
    bare = [ANSI.sub("", line) for line in lines]
    assert not re.search(
        r"[\x00-\x1f\x7f-\x9f\xa0\u200b-\u200f\u2028-\u202e\u2066-\u2069]", "".join(bare)
    )
    assert all(columns_of(line) <= width for line in bare)
    if ascii_only:
        "".join(bare).encode("ascii")
    else:
        "".join(bare).encode()
    rows = table_of(lines, grid.layers)
    assert len(rows) % 3 == 0
    # Each block of columns: last layer first, all rows equally long where they end in a number.
    for start in range(0, len(rows), 3):
        block = [ANSI.sub("", row) for row in rows[start : start + 3]]
        assert [int(row.split()[0]) for row in block] == [10, 9, 0]
        if not colours:
            assert len({columns_of(row) for row in block}) == 1


def test_columns_line_up_under_their_tokens():
    cells = [[["日本", "x"], ["b", "e\u0301"]], [["cc", " d"], ["\n", "é"]]]
    lines = lens_lines(plain_grid(cells, [" Paris", "日"]), [], Look(80))
    assert lines[-3:] == [
        "  ·Paris    日",
        "1 cc·d   50 ⏎é     50",
        "0 日本x  50 be\u0301     50",
    ]


def test_columns_that_do_not_fit_come_in_blocks():
    tokens = [f"token{k}" for k in range(10)]
    cells = [[["abcdef"] for _ in tokens]]
    lines = lens_lines(plain_grid(cells, tokens), [], Look(40))
    heads = [line.split() for line in lines if line.startswith("  token")]
    assert [name for head in heads for name in head] == tokens
    assert len(heads) > 1
    assert all(len(line) <= 40 for line in lines)
    assert lines.count("") == len(heads)


def test_confidence_is_a_background_or_a_number():
    cells = [[["a"], ["b"], ["c"]]]
    grid = plain_grid(cells, "xyz", [[[0.0], [0.5], [1.0]]])
    assert lens_lines(grid, [], Look(80))[-1] == "0 a 00 b 50 c 99"
    shaded = lens_lines(grid, [], Look(80, 256))[-1]
    backs = re.findall(r"48;5;(\d+);38", shaded)
    assert backs == ["234", "31", "159"]
    assert ANSI.sub("", shaded) == "0 a b c"
    assert re.findall("\x1b\\[1m(.*?)\x1b\\[22m", shaded) == ["a", "b", "c"]
    assert shaded.count("\x1b[0m") == 3
    assert re.findall(r"\x1b\[(4\d;3\d)m", lens_lines(grid, [], Look(80, 8))[-1]) == [
        "40;37",
        "46;30",
        "47;30",
    ]


def test_the_logit_lens_shows_the_likeliest_token_only():
    grid = plain_grid([[["a", "b"]]], "x", [[[0.9, 0.05]]], kind="logit")
    assert lens_lines(grid, [], Look(80))[-1] == "0 a 90"


@pytest.mark.parametrize(
    ("environment", "watched", "colours"),
    [
        ({"TERM": "xterm-256color"}, True, 256),
        ({"TERM": "xterm", "COLORTERM": "truecolor"}, True, 256),
        ({"TERM": "linux"}, True, 8),
        ({"TERM": "xterm-256color"}, False, 0),
        ({"TERM": "xterm-256color", "NO_COLOR": "1"}, True, 0),
        ({"TERM": "xterm-256color", "NO_COLOR": ""}, True, 256),
        ({"TERM": "dumb"}, True, 0),
        ({}, True, 0),
    ],
)
def test_colours_are_those_of_the_terminal(environment, watched, colours):
    look = Look.of(80, watched=watched, ascii_only=False, environment=environment)
    assert look.colours == colours


@pytest.mark.parametrize(
    ("text", "columns"),
    [("abc", 3), ("日本", 4), ("e\u0301", 1), ("\U0001f600", 2), ("\u1112\u1161", 2), ("", 0)],
)
def test_columns(text, columns):
    assert columns_of(text) == columns


@pytest.mark.parametrize(
    ("text", "width", "short"),
    [
        ("abc", 3, "abc"),
        ("abcd", 3, "ab…"),
        ("日本語", 4, "日…"),
        ("日本語", 6, "日本語"),
        ("ae\u0301\u0302xyz", 3, "ae\u0301\u0302…"),
    ],
)
def test_cutting_keeps_marks_with_their_letters(text, width, short):
    assert cut(text, width) == short


@pytest.mark.parametrize("token", HOSTILE)
def test_pieces_lose_nothing_that_can_be_seen(token):
    for named in (False, True):
        for literal in (False, True):
            shown = "".join(text for text, _ in pieces(token, named=named, literal=literal))
            kept = [sign for sign in token if sign.isascii() and sign.isprintable() and sign != " "]
            rest = iter(shown)
            assert all(sign in rest for sign in kept)
            shown.encode()


def test_whitespace_is_seen():
    assert visible(" a\n\t\r") == "·a⏎⇥␍"
    assert list(pieces("a b", literal=True)) == [("a b", False)]
    assert list(pieces("a b\x07")) == [("a", False), ("·", True), ("b", False), ("⟨U+0007⟩", True)]
