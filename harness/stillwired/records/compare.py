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
from stillwired.records.making import differences
from stillwired.records.refits import refits_of
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
        deselected: Keys of cells that were left out on purpose; they are counted, and nothing else
            is said of them.

    Raises:
        RecordError: If the two are not about the same examples, or a table cannot be trusted.
        ClaimError: If a declaration has no meaning to this version, or rows do not fit together.
    """
    from stillwired.judge.comparison import compare_cell
    from stillwired.judge.upgrade import severity, upgrade_gate

    data = new.data
    sizes = data.get("sizes", {})
    check_settings(old, data["profile"], data.get("layers", []), data["seed"], sizes)
    _check_texts(old, new)
    pairing, remarks = _pairing(old.data, data)
    refitted = not _fitted_alike(old.data, data)
    both = old.cells.keys() & new.cells.keys() - set(deselected)
    before, after = old.judged(both), new.judged(both)
    changes = []
    for key in {**new.cells, **old.cells}:
        then, now = before.get(key), after.get(key)
        refits = refits_of(key, old.data, data) if refitted else (None, None)
        change = compare_cell(then, now, pairing, *refits)
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
        remarks=(*remarks, *_left_out(old, deselected)),
        changes=tuple(sorted(changes, key=severity)),
        gate=upgrade_gate(changes, strict=strict),
    )


def _left_out(old: Side, deselected: Collection[str]) -> list[str]:
    """Say how much of what held nobody asked for."""
    held = [
        cell for key in deselected if (cell := old.cells.get(key, {})).get("verdict") == "HOLDS"
    ]
    if not held:
        return []
    primary = sum(cell["primary"] for cell in held)
    cells, them = ("1 cell was", "it") if len(held) == 1 else (f"{len(held)} cells were", "them")
    return [
        f"Of what held, {cells} left out by a selection ({primary} primary): nothing guards {them}."
    ]


def check_settings(
    old: Side,
    profile: str,
    layers: Sequence[float | int],
    seed: int,
    sizes: Mapping[str, Any],
) -> None:
    """Check that a run is set up as the one that it is to be compared with.

    Args:
        old: What it is to be compared with.
        profile: Name of the run's profile.
        layers: Depths or block numbers that replace the profile's, or empty.
        seed: The suite's seed.
        sizes: The profile's sizes; of those that only one of the two knows nothing is said.

    Raises:
        RecordError: If profile, layers, seed or sizes differ; the message names the remedy.
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
    known = old.data.get("sizes", {})
    other = [
        f"{name} {known[name]} then and {sizes[name]} now"
        for name in known
        if name in sizes and known[name] != sizes[name]
    ]
    if other:
        raise RecordError(
            f"{old.path} cannot be compared with: the {profile} profile has other sizes by now, "
            f"{', '.join(other)}. Measure both with one version of the suite."
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
    made = differences(old.get("environment"), new.get("environment"))
    if made:
        remarks.append(f"Measured otherwise: {', '.join(map(str, made))}.")
    one_model = regimes[0] == regimes[1] and _fits_of_one(old, new)
    if one_model and made:
        remarks.append("Both are one checkpoint, in one regime: what changed is not its doing.")
    elif one_model:
        remarks.append("Both are one checkpoint, in one regime.")
    elif made:
        remarks.append("What changed may come from that, and not from the checkpoint.")
    return Pairing(same_tokens, one_model and not made), tuple(remarks)


def _fitted_alike(old: Json, new: Json) -> bool:
    """Whether two records rest on the same fits: of one checkpoint, in one regime, made alike.

    Trained by other code or another library, or on another machine, a prompt is another one.
    """
    alike = not differences(old.get("environment"), new.get("environment"))
    return alike and _fits_of_one(old, new)


def _fits_of_one(old: Json, new: Json) -> bool:
    """Whether two records ask for the fits of one checkpoint, in one regime."""

    def fitted(data: Json) -> tuple[Any, ...]:
        redraw = Redraw.of_record(data.get("redraw", ""))
        regime = dict(data["checkpoint"].get("regime", {}))
        if redraw is not None and redraw.reference_fits:
            regime |= REFERENCE
        refit = redraw.number if redraw is not None and redraw.keeps_data else 0
        return data["checkpoint"].get("digest"), regime, refit

    return bool(fitted(old)[0]) and fitted(old) == fitted(new)
