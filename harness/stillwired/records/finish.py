"""The end of a run: cells become records, and the gate looks at each."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from stillwired.records.expected import Expectations
from stillwired.records.record import merge, record_path, write_record
from stillwired.records.run import Cell
from stillwired.records.session import Run

if TYPE_CHECKING:
    from stillwired.judge.gate import Gate
    from stillwired.judge.results import Verdict

Json = dict[str, Any]


@dataclass(frozen=True)
class Finished:
    """One checkpoint's part of a run.

    Attributes:
        name: Short name of the checkpoint.
        checkpoint: What the record says of it.
        profile: Name of the profile.
        seed: The suite's seed.
        published: Published value of each claim, by id.
        verdicts: Verdicts in the order of their tests.
        gate: The gate's decision, or None if the run was interrupted.
        record: The record's file, or None if none was written.
        sweeps: For each kind of sweep the cells that it computed, and those of full forwards.
    """

    name: str
    checkpoint: Json
    profile: str
    seed: int
    published: dict[str, str]
    verdicts: tuple[Verdict, ...]
    gate: Gate | None = None
    record: Path | None = None
    sweeps: dict[str, tuple[int, int]] = field(default_factory=dict)

    @classmethod
    def of(
        cls,
        data: Json,
        verdicts: Sequence[Verdict],
        *,
        name: str = "",
        gate: Gate | None = None,
        record: Path | None = None,
    ) -> Finished:
        """Take what is shown from a record, with these verdicts."""
        return cls(
            name=name or data["checkpoint"].get("name", ""),
            checkpoint=data["checkpoint"],
            profile=data["profile"],
            seed=data["seed"],
            published={k: v["published"] for k, v in data["declarations"].items()},
            verdicts=tuple(verdicts),
            sweeps=data["times"].get("sweeps", {}),
            gate=gate,
            record=record,
        )

    @property
    def reads_checkpoint(self) -> bool:
        """Whether the claims read a checkpoint, and so used the cache."""
        return self.checkpoint["spec"] is not None


def finish(
    run: Run,
    *,
    interrupted: bool = False,
) -> list[Finished]:
    """Merge a run's cells into one record per checkpoint, write them, and gate each.

    An interrupted run leaves its cells where they are, writes no record and gates nothing.

    Raises:
        RecordError: If a record cannot be written; the cells then stay in the run's folder.
    """
    cells = run.folder.cells()
    expected = None if interrupted else run.expected
    deselected = run.folder.notes("selection").get("deselected", ())
    models = run.settings.models
    found = {cell.spec for cell in cells}
    specs: list[str | None] = [spec for spec in models if spec in found]
    specs += sorted((s for s in found if s is not None and s not in models), key=str)
    specs += [None] if None in found else []
    several = max(len(models), len(specs))
    wanted = run.options.record or run.folder.path / "record.json"

    finished = []
    for spec in specs:
        record, outcomes = merge(run.folder, spec, run.facts)
        verdicts = _in_order([cell for cell in cells if cell.spec == spec])
        path = None if interrupted else record_path(wanted, run.name_of(spec), several)
        if path is not None:
            write_record(path, record, outcomes)
        gate = None
        if not interrupted:
            gate = decide(
                verdicts, strict=run.settings.strict, expected=expected, deselected=deselected
            )
        name = run.name_of(spec)
        finished.append(Finished.of(record, verdicts, name=name, gate=gate, record=path))
    if not interrupted or not cells:
        run.folder.clear()
    return finished


def decide(
    verdicts: Sequence[Verdict],
    *,
    strict: bool,
    expected: Expectations | None,
    deselected: Collection[str] = (),
) -> Gate:
    """Gate a record's verdicts, against a file of expected ones if there is one.

    Entries about cells that the user left out of the run are left out as well.
    """
    from stillwired.judge.gate import gate

    if expected is None:
        return gate(verdicts, strict=strict)
    asked = {key: cell.verdicts for key, cell in expected.cells.items() if key not in deselected}
    return gate(verdicts, strict=strict, expected=asked)


def _in_order(cells: Sequence[Cell]) -> tuple[Verdict, ...]:
    from stillwired.judge.results import Verdict

    ordered = sorted(cells, key=lambda cell: cell.order)
    return tuple(Verdict.from_json(cell.verdict) for cell in ordered)
