"""What the commands share: how one is added, the cache it opens, the lines it prints."""

from __future__ import annotations

import argparse
import shutil
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from stillwired.report.summary import Page
    from stillwired.report.terminal import Line
    from stillwired.store.cache import Store

OK, FAILED, ERROR = 0, 1, 2
"""Exit codes: all is well, a verdict or a check fails, the command could not do its work."""


class Commands:
    """The commands of a parser, in the order in which its help lists them."""

    def __init__(self, parser: argparse.ArgumentParser) -> None:
        """Make room for commands; the name of the chosen one becomes ``arguments.command``."""
        self._parsers = parser.add_subparsers(dest="command", metavar="COMMAND")

    def add(
        self, name: str, run: Callable[[argparse.Namespace], int], what: str, more: str = ""
    ) -> argparse.ArgumentParser:
        """Add a command.

        Args:
            name: The word by which it is called.
            run: Does its work and returns the exit code.
            what: What it does, without a capital or a full stop, for the list of commands.
            more: Sentences that only the command's own help shows.

        Returns:
            The command's parser, for its options.
        """
        found = self._parsers.add_parser(
            name, help=what, description=f"{what.capitalize()}. {more}"
        )
        found.set_defaults(run=run)
        return found


def with_cache(parser: argparse.ArgumentParser) -> None:
    """Give a command the option --cache; :func:`store` takes its value."""
    parser.add_argument(
        "--cache",
        type=Path,
        metavar="DIR",
        help="the cache's folder (default: $STILLWIRED_CACHE, else the user's cache folder)",
    )


def store(root: Path | None) -> Store:
    """Open the cache in a folder, or the one that the environment names."""
    from stillwired.store.cache import Store

    return Store(root or Store.default_root(), say)


def say(text: str) -> None:
    """Tell the user about progress, apart from what the command prints."""
    print(text, file=sys.stderr, flush=True)


def width() -> int:
    """Return the terminal's columns; a log has room for a table."""
    return shutil.get_terminal_size((160, 24)).columns


def page() -> Page:
    """Describe standard output as the page that reports are laid out for."""
    from stillwired.report.console import can_write
    from stillwired.report.summary import Page

    return Page(width=width(), ascii_only=not can_write(sys.stdout.encoding))


def show(lines: Iterable[Line]) -> None:
    """Print the lines of a report, without their styles."""
    for line in lines:
        print("".join(span.text for span in line).rstrip())


def megabytes(size: int) -> str:
    """Write a number of bytes in megabytes."""
    return f"{size / 1e6:,.1f} MB"
