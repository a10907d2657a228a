"""Where lines end up: pytest's terminal reporter, or anything that writes as it does."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, TextIO

from stillwired.records.record import RunFacts
from stillwired.report.summary import Page, heads
from stillwired.report.terminal import Line
from stillwired.report.text import to_ascii, width_of

LOG_WIDTH = 160


class Writer(Protocol):
    """The part of pytest's terminal reporter that is needed here."""

    @property
    def isatty(self) -> Any:
        """Whether somebody watches; pytest's own is also a function."""

    @property
    def verbosity(self) -> int:
        """Number of -v, less the number of -q."""

    def ensure_newline(self) -> None:
        """End the current line, unless it is empty."""

    def write(self, content: str, *, flush: bool = False, **markup: bool) -> None:
        """Write text with styles."""

    def write_line(self, line: str, **markup: bool) -> None:
        """Write a line with styles."""


def page_of(writer: Writer, width: int, encoding: str | None, start: Path, quiet: int = 0) -> Page:
    """Describe the page that a writer shows; ``width`` is that of a terminal.

    A log has no width: there each row takes one line, which is what searches of it expect.
    """
    if not writer.isatty and "COLUMNS" not in os.environ:
        width = LOG_WIDTH
    return Page(width=width, ascii_only=not can_write(encoding), quiet=quiet, start=start)


def can_write(encoding: str | None, text: str = "−–…×±≤") -> bool:
    """Whether an encoding has the typographic signs that reports use."""
    try:
        text.encode(encoding or "utf-8")
    except (UnicodeEncodeError, LookupError):
        return False
    return True


def show(writer: Writer, lines: Sequence[Line]) -> None:
    """Write lines, each from the beginning of a line."""
    if lines:
        writer.ensure_newline()
    for line in lines:
        for text, style in line:
            writer.write(text, **dict.fromkeys(style.split(), True))
        writer.write("\n")


@dataclass(frozen=True)
class Screen:
    """What a line of progress needs to know of the terminal at the moment it is written.

    Attributes:
        writer: The terminal reporter.
        file: The stream that it writes to.
        line: Text of the line that the cursor stands in.
        width: Columns.
        markup: Whether the terminal understands control sequences.
        capture: pytest's capture manager, or None.
    """

    writer: Writer
    file: TextIO
    line: str
    width: int
    markup: bool
    capture: Any

    def insert(self, text: str) -> None:
        """Write a line above the one that pytest is filling with dots."""
        shown = text if can_write(self.file.encoding, text) else to_ascii(text)
        with self.capture.global_and_fixture_disabled() if self.capture else nullcontext():
            if self.markup and width_of(self.line) < self.width:
                # pytest does not notice: its own line is put back as it was, colours apart.
                self.file.write(f"\r\x1b[K\x1b[2m{shown}\x1b[0m\n{self.line}")
                self.file.flush()
            else:
                self.writer.write_line(shown)


def speaker(find: Callable[[], Screen | None], *, always: bool = False) -> Callable[[str], None]:
    """Return what tells the user about progress, one line at a time.

    Lines appear only where somebody watches: in a terminal, or with -v.

    Args:
        find: Finds the screen, or none; called for every line, since there is none before the
            run has begun and never one in xdist's workers.
        always: Speak to a log too.
    """
    started = time.monotonic()

    def say(text: str) -> None:
        screen = find()
        if screen is None or screen.writer.verbosity < 0:
            return
        if always or screen.writer.isatty or screen.writer.verbosity > 0:
            minutes, seconds = divmod(int(time.monotonic() - started), 60)
            screen.insert(f"{minutes:3d}:{seconds:02d}  {text}")

    return say


class Terminal:
    """A pytest run's terminal: found when it is needed, absent in xdist's workers."""

    def __init__(self, config: Any) -> None:
        """Take pytest's configuration."""
        self._config = config

    @property
    def reporter(self) -> Any:
        """Pytest's terminal reporter, or None."""
        return self._config.pluginmanager.get_plugin("terminalreporter")

    @property
    def page(self) -> Page:
        """The page that summaries are laid out for."""
        writer = self.reporter._tw
        encoding = getattr(writer._file, "encoding", None)
        quiet = max(0, -self._config.get_verbosity())
        start = self._config.invocation_params.dir
        return page_of(self.reporter, writer.fullwidth, encoding, start, quiet)

    def show(self, lines: Sequence[Line]) -> None:
        """Write lines."""
        show(self.reporter, lines)

    def show_header(self, facts: RunFacts) -> None:
        """Show what is about to be judged, where pytest shows a header of its own."""
        quiet = self._config.get_verbosity() < 0 or self._config.option.no_header
        if self.reporter is not None and not quiet:
            self.show(heads(facts, self.page))

    def speaker(self, *, always: bool = False) -> Callable[[str], None]:
        """Return what tells the user about progress; see :func:`speaker`."""
        return speaker(self._screen, always=always)

    def _screen(self) -> Screen | None:
        reporter = self.reporter
        if reporter is None:
            return None
        writer = reporter._tw
        return Screen(
            writer=reporter,
            file=writer._file,
            line=writer._current_line,
            width=writer.fullwidth,
            markup=writer.hasmarkup,
            capture=self._config.pluginmanager.get_plugin("capturemanager"),
        )
