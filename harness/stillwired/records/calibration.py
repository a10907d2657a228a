"""A calibration's runs: which there are, what each is held against, and which are done already.

One run judges a checkpoint as usual and is the reference. Every other judges the same checkpoint
again where nothing that matters has changed, so that whatever a claim loses there is a false alarm.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from stillwired.errors import RecordError, UsageError
from stillwired.records.evidence import read_table
from stillwired.records.record import Record, outcomes_path, read_record
from stillwired.records.run import environment
from stillwired.redraws import REFERENCE

REFERENCE_RUN = "reference"
RECORDS, LOGS = "records", "logs"


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

    All kinds of one number follow each other, so that a calibration that is broken off has as much
    of each.

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
    runs = [Planned(name, number) for number in range(1, redraws + 1) for name in asked]
    runs += [Planned("refit", number) for number in range(1, refits + 1)]
    return (Planned(), *runs)


def place(folder: Path, run: Planned) -> Path:
    """Return the file of a run's record."""
    return folder / RECORDS / f"{run.name}.json"


def find_done(
    folder: Path, run: Planned, *, model: str, profile: str, reference: Record | None
) -> Record | None:
    """Return a run's record if it is there, intact, and still what would be measured now.

    Args:
        folder: The calibration's folder.
        run: The run.
        model: Spec of the checkpoint.
        profile: Name of the profile.
        reference: The reference's record, or None if that is the run.

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
    return record if _is_current(record, reference) else None


def _is_current(record: Record, reference: Record | None) -> bool:
    """Whether a record was measured by what is installed, on what the reference is about."""
    data = record.data
    if data["environment"]["packages"] != environment()["packages"]:
        return False
    if reference is None:
        return True
    declared = reference.data["declarations"]
    return (
        data["checkpoint"]["digest"] == reference.data["checkpoint"]["digest"]
        and data["corpus"] == reference.data["corpus"]
        and data["tasks"] == reference.data["tasks"]
        and all(declared.get(name) == about for name, about in data["declarations"].items())
    )


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
