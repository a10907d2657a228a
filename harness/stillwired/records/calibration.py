"""A calibration's runs: which there are, what each is held against, and which are done already.

One run judges a checkpoint as usual and is the reference. Every other judges the same checkpoint
again where nothing that matters has changed, so that whatever a claim loses there is a false alarm.
"""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from stillwired.errors import RecordError, UsageError
from stillwired.records.evidence import read_table
from stillwired.records.files import read_json, write_json
from stillwired.records.outline import outdated
from stillwired.records.record import Record, outcomes_path, read_record
from stillwired.redraws import REFERENCE

Json = dict[str, Any]

REFERENCE_RUN = "reference"
RECORDS, LOGS = "records", "logs"
ASKED, OUTLINE = "asked.json", "outline.json"


@dataclass(frozen=True)
class Kind:
    """A harmless condition.

    Attributes:
        name: How it is called.
        says: What is different.
        redraw: Label of its redraws, with a place for the number.
        regime: What its regime differs in.
        against: The kind whose run of the same number it is held against, on the same examples;
            or the reference.
        new_data: Whether it judges other examples than that.
    """

    name: str
    says: str
    redraw: str
    regime: Mapping[str, str]
    against: str = REFERENCE_RUN
    new_data: bool = False


_KINDS = (
    Kind("seed", "other passages, questions and shots", "seed-{}", {}, new_data=True),
    Kind(
        "documents",
        "passages of other documents, where domains have some left",
        "documents-{}",
        {},
        new_data=True,
    ),
    Kind("batches", "batches of half the size", "batches-{}", {}, against="seed"),
    Kind("bf16", "bfloat16", "seed-{}+reference-fits", {"dtype": "bfloat16"}, against="seed"),
    Kind("sdpa", "sdpa attention", "seed-{}+reference-fits", {"attention": "sdpa"}, against="seed"),
    Kind("refit", "trained and chosen again, judged on the same data", "refit-{}", {}),
)
KINDS: dict[str, Kind] = {kind.name: kind for kind in _KINDS}
"""By name. A refit is no redraw of judged data: of those there are as many as are asked for."""


@dataclass(frozen=True)
class Planned:
    """One run.

    Attributes:
        kind: A key of :data:`KINDS`; empty for the reference.
        number: Which of its kind, from 1 on.
    """

    kind: str = ""
    number: int = 0

    @property
    def name(self) -> str:
        """How files and reports call it."""
        return f"{self.kind}-{self.number}" if self.kind else REFERENCE_RUN

    @property
    def against(self) -> str:
        """Name of the run that it is held against."""
        against = KINDS[self.kind].against
        return against if against == REFERENCE_RUN else Planned(against, self.number).name

    @property
    def draw(self) -> str:
        """What it judges: runs of one draw judge the same examples."""
        held = KINDS[self.kind].against
        return self.name if held == REFERENCE_RUN else Planned(held, self.number).name

    @property
    def redraw(self) -> str:
        """Label of its redraw; empty for the reference."""
        return KINDS[self.kind].redraw.format(self.number) if self.kind else ""

    @property
    def regime(self) -> dict[str, str]:
        """Its dtype and attention kernel."""
        return REFERENCE | dict(KINDS[self.kind].regime if self.kind else {})

    def options(self) -> list[str]:
        """What pytest is told, besides what all runs have in common."""
        regime = KINDS[self.kind].regime if self.kind else {}
        told = [word for name, value in regime.items() for word in (f"--claims-{name}", value)]
        return [*told, "--claims-redraw", self.redraw] if self.redraw else told


