"""``stillwired report``: a page from one or more records, without a model."""

from __future__ import annotations

import argparse
from pathlib import Path

from stillwired.commands.common import OK, Commands

_MORE = (
    "One HTML file that needs nothing else: the verdicts, then every claim with its sentence, its "
    "figures and their intervals, what stands beside it, the curves, and how to measure it again. "
    "`pytest claims/ --claims-report FILE.html` writes it at the end of a run."
)


def add(commands: Commands) -> None:
    """Add the command and its options."""
    report = commands.add("report", run, "show records as a page", _MORE)
    report.add_argument("records", type=Path, nargs="+", metavar="RECORD.json")
    report.add_argument(
        "--out", type=Path, required=True, metavar="FILE.html", help="where the page goes"
    )
    report.add_argument(
        "--expected",
        type=Path,
        metavar="FILE.json",
        help="verdicts that are known and accepted; of one record",
    )
    report.add_argument(
        "--baseline",
        type=Path,
        metavar="RECORD.json",
        help="a record or a baseline that each of them is compared with",
    )
    report.add_argument(
        "--strict",
        action="store_true",
        help="an INCONCLUSIVE primary cell fails the gate too, or an UNDECIDED change",
    )


def run(arguments: argparse.Namespace) -> int:
    """Write the page, and name its file."""
    from stillwired.errors import UsageError
    from stillwired.records.baseline import read_side
    from stillwired.records.expected import read_expected
    from stillwired.report.claims_page import claims_page
    from stillwired.report.html import require_place, write_page
    from stillwired.report.shown import read_shown

    require_place(arguments.out)
    baseline = read_side(arguments.baseline) if arguments.baseline else None
    expected = read_expected(arguments.expected) if arguments.expected else None
    if expected is not None and len(arguments.records) > 1:
        raise UsageError("--expected is about one record. Name one, or leave the option out.")
    if expected is not None and baseline is not None:
        raise UsageError("--expected and --baseline both decide the gate. Give one of them.")
    shown = [
        read_shown(path, expected=expected, baseline=baseline, strict=arguments.strict, draw=True)
        for path in arguments.records
    ]
    write_page(arguments.out, claims_page(shown))
    print(f"report: {arguments.out}")
    return OK
