"""The end of a run of mutants: its records become matrices, and these decide."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from stillwired.errors import UsageError
from stillwired.mutants.catalogue import split_spec
from stillwired.options import RunOptions
from stillwired.records.finish import Finished
from stillwired.records.matrix import Matrix, matrices, matrix_path, write_matrix
from stillwired.records.survivors import Decision, Survivors, decide, read_survivors


@dataclass(frozen=True)
class Trial:
    """One checkpoint's claims, held against mutants.

    Attributes:
        matrix: What each mutant made of each claim.
        decision: What that comes to.
        path: Where the matrix was written.
        survivors: What may be left standing, or None.
    """

    matrix: Matrix
    decision: Decision
    path: Path
    survivors: Survivors | None = None


def check_survivors(options: RunOptions) -> Survivors | None:
    """Read a run's file of known survivors, and check what can be checked without a model.

    Raises:
        RecordError: If it cannot be read, or is about another profile.
        UsageError: If the run has several checkpoints.
    """
    if options.survivors is None:
        return None
    survivors = read_survivors(options.survivors)
    sound = sound_specs(options)
    if len(sound) > 1:
        raise UsageError(
            f"--claims-survivors is about one checkpoint, and --claims-model names {len(sound)}. "
            "Run them one by one."
        )
    survivors.check(survivors.checkpoint, options.settings.profile.name)
    return survivors


def sound_specs(options: RunOptions) -> list[str]:
    """Return the undamaged checkpoints of a run."""
    return [spec for spec in options.settings.models if split_spec(spec)[1] is None]


def try_claims(options: RunOptions, finished: Sequence[Finished]) -> list[Trial]:
    """Put the records of a run of mutants together, and write and judge each matrix.

    Args:
        options: The run's options.
        finished: What became of each checkpoint, damaged ones included.

    Raises:
        RecordError: If a record cannot be read, or a matrix cannot be written.
    """
    paths = [one.record for one in finished if one.record is not None]
    survivors = check_survivors(options)
    found = []
    for matrix in matrices(paths):
        path = matrix_path(matrix.record)
        write_matrix(path, matrix)
        found.append(Trial(matrix, decide(matrix, survivors), path, survivors))
    return found