def plan(kinds: Sequence[str], redraws: int, refits: int) -> tuple[Planned, ...]:
    """List the runs in the order in which they are done.

    Refits take longest and go first, so that none is left alone at the end where several runs go
    side by side. All kinds of one number follow each other, so that a calibration that is broken
    off has as much of each.

    Args:
        kinds: Kinds of redraws; those that another one is held against are added.
        redraws: How many of each.
        refits: How many refits.

    Raises:
        UsageError: If there is no such kind, or nothing to be done.
    """
    known = [name for name in KINDS if name != "refit"]
    for name in kinds:
        if name not in known:
            raise UsageError(
                f"There is no kind of redraw {name!r}. Choose among: {', '.join(known)}."
            )
    if min(redraws, refits) < 0 or (redraws, refits) == (0, 0) or not (kinds or refits):
        raise UsageError("Nothing is left to calibrate with. Ask for a redraw or a refit at least.")
    wanted = {*kinds, *(KINDS[name].against for name in kinds)}
    asked = [name for name in known if name in wanted]
    refitted = [Planned("refit", number) for number in range(1, refits + 1)]
    redrawn = [Planned(name, number) for number in range(1, redraws + 1) for name in asked]
    return (Planned(), *refitted, *redrawn)


def place(folder: Path, run: Planned) -> Path:
    """Return the file of a run's record."""
    return folder / RECORDS / f"{run.name}.json"


def keep_asked(folder: Path, arguments: Sequence[str]) -> None:
    """Note which claims and options of pytest a calibration's runs are given.

    Raises:
        RecordError: If those that are there were given others, or the folder cannot be written.
    """
    path = folder / ASKED
    if path.exists() and any((folder / RECORDS).glob("*.json")):
        asked = read_json(path, "note of a calibration")
        if asked != [*arguments]:
            raise RecordError(
                f"The records in {folder} are of runs of pytest {_typed(asked)}, and not "
                f"{_typed(arguments)}. Name another folder with --out, or ask for the same."
            )
        return
    write_json(path, [*arguments])


def _typed(arguments: Iterable[str]) -> str:
    return shlex.join(map(str, arguments))


def find_record(folder: Path, run: Planned, *, model: str, profile: str) -> Record | None:
    """Return a run's record if it is there and intact.

    Args:
        folder: The calibration's folder.
        run: The run.
        model: Spec of the checkpoint.
        profile: Name of the profile.

    Raises:
        RecordError: If the file is the record of something else, which must not be replaced.
    """
    path = place(folder, run)
    try:
        record = read_record(path)
        read_table(outcomes_path(path), record.data["outcomes"])
    except RecordError:
        return None
    data = record.data
    regime = data["checkpoint"].get("regime", {})
    for what, found, wanted in (
        ("checkpoint", data["checkpoint"]["spec"], model),
        ("profile", data["profile"], profile),
        ("redraw", data.get("redraw", ""), run.redraw),
        ("seed", data["seed"], 0),
        *((name, regime.get(name), value) for name, value in run.regime.items()),
    ):
        if found != wanted:
            raise RecordError(
                f"{path} is of another calibration: its {what} is {found or 'none'}, and not "
                f"{wanted or 'none'}. Name another folder with --out."
            )
    return record


def stale(record: Record, outline: Json, reference: Record | None) -> str:
    """Say why a record does not count: what has changed since it was made; empty if it counts.

    Args:
        record: A run's record.
        outline: What the runs judge now.
        reference: The reference's record, or None if that is the run.
    """
    why = outdated(record, outline)
    if reference is None or why:
        return why
    # What is built in is digested as it is read; a run whose claims need none has read none.
    pairs = {key: (record.data[key], reference.data[key]) for key in ("corpus", "tasks")}
    odd = [key for key, (one, other) in pairs.items() if None not in (one, other) and one != other]
    return f"{' and '.join(odd)}, which the reference has otherwise" if odd else ""


def time_left(todo: Iterable[Planned], took: Mapping[str, Sequence[float]]) -> float | None:
    """Estimate how long the runs that are left will take, in seconds.

    Args:
        todo: The runs that are left.
        took: Seconds that finished runs took, by kind; the reference's under an empty name.

    Returns:
        The estimate; None as long as no run of a kind has finished. A kind of which none has counts
        like the mean of the others. The reference, which fits as well, counts for itself alone.
    """
    known = {kind: sum(s) / len(s) for kind, s in took.items() if kind and s}
    if not known:
        return None
    usual = sum(known.values()) / len(known)
    return sum(known.get(run.kind, usual) for run in todo)
