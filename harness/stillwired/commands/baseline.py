"""``stillwired baseline accept``: make a record what later ones are compared with."""

from __future__ import annotations

import argparse
import time
from pathlib import Path

from stillwired.commands.common import OK, Commands


def add(commands: Commands) -> None:
    """Add the command and its options."""
    baseline = commands.add(
        "baseline",
        run,
        "accept a record as the one that later records are compared with",
        "The baseline is a JSON file to be read in review, and a small table of the outcomes that "
        "a comparison needs beside it: keep both under version control. --claims-baseline and "
        "`stillwired diff` compare with it.",
    )
    accept = baseline.add_subparsers(dest="action", metavar="ACTION", required=True).add_parser(
        "accept", help="write the baseline of a record", description="Write a record's baseline."
    )
    accept.add_argument("record", type=Path, metavar="RECORD.json")
    accept.add_argument(
        "--out",
        type=Path,
        metavar="FILE.json",
        help="where it goes (default: ci/baselines/<model>-<profile>.json)",
    )
    accept.add_argument("--note", default="", metavar="TEXT", help="why it is accepted")
    accept.add_argument("--force", action="store_true", help="replace a baseline that is there")


def run(arguments: argparse.Namespace) -> int:
    """Write the baseline, and say where."""
    from stillwired.records.baseline import accept, default_place, read_finished

    record = read_finished(arguments.record)
    out = arguments.out or default_place(record)
    date = time.strftime("%Y-%m-%d", time.gmtime())
    accepted = accept(record, out, note=arguments.note, date=date, force=arguments.force)
    held = sum(cell["verdict"] == "HOLDS" for cell in accepted["cells"])
    print(f"baseline: {out}  ({len(accepted['cells'])} cells, {held} hold)")
    return OK
