"""``stillwired judge``: derive the verdicts of a record again, without a model."""

from __future__ import annotations

import argparse
import time
from pathlib import Path

from stillwired.commands.common import FAILED, OK, Commands, page, show


def add(commands: Commands) -> None:
    """Add the command and its options."""
    judge = commands.add(
        "judge",
        run,
        "derive every verdict of a record again",
        "Works from the record and the table of outcomes beside it: no model, no claim code. "
        "The exit code is 0 if every verdict is the stored one and the gate passes.",
    )
    judge.add_argument("record", type=Path, metavar="RECORD.json")
    judge.add_argument(
        "--expected", type=Path, metavar="FILE.json", help="verdicts that are known and accepted"
    )
    judge.add_argument(
        "--strict", action="store_true", help="an INCONCLUSIVE primary cell fails too"
    )


def run(arguments: argparse.Namespace) -> int:
    """Show the verdicts, and where they differ from the record's; the gate decides the rest."""
    from stillwired.records.expected import read_expected
    from stillwired.records.finish import Finished, decide
    from stillwired.records.record import read_record
    from stillwired.records.rejudge import rejudge, same
    from stillwired.report.summary import summary
    from stillwired.report.text import to_ascii

    started = time.monotonic()
    record = read_record(arguments.record)
    expected = read_expected(arguments.expected) if arguments.expected else None
    if expected is not None:
        expected.check([""], record.data["profile"])
        expected.check_checkpoint(record.data["checkpoint"].get("name") or "")
    pairs = rejudge(arguments.record)
    derived = tuple(verdict for _, verdict in pairs)
    finished = Finished.of(
        record.data,
        derived,
        gate=decide(
            derived,
            strict=arguments.strict,
            expected=expected,
            shard=record.data.get("shard"),
        ),
        record=arguments.record,
    )
    terminal = page()
    seconds = time.monotonic() - started
    show(summary(finished, terminal, expected=expected, seconds=seconds))
    changed = [(old, new) for old, new in pairs if not same(old, new)]
    for old, new in changed:
        text = f"{old.key}: the record says {old.verdict}, its outcomes say {new.verdict}"
        more = "" if old.verdict != new.verdict else ", with other figures"
        print(to_ascii(text + more) if terminal.ascii_only else text + more)
    share = f"{len(changed)} of {len(pairs)} differ from" if changed else "all agree with"
    print(f"judged again from the outcomes: {share} the record")
    assert finished.gate is not None
    return FAILED if changed or not finished.gate.passed else OK
