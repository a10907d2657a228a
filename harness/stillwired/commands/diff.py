"""``stillwired diff``: what a new record kept, gained and lost against an old one."""

from __future__ import annotations

import argparse
from pathlib import Path

from stillwired.commands.common import FAILED, OK, Commands, page, show


def add(commands: Commands) -> None:
    """Add the command and its options."""
    diff = commands.add(
        "diff",
        run,
        "compare two records, claim by claim",
        "Works from the records and the tables beside them, without a model; a baseline serves as "
        "well as a record. The exit code is 0 if nothing is lost that held before: see "
        "docs/judging.md, two checkpoints.",
    )
    diff.add_argument("old", type=Path, metavar="OLD.json", help="a record or a baseline")
    diff.add_argument("new", type=Path, metavar="NEW.json", help="what is compared with it")
    diff.add_argument(
        "--strict",
        action="store_true",
        help="a primary cell that held and whose change is UNDECIDED fails too",
    )


def run(arguments: argparse.Namespace) -> int:
    """Show the comparison; its gate decides the exit code."""
    from stillwired.records.baseline import read_side
    from stillwired.records.compare import compare
    from stillwired.report.comparison import comparison_lines
    from stillwired.report.text import wrap

    old, new = read_side(arguments.old), read_side(arguments.new)
    comparison = compare(old, new, strict=arguments.strict)
    terminal = page()
    show(comparison_lines(comparison, terminal))
    for text in comparison.gate.lines:
        show(terminal.plain(wrap(text, terminal.width, 0)))
    return OK if comparison.gate.passed else FAILED
