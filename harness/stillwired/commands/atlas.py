"""``stillwired atlas``: claims by checkpoints on one page, without a model."""

from __future__ import annotations

import argparse
from pathlib import Path

from stillwired.commands.common import OK, Commands

_MORE = (
    "One HTML file that needs nothing else. Each record is a column and each claim a row: the "
    "verdict of its primary cell with estimate and interval, the other cells on demand. Records "
    "of different profiles or texts are shown as well; the page says where they differ."
)


def add(commands: Commands) -> None:
    """Add the command and its options."""
    atlas = commands.add("atlas", run, "show which claim holds on which checkpoint", _MORE)
    atlas.add_argument("records", type=Path, nargs="+", metavar="RECORD.json")
    atlas.add_argument(
        "--out", type=Path, required=True, metavar="FILE.html", help="where the page goes"
    )


def run(arguments: argparse.Namespace) -> int:
    """Write the page, and name its file."""
    from stillwired.report.atlas import atlas
    from stillwired.report.html import require_place, write_page
    from stillwired.report.shown import read_shown

    require_place(arguments.out)
    write_page(arguments.out, atlas([read_shown(path) for path in arguments.records]))
    print(f"atlas: {arguments.out}")
    return OK
