"""``stillwired curves``: draw the pictures of a record again, without a model."""

from __future__ import annotations

import argparse
from pathlib import Path

from stillwired.commands.common import OK, Commands

_MORE = (
    "`pytest claims/` leaves these pictures beside its record; this draws them once more, as far "
    "as the record has them. Future Lens, for each N: future-lens-N1.svg and so on, how often "
    "each reader finds what the model says N tokens after the next one, by relative depth of the "
    "state that it reads, with 95 % intervals, beside the published curves of GPT-J-6B. Function "
    "vectors: function-vectors-heads.svg, which heads carry tasks; function-vectors-depth.svg, "
    "what vectors do by the depth at which they are inserted; function-vectors-templates.svg, "
    "from one format of prompts to another; function-vectors-attention-present-past.svg, where "
    "the heads look. Works without a model, from the record and the table of outcomes beside it."
)


def add(commands: Commands) -> None:
    """Add the command and its options."""
    curves = commands.add("curves", run, "draw a record's curves and maps again", _MORE)
    curves.add_argument("record", type=Path, metavar="RECORD.json")
    where = "where the pictures go, made if need be (default: the record's own folder)"
    curves.add_argument("--out", type=Path, metavar="FOLDER", help=where)


def run(arguments: argparse.Namespace) -> int:
    """Draw the pictures, and name their files."""
    from stillwired.report.curves_files import draw_again

    for path in draw_again(arguments.record, arguments.out):
        print(f"curves: {path}")
    return OK
