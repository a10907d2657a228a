"""How much a claim's contrast varies when what it rests on is fitted again.

Two checkpoints are fitted apart, so that a comparison has to know. The standard deviations are
measured once, by ``benchmarks/refit_variance.py``, and lie beside the claims in ``refits.json``;
without such a file none is known. They are of one checkpoint and one profile, and stand in for
every other.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from stillwired.errors import RecordError
from stillwired.records.files import read_json

FILE = "refits.json"
Refits = dict[str, dict[str, float]]


def read_refits(
    folders: Iterable[Path], cells: Mapping[str, tuple[str, Mapping[str, Any]]]
) -> Refits:
    """Return what is known of some cells: by cell key, the standard deviation of every part.

    Args:
        folders: Folders of claims.
        cells: Claim id and parameters of the cells asked for, by key.

    Raises:
        RecordError: If a file is not of the form that the benchmark writes.
    """
    measured: dict[tuple[str, frozenset[str]], dict[str, float]] = {}
    for folder in sorted(set(folders)):
        path = folder / FILE
        if path.is_file():
            measured |= _read(path)
    found = {
        # Whatever the order in which a test lists its parameters.
        key: measured.get((claim, frozenset(f"{k}={v}" for k, v in params.items())))
        for key, (claim, params) in cells.items()
    }
    return {key: parts for key, parts in found.items() if parts}


def _read(path: Path) -> dict[tuple[str, frozenset[str]], dict[str, float]]:
    """Read one file: the standard deviations by part, for every claim and its parameters."""
    from stillwired.judge.shifts import FEWEST_REFITS

    data = read_json(path, "file of refits")
    try:
        # A file that is still being measured is not there yet.
        if data["restarts"] < FEWEST_REFITS:
            return {}
        return {
            (claim, frozenset(where.split(", ") if where != "-" else ())): {
                name: float(part["sd"]) for name, part in parts.items()
            }
            for claim, cells in data["claims"].items()
            for where, parts in cells.items()
        }
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise RecordError(
            f"{path} is not of the form that benchmarks/refit_variance.py writes "
            f"({type(error).__name__}: {error}). Measure it again, or remove it."
        ) from error
