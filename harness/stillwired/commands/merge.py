"""``stillwired merge``: the records of a run's shards as one, and what the gate says of it."""

from __future__ import annotations

import argparse
import os
from pathlib import Path

from stillwired.commands.common import FAILED, OK, Commands, page, show

_MORE = (
    "`pytest --claims-shard 2/4` judges one part of the claims and does not gate. This checks that "
    "the records are of one run, that none is missing and that no cell was judged in two ways, "
    "writes the record that the undivided run would have left, and gates it as that one would be."
)


def add(commands: Commands) -> None:
    """Add the command and its options."""
    merge = commands.add("merge", run, "put the records of a run's shards together", _MORE)
    option = merge.add_argument
    option("records", type=Path, nargs="+", metavar="RECORD.json")
    option(
        "--out",
        type=Path,
        required=True,
        metavar="FILE.json",
        help="where the record goes; outcomes and pictures go beside it",
    )
    option(
        "--partial",
        action="store_true",
        help="merge although shards are missing; the result is a part itself and does not gate",
    )
    option(
        "--expected", type=Path, metavar="FILE.json", help="verdicts that are known and accepted"
    )
    option(
        "--baseline",
        type=Path,
        metavar="RECORD.json",
        help="a record or a baseline to compare with; what held before then decides",
    )
    option(
        "--strict",
        action="store_true",
        help="an INCONCLUSIVE primary cell fails too, or an UNDECIDED change",
    )


def run(arguments: argparse.Namespace) -> int:
    """Merge, write, show the verdicts, and let the gate decide."""
    from stillwired.errors import UsageError
    from stillwired.records.baseline import read_side
    from stillwired.records.expected import read_expected
    from stillwired.records.merging import merge_records, require_place
    from stillwired.records.record import write_record
    from stillwired.report.curves_files import draw_beside
    from stillwired.report.shown import read_shown
    from stillwired.report.summary import summary
    from stillwired.report.text import wrap

    out = arguments.out
    require_place(out, arguments.records)
    if arguments.baseline and (arguments.expected or arguments.partial):
        raise UsageError(
            "--baseline goes with neither --expected nor --partial: one of them decides the exit "
            "code, and a part of a run has lost whatever is not in it. Leave it out."
        )
    baseline = read_side(arguments.baseline) if arguments.baseline else None
    expected = read_expected(arguments.expected) if arguments.expected else None
    merged = merge_records(arguments.records, partial=arguments.partial)
    write_record(out, merged.record, merged.outcomes)
    shown = read_shown(out, expected=expected, baseline=baseline, strict=arguments.strict)
    terminal = page()
    show(
        summary(
            shown.finished,
            terminal,
            expected=expected,
            seconds=merged.record["times"]["seconds"],
            drawn=draw_beside(out),
        )
    )
    remarks = [
        f"Shard {part} did not judge all of its claims: an error kept some from it, or -x stopped "
        "it early."
        for part in merged.incomplete
    ]
    for remark in remarks:
        show(terminal.plain(wrap(remark, terminal.width, 0)))
    place = os.environ.get("GITHUB_STEP_SUMMARY")
    if place:
        from stillwired.report.github import append_summary, job_summary, room_in

        summary_file = Path(place)
        append_summary(summary_file, job_summary([shown], remarks, room=room_in(summary_file)))
    gate = shown.finished.gate
    assert gate is not None
    return OK if gate.passed and not remarks else FAILED
