"""``stillwired mutants``: the matrix of claims and mutants again, from the records of a run."""

from __future__ import annotations

import argparse
from pathlib import Path

from stillwired.commands.common import FAILED, OK, Commands, page, show


def add(commands: Commands) -> None:
    """Add the command and its options."""
    mutants = commands.add(
        "mutants",
        run,
        "show which mutants each claim fails under",
        "`pytest claims/ --claims-mutants` leaves a record of the undamaged checkpoint and one "
        "for each mutant; this puts them together again, without a model. The exit code is 0 if "
        "every claim fails under the mutant that it names and every damaged instrument is "
        "noticed, but for the known survivors, and if each of these survives still.",
    )
    mutants.add_argument("records", type=Path, nargs="+", metavar="RECORD.json")
    mutants.add_argument(
        "--survivors",
        type=Path,
        metavar="FILE.json",
        help="claims and mutants that may be left standing, with the reasons",
    )


def run(arguments: argparse.Namespace) -> int:
    """Show a matrix for each undamaged checkpoint."""
    from stillwired.errors import RecordError
    from stillwired.records.matrix import matrices
    from stillwired.records.survivors import decide, read_survivors
    from stillwired.report.matrix import matrix_lines

    survivors = read_survivors(arguments.survivors) if arguments.survivors else None
    found = matrices(arguments.records)
    if not found:
        raise RecordError("None of these records is of a damaged checkpoint. Name those as well.")
    passed = True
    for matrix in found:
        if survivors is not None:
            survivors.check(matrix.checkpoint, matrix.profile)
        decision = decide(matrix, survivors)
        show(matrix_lines(matrix, decision, page(), survivors))
        passed = passed and decision.passed
    return OK if passed else FAILED
