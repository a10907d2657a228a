"""Judge a record again, from its declarations and outcomes alone."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

from stillwired.records.evidence import evidence_from_json, read_table
from stillwired.records.record import outcomes_path, read_record

if TYPE_CHECKING:
    from stillwired.judge.results import Verdict

# Another machine's arithmetic may differ in the last digits; a changed verdict never hides there.
TOLERANCE = 1e-9


def rejudge(path: Path) -> list[tuple[Verdict, Verdict]]:
    """Derive every verdict of a record anew, without its claims' code or its model.

    Returns:
        Pairs (stored, derived), in the record's order.

    Raises:
        RecordError: If the record or its table is missing, damaged or was edited.
        ClaimError: If a declaration has no meaning to this version.
    """
    from stillwired.judge.claims import Claim
    from stillwired.judge.results import Verdict
    from stillwired.judge.verdicts import judge_cell

    record = read_record(path)
    outcomes = read_table(outcomes_path(path), record.data["outcomes"])
    claims = {name: Claim.from_json(data) for name, data in record.data["declarations"].items()}
    pairs = []
    for data in record.data["verdicts"]:
        evidence = evidence_from_json(data["evidence"], outcomes)
        stored = Verdict.from_json(data)
        # Which cell is primary depends on the cells that its run had, the ones left out included.
        derived = judge_cell(claims[stored.claim], evidence, stored.params, stored.primary)
        pairs.append((stored, derived))
    return pairs


def same(stored: Verdict, derived: Verdict) -> bool:
    """Whether two verdicts agree in every word, and in every number up to rounding."""
    return _same(stored.to_json(), derived.to_json())


def _same(a: Any, b: Any) -> bool:
    if isinstance(a, dict) and isinstance(b, dict):
        return a.keys() == b.keys() and all(_same(a[key], b[key]) for key in a)
    if isinstance(a, list | tuple) and isinstance(b, list | tuple):
        return len(a) == len(b) and all(_same(x, y) for x, y in zip(a, b, strict=True))
    if isinstance(a, float) and isinstance(b, float):
        return math.isclose(a, b, rel_tol=TOLERANCE, abs_tol=TOLERANCE)
    return bool(a == b)
