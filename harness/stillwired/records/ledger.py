"""What a run's front end keeps in mind between the tests: counts, problems, results."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from stillwired.errors import StillwiredError
from stillwired.records.files import digest_of
from stillwired.records.finish import Finished, finish
from stillwired.records.refits import read_refits
from stillwired.records.session import CellId, Prepared, Run, check_cells
from stillwired.records.trial import Trial, check_survivors, sound_specs, try_claims
from stillwired.shards import Place, deal

Json = dict[str, Any]


@dataclass
class Ledger:
    """The state of a run in the process that talks to the user, and in each worker.

    Attributes:
        run: The run.
        seen: Whether a claim was collected.
        headed: Whether the header has been shown.
        failures: Failed tests and modules, verdicts apart.
        errors: Claims that were not judged because of an error.
        offered: Parameters of every cell that there was before any selection, by claim.
        deselected: Names of the cells that the user left out.
        shares: What a shard's records say of how the run was divided, by checkpoint spec.
        folders: Where the claims of all shards lie.
        problem: Why a worker could not prepare.
        finished: What became of each checkpoint, once the run is over.
        trials: What a run of mutants comes to, for each undamaged checkpoint.
        unwritten: Why there is no record.
    """

    run: Run
    seen: bool = False
    headed: bool = False
    failures: int = 0
    errors: int = 0
    offered: dict[str, list[Mapping[str, Any]]] = field(default_factory=dict)
    deselected: list[str] = field(default_factory=list)
    shares: dict[str | None, Json] = field(default_factory=dict)
    folders: set[Path] = field(default_factory=set)
    problem: StillwiredError | None = None
    finished: list[Finished] = field(default_factory=list)
    trials: list[Trial] = field(default_factory=list)
    unwritten: str = ""

    def offer(self, cell: CellId) -> None:
        """Remember a cell that the run has, whether or not it is selected to be judged."""
        self.offered.setdefault(cell.claim.id, []).append(cell.params)

    def settled(self, cell: CellId) -> CellId:
        """Say whether a cell is primary, once every cell was offered.

        What was collected decides, and neither a selection nor a shard nor a checkpoint does.
        """
        offered = self.offered.get(cell.claim.id, ())
        return replace(cell, primary=cell.claim.is_primary(cell.params, offered))

    def deal(self, cells: Sequence[tuple[CellId, Path]]) -> list[bool]:
        """Divide the run into as many parts as there are shards.

        Args:
            cells: Every cell of the whole run, with the file of its test.

        Returns:
            For each cell, whether this run is the one to judge it.

        Raises:
            UsageError: If there are more shards than files.
        """
        shard = self.run.options.shard
        assert shard is not None
        self.folders = {file.parent for _, file in cells}
        numbers = deal([Place(cell.spec, file) for cell, file in cells], shard.of)
        for spec in dict.fromkeys(cell.spec for cell, _ in cells):
            plan = sorted(
                (cell.key, number, digest_of(cell.claim.to_json()))
                for (cell, _), number in zip(cells, numbers, strict=True)
                if cell.spec == spec
            )
            self.shares[spec] = {
                "of": shard.of,
                "parts": [shard.number],
                "holders": sorted({number for _, number, _ in plan}),
                "plan": digest_of(plan),
            }
        return [number == shard.number for number in numbers]

    def begin(
        self,
        cells: Mapping[str, CellId],
        how: Callable[[str], Prepared],
        folders: Iterable[Path] = (),
    ) -> None:
        """Check the cells of a run and make ready what they read.

        Args:
            cells: The cells, by the name of their tests.
            how: Makes the checkpoint of a spec ready.
            folders: Where the tests lie, and beside them what is known of refits.

        Raises:
            ClaimError: If two tests stand for one cell, or declare one claim differently.
            StillwiredError: If a checkpoint cannot be made ready, or is not the one that the
                expected verdicts are about; or if a file cannot be read.
        """
        check_cells(cells)
        refits = read_refits(folders, {c.key: (c.claim.id, c.params) for c in cells.values()})
        specs = dict.fromkeys(cell.spec for cell in cells.values() if cell.spec is not None)
        survivors = check_survivors(self.run.options)
        self.run.prepare_all(specs, how)
        # A run that is refused for its checkpoints has made no folder.
        if refits:
            self.run.folder.note("refits", "refits", refits)
        if self.deselected:
            self.run.folder.note("selection", "deselected", sorted(self.deselected))
        for spec, share in self.shares.items():
            self.run.folder.note("shard", spec or "", share)
        for spec in sound_specs(self.run.options):
            if survivors is not None and spec in specs:
                survivors.check(self.run.prepared(spec).name, survivors.profile)

    def count(self, *, failed: bool, of_claim: bool, error: bool) -> None:
        """Count one report of a test: an error, or a failure that is no verdict."""
        self.seen = self.seen or of_claim
        self.errors += of_claim and error
        self.failures += failed and (error or not of_claim)

    def close(self, *, interrupted: bool, stopped: bool = False) -> None:
        """Merge the cells into records, unless the run was interrupted.

        Args:
            interrupted: Whether the run was broken off, so that there is no record.
            stopped: Whether it ended before its last claim, as after the first failure.
        """
        try:
            if self.errors or stopped:
                self.run.folder.note("incomplete", "incomplete", True)
            self.finished = finish(self.run, interrupted=interrupted)
            if self.run.options.mutants and not interrupted:
                self.trials = try_claims(self.run.options, self.finished)
        except StillwiredError as error:
            self.unwritten = str(error)

    @property
    def shown(self) -> list[Finished]:
        """What is shown cell by cell: in a run of mutants the undamaged checkpoints alone."""
        if not self.run.options.mutants:
            return self.finished
        sound = sound_specs(self.run.options)
        return [one for one in self.finished if one.checkpoint["spec"] in (None, *sound)]

    @property
    def passed(self) -> bool:
        """Whether every gate passes, or every matrix, and nothing else went wrong."""
        gated = all(one.gate is not None and one.gate.passed for one in self.finished)
        if self.run.options.mutants:
            gated = bool(self.trials) and all(trial.decision.passed for trial in self.trials)
        return gated and not self.failures and not self.unwritten
