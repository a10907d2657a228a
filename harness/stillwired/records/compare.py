"""Two records against each other: whether they are about the same examples, and what changed.

The judge compares cell by cell. This refuses records that cannot be compared at all, and says what
holds for every cell.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from stillwired.errors import RecordError
from stillwired.records.baseline import Side
from stillwired.redraws import REFERENCE, Redraw

if TYPE_CHECKING:
    from stillwired.judge.changes import Change
    from stillwired.judge.gate import Gate
    from stillwired.judge.shifts import Pairing

Json = dict[str, Any]


@dataclass(frozen=True)
class Comparison:
    """A record compared with an older one, or with a baseline.

    Attributes:
        path: The file of the old one.
        then: What it says of its checkpoint.
        now: What the new one says of its checkpoint.
        accepted: The day on which a baseline was accepted; empty for a record.
        note: Why it was.
        remarks: What holds for every cell, a sentence each.
        changes: Every cell of either, worst first; what is only reported is left out.
        gate: What decides the exit code.
    """

    path: Path
    then: Json
    now: Json
    accepted: str
    note: str
    remarks: tuple[str, ...]
    changes: tuple[Change, ...]
    gate: Gate


def compare(
    old: Side, new: Side, *, strict: bool = False, deselected: Collection[str] = ()
) -> Comparison:
    """Compare a record with an older one, or with a baseline.

    Args:
        old: What is compared with.
        new: What is compared.
        strict: A primary cell that held and whose change is UNDECIDED fails the gate.
        deselected: Keys of cells that were left out on purpose; nothing is said of them.

    Raises:
        RecordError: If the two are not about the same examples, or a table cannot be trusted.
        ClaimError: If a declaration has no meaning to this version, or rows do not fit together.
    """
    from stillwired.judge.comparison import compare_cell
    from stillwired.judge.upgrade import severity, upgrade_gate

    data = new.data
    check_settings(old, data["profile"], data.get("layers", []), data["seed"])
    _check_texts(old, new)
    pairing, remarks = _pairing(old.data, data)
    refitted = not _fitted_alike(old.data, data)
    both = old.cells.keys() & new.cells.keys() - set(deselected)
    before, after = old.judged(both), new.judged(both)
    changes = []
    for key in {**new.cells, **old.cells}:
        then, now = before.get(key), after.get(key)
        change = compare_cell(then, now, pairing, _refits(old, new, key) if refitted else {})
        # What is only reported cannot be lost, whatever it does.
        reported = any(cell is not None and cell.claim.reported for cell in (now, then))
        if key not in deselected and (not reported or change.word == "BROKEN"):
            changes.append(change)
    return Comparison(
        path=old.path,
        then=old.data["checkpoint"],
        now=data["checkpoint"],
        accepted=old.data.get("accepted", ""),
        note=old.data.get("note", ""),
        remarks=remarks,
        changes=tuple(sorted(changes, key=severity)),
        gate=upgrade_gate(changes, strict=strict),
    )


def check_settings(old: Side, profile: str, layers: Sequence[float | int], seed: int) -> None:
    """Check that a run is set up as the one that it is to be compared with.

    Raises:
        RecordError: If profile, layers or seed differ; the message names the remedy.
    """
    written = ",".join(map(str, old.data.get("layers", [])))  # the first records lack it
    for name, then, now, option in (
        ("profile", old.data["profile"], profile, f"--claims-profile {old.data['profile']}"),
        ("seed", old.data["seed"], seed, f"--claims-seed {old.data['seed']}"),
        (
            "layers",
            written or "the profile's",
            ",".join(map(str, layers)) or "the profile's",
            f"--claims-layers {written}" if written else "no --claims-layers",
        ),
    ):
        if then != now:
            raise RecordError(
                f"{old.path} cannot be compared with: its {name} "
                f"{'are' if name == 'layers' else 'is'} {then}, and not {now}. Measure the other "
                f"with {option}, or compare with another record."
            )


def _check_texts(old: Side, new: Side) -> None:
    """Refuse records of other text or other tasks; a run that needed none has none."""
    then, now = (side.data["corpus"] for side in (old, new))
    if then and now and then["digest"] != now["digest"]:
        raise RecordError(
            f"{old.path} was measured on other text than {new.path}: {_text(then)} then, "
            f"{_text(now)} now. Give the same --claims-corpus, or compare with another record."
        )
    then, now = (side.data["tasks"] for side in (old, new))
    if then and now and then != now:
        odd = [name for name in {**then, **now} if then.get(name) != now.get(name)]
        raise RecordError(
            f"{old.path} was measured on other tasks than {new.path}: {', '.join(odd)} "
            f"{'differ' if len(odd) > 1 else 'differs'}. Give the same --claims-tasks, or compare "
            "with another record."
        )


def _text(corpus: Mapping[str, Any]) -> str:
    return f"{corpus.get('name', 'text')} (sha256 {corpus['digest'][:8]}…)"


def _pairing(old: Json, new: Json) -> tuple[Pairing, tuple[str, ...]]:
    """Say how the examples of two records belong together, and what differs besides."""
    from stillwired.judge.shifts import Pairing

    then, now = old["checkpoint"], new["checkpoint"]
    remarks = []
    redraws = [data.get("redraw", "") for data in (old, new)]
    if redraws[0] != redraws[1]:
        before, after = (label or "none" for label in redraws)
        remarks.append(f"The redraws differ: {before} then, {after} now.")
    regimes = [checkpoint.get("regime", {}) for checkpoint in (then, now)]
    if regimes[0] != regimes[1]:
        before, after = (" ".join(map(str, regime.values())) for regime in regimes)
        remarks.append(f"The regimes differ: {before} then, {after} now.")
    known = then.get("tokenizer") and now.get("tokenizer")
    same_tokens = not known or then["tokenizer"] == now["tokenizer"]
    if not same_tokens:
        remarks.append("The tokenizers differ, so that examples are not paired.")
    same_model = regimes[0] == regimes[1] and _fitted_alike(old, new)
    if same_model:
        remarks.append("Both are one checkpoint, in one regime.")
    return Pairing(same_tokens, same_model), tuple(remarks)


def _fitted_alike(old: Json, new: Json) -> bool:
    """Whether two records rest on the same fits: of one checkpoint, in one regime."""

    def fitted(data: Json) -> tuple[Any, ...]:
        redraw = Redraw.of_record(data.get("redraw", ""))
        regime = dict(data["checkpoint"].get("regime", {}))
        if redraw is not None and redraw.reference_fits:
            regime |= REFERENCE
        refit = redraw.number if redraw is not None and redraw.keeps_data else 0
        return data["checkpoint"].get("digest"), regime, refit

    return bool(fitted(old)[0]) and fitted(old) == fitted(new)


def _refits(old: Side, new: Side, key: str) -> dict[str, float]:
    """Return how much refits vary, by part; the larger figure where the records differ."""
    known = [side.data.get("refits", {}).get(key, {}) for side in (old, new)]
    return {name: max(parts.get(name, 0.0) for parts in known) for name in {**known[0], **known[1]}}
