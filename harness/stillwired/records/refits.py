"""How much a claim's contrast varies when what it rests on is fitted again.

Two checkpoints are fitted apart, so that a comparison has to know. The standard deviations are
measured once, by ``benchmarks/refit_variance.py``, and lie beside the claims in ``refits.json``;
without such a file none is known. They are of one checkpoint and one profile, and stand in for
every other. So does, for a cell that was not measured, the largest one among its claim's cells.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from stillwired.errors import RecordError
from stillwired.records.files import read_json

FILE = "refits.json"

Json = dict[str, Any]


@dataclass
class _Measured:
    """What files say.

    Attributes:
        cells: The standard deviation of every part, by claim and by its parameters as text.
        lacking: Parameters of cells that are fitted and were not measured, by claim.
    """

    cells: dict[str, dict[str, dict[str, float]]] = field(default_factory=dict)
    lacking: dict[str, list[Json]] = field(default_factory=dict)


def read_refits(
    folders: Iterable[Path], cells: Mapping[str, tuple[str, Mapping[str, Any]]]
) -> dict[str, Json]:
    """Return what a record keeps of some cells, by cell key.

    That is the standard deviation of every part; ``{"sd": 0.06, "of": "task=antonym"}`` where it
    is another cell's; and nothing at all for a cell that is fitted and was never measured. A cell
    that is not fitted has no entry.

    Args:
        folders: Folders of claims.
        cells: Claim id and parameters of the cells asked for, by key.

    Raises:
        RecordError: If a file is not of the form that the benchmark writes.
    """
    known = _Measured()
    for folder in sorted(set(folders)):
        path = folder / FILE
        if path.is_file():
            _read(path, known)
    found = {key: _entry(known, claim, params) for key, (claim, params) in cells.items()}
    return {key: entry for key, entry in found.items() if entry is not None}


def refits_of(key: str, *records: Mapping[str, Any]) -> tuple[Json | None, dict[str, str]]:
    """Return what two records know of a cell together.

    Args:
        key: The cell.
        records: The records.

    Returns:
        The standard deviation of every part, the largest where they differ, but a cell's own before
        another's; None if it is not fitted. And, by part, the other cell that it was measured in.
    """
    entries = [data["refits"][key] for data in records if key in data.get("refits", {})]
    if not entries:
        return None, {}
    kept: dict[str, tuple[bool, float, str]] = {}
    for name, value in (item for entry in entries for item in entry.items()):
        own = not isinstance(value, Mapping)
        one = (True, value, "") if own else (False, value["sd"], value["of"])
        kept[name] = max(kept.get(name, one), one)
    return (
        {name: sd for name, (_, sd, _) in kept.items()},
        {name: where for name, (own, _, where) in kept.items() if not own},
    )


def _entry(known: _Measured, claim: str, params: Mapping[str, Any]) -> Json | None:
    # Whatever the order in which a test lists its parameters.
    given = {f"{name}={value}" for name, value in params.items()}
    cells = known.cells.get(claim, {})
    own: Json = next((parts for where, parts in cells.items() if _params(where) == given), {})
    largest: dict[str, tuple[float, str]] = {}
    for where, parts in cells.items():
        for name, sd in parts.items():
            largest[name] = max(largest.get(name, (sd, where)), (sd, where))
    borrowed = {name: {"sd": sd, "of": where} for name, (sd, where) in largest.items()}
    if cells:
        return borrowed | own
    fitted = any(one.items() <= params.items() for one in known.lacking.get(claim, ()))
    return {} if fitted else None


def _params(where: str) -> set[str]:
    return set(where.split(", ")) if where != "-" else set()


def _read(path: Path, known: _Measured) -> None:
    """Add what one file says."""
    from stillwired.judge.shifts import FEWEST_REFITS

    data = read_json(path, "file of refits")
    try:
        # A file that is still being measured is not there yet.
        if data["restarts"] < FEWEST_REFITS:
            return
        for claim, cells in data["claims"].items():
            known.cells[claim] = {
                where: {name: float(part["sd"]) for name, part in parts.items()}
                for where, parts in cells.items()
            }
        for claim, lacking in data.get("unmeasured", {}).items():
            known.lacking[claim] = [dict(params) for params in lacking]
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise RecordError(
            f"{path} is not of the form that benchmarks/refit_variance.py writes "
            f"({type(error).__name__}: {error}). Measure it again, or remove it."
        ) from error
