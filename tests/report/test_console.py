from __future__ import annotations

import io

import pytest

from stillwired.report.console import LOG_WIDTH, Screen, can_write, page_of, show, speaker
from stillwired.report.terminal import Span


class Writer:
    def __init__(self, isatty=False, verbosity=0):
        self.isatty = isatty
        self.verbosity = verbosity
        self.written = []

    def ensure_newline(self):
        self.written.append("<newline>")

    def write(self, content, *, flush=False, **markup):
        self.written.append((content, sorted(markup)))

    def write_line(self, line, **markup):
        self.written.append(line)


def screen(writer, line="", markup=False, encoding="utf-8"):
    file = io.TextIOWrapper(io.BytesIO(), encoding=encoding, newline="")
    return Screen(writer, file, line, 40, markup, None)


def content(shown):
    shown.file.flush()
    return shown.file.buffer.getvalue().decode(shown.file.encoding)


@pytest.mark.parametrize(
    ("isatty", "verbosity", "always", "speaks"),
    [
        (True, 0, False, True),
        (False, 0, False, False),
        (False, 1, False, True),
        (False, 0, True, True),
        (True, -1, False, False),
        (False, -1, True, False),
    ],
)
def test_progress_is_told_only_where_somebody_watches(isatty, verbosity, always, speaks):
    writer = Writer(isatty, verbosity)
    speaker(lambda: screen(writer), always=always)("fitting maps")
    assert writer.written == (["  0:00  fitting maps"] if speaks else [])


def test_without_a_terminal_nothing_happens():
    speaker(lambda: None, always=True)("fitting maps")


def test_a_line_goes_above_the_dots_and_puts_them_back():
    writer = Writer(isatty=True)
    shown = screen(writer, "claims/test_x.py ..F", markup=True)
    shown.insert("fitting")
    assert writer.written == []
    assert content(shown) == "\r\x1b[K\x1b[2mfitting\x1b[0m\nclaims/test_x.py ..F"


def test_a_line_wider_than_the_terminal_is_left_alone():
    writer = Writer(isatty=True)
    shown = screen(writer, "x" * 40, markup=True)
    shown.insert("fitting")
    assert writer.written == ["fitting"]
    assert content(shown) == ""


def test_progress_survives_a_terminal_without_typographic_signs():
    writer = Writer(isatty=True)
    screen(writer, encoding="ascii").insert("30 × 9 heads …")
    assert writer.written == ["30 x 9 heads ..."]


def test_lines_keep_their_styles():
    writer = Writer()
    show(writer, [[Span("a", "bold red"), Span("b")]])
    assert writer.written == ["<newline>", ("a", ["bold", "red"]), ("b", []), ("\n", [])]
    nothing = Writer()
    show(nothing, [])
    assert nothing.written == []


def test_logs_are_wide_and_terminals_as_wide_as_they_are(monkeypatch, tmp_path):
    monkeypatch.delenv("COLUMNS", raising=False)
    assert page_of(Writer(), 80, "utf-8", tmp_path).width == LOG_WIDTH
    assert page_of(Writer(isatty=True), 80, "utf-8", tmp_path).width == 80
    monkeypatch.setenv("COLUMNS", "90")
    assert page_of(Writer(), 90, "utf-8", tmp_path).width == 90


def test_encodings():
    assert can_write("utf-8")
    assert can_write(None)
    assert not can_write("ascii")
    assert not can_write("latin-1")
    assert not can_write("no-such-encoding")
