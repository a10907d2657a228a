"""The end of a run: cells become records, and the gate looks at each."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from stillwired.errors import StillwiredError
from stillwired.records.baseline import Side
from stillwired.records.expected import Expectations
from stillwired.records.record import merge, record_path, write_record
from stillwired.records.run import Cell
from stillwired.records.session import Run

if TYPE_CHECKING:
    from stillwired.judge.gate import Gate
    from stillwired.judge.results import Verdict
    from stillwired.records.compare import Comparison

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
        spent: Seconds of the run up to the last verdict, by kind of work.
        comparison: What became of the cells of the baseline, which then decides the gate; None
            without one.
        redraw: Label of what was drawn or fitted otherwise, or empty.
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
    spent: dict[str, float] = field(default_factory=dict)
    comparison: Comparison | None = None
    redraw: str = ""

    @classmethod
    def of(
        cls,
        data: Json,
        verdicts: Sequence[Verdict],
        *,
        name: str = "",
        gate: Gate | None = None,
        record: Path | None = None,
        comparison: Comparison | None = None,
    ) -> Finished:
        """Take what is shown from a record, with these verdicts."""
        return cls(
            name=name or data["checkpoint"].get("name", ""),
            checkpoint=data["checkpoint"],
            profile=data["profile"],
            seed=data["seed"],
            redraw=data.get("redraw", ""),
            published={k: v["published"] for k, v in data["declarations"].items()},
            verdicts=tuple(verdicts),
            sweeps=data["times"].get("sweeps", {}),
            spent=data["times"].get("spent", {}),
            gate=gate,
            record=record,
            comparison=comparison,
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
        record, outcomes = merge(run.folder, spec, run.facts, cells)
        verdicts = _in_order([cell for cell in cells if cell.spec == spec])
        path = None if interrupted else record_path(wanted, run.name_of(spec), several)
        if path is not None:
            write_record(path, record, outcomes)
        gate, comparison = None, None
        if not interrupted and not run.options.mutants:
            gate = decide(
                verdicts,
                strict=run.settings.strict,
                expected=expected,
                deselected=deselected,
                shard=record.get("shard"),
            )
        if path is not None and run.baseline is not None and spec == _counterpart(run, specs):
            new = Side.of_record(path, record, outcomes)
            gate, comparison = _compared(run.baseline, new, run.settings.strict, deselected)
        name = run.name_of(spec)
        finished.append(
            Finished.of(record, verdicts, name=name, gate=gate, record=path, comparison=comparison)
        )
    if not interrupted or not cells:
        run.folder.clear()
    return finished


def _counterpart(run: Run, specs: Sequence[str | None]) -> str | None:
    """Return the checkpoint that is compared with the baseline: the run's only one.

    Claims that read none have a record of their own, and so may the baseline be of such.
    """
    assert run.baseline is not None
    none = run.baseline.data["checkpoint"]["spec"] is None
    return next((spec for spec in specs if (spec is None) == none), specs[0])


def _compared(
    old: Side, new: Side, strict: bool, deselected: Collection[str]
) -> tuple[Gate, Comparison | None]:
    """Compare a record with the baseline; what cannot be compared does not pass."""
    from stillwired.judge.gate import Gate
    from stillwired.records.compare import compare

    try:
        comparison = compare(old, new, strict=strict, deselected=deselected)
    except StillwiredError as error:
        return Gate(False, (f"Nothing was compared. {error}",)), None
    # What its correction concerns are changes, and no verdicts.
    return replace(comparison.gate, corrected={}), comparison


def decide(
    verdicts: Sequence[Verdict],
    *,
    strict: bool,
    expected: Expectations | None,
    deselected: Collection[str] = (),
    shard: Mapping[str, Any] | None = None,
) -> Gate:
    """Gate a record's verdicts, against a file of expected ones if there is one.

    Entries about cells that the user left out of the run are left out as well. A part of a divided
    run, whose record says which under ``shard``, is not gated.
    """
    from stillwired.judge.gate import gate, gate_part

    if shard is not None:
        return gate_part(verdicts, f"{', '.join(map(str, shard['parts']))} of {shard['of']}")
    if expected is None:
        return gate(verdicts, strict=strict)
    asked = {key: cell.verdicts for key, cell in expected.cells.items() if key not in deselected}
    return gate(verdicts, strict=strict, expected=asked)


def _in_order(cells: Sequence[Cell]) -> tuple[Verdict, ...]:
    from stillwired.judge.results import Verdict

    ordered = sorted(cells, key=lambda cell: cell.order)
    return tuple(Verdict.from_json(cell.verdict) for cell in ordered)
