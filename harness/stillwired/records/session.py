"""One run of claims in one process: its checkpoints, its notes, and the cells it judges."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Protocol

from stillwired.checkpoints.regime import Regime, hardware, resolved
from stillwired.clock import CLOCK, JUDGING, spending
from stillwired.errors import (
    AnatomyError,
    ClaimError,
    EngineError,
    MismatchError,
    MissingComponentError,
    UnsuitableTaskError,
)
from stillwired.mutants.catalogue import split_spec
from stillwired.options import RunOptions, check_layers, model_ids
from stillwired.records.record import RunFacts, figures_of
from stillwired.records.run import RunFolder
from stillwired.settings import Settings

if TYPE_CHECKING:
    from stillwired.judge.claims import Claim
    from stillwired.judge.results import Evidence, Fact, InstrumentCheck, Obstacle, Verdict
    from stillwired.outcomes import Arm, Outcome
    from stillwired.records.baseline import Side
    from stillwired.records.expected import Expectations

Json = dict[str, Any]
Say = Callable[[str], None]


class Prepared(Protocol):
    """What a run needs to know of a checkpoint that is ready to be loaded."""

    @property
    def name(self) -> str:
        """Short name."""

    @property
    def layers(self) -> int:
        """Number of blocks."""

    def to_json(self) -> Mapping[str, Any]:
        """Everything that the record says of it."""


@dataclass(frozen=True)
class CellId:
    """Which cell a test stands for.

    Attributes:
        claim: The claim that it judges.
        params: The cell's parameters.
        spec: The checkpoint's spec, or None for a claim that reads no checkpoint.
        order: Place of the test in the run.
        primary: Whether the gate looks at it; None for what the claim declares.
    """

    claim: Claim
    params: Mapping[str, str | int | float | bool]
    spec: str | None
    order: int = 0
    primary: bool | None = None

    @property
    def key(self) -> str:
        """The cell's name within its record."""
        from stillwired.judge.results import cell_key

        return cell_key(self.claim.id, self.params)


def cell_of(claim: Claim, params: Mapping[str, Any], where: str, order: int = 0) -> CellId:
    """Describe the cell that a test stands for, from all of the test's parameters.

    ``checkpoint_spec`` names the checkpoint and is no part of the cell. A depth that is an
    integer is a block number, and is called that, lest block 1 be taken for relative depth 1.0.

    Raises:
        ClaimError: If a parameter has no place in a record; ``where`` names the test.
    """
    rest = dict(params)
    spec = rest.pop("checkpoint_spec", None)
    for name, value in rest.items():
        if type(value) not in (str, int, float, bool):
            raise ClaimError(
                f"{where}: the parameter {name} is a {type(value).__name__}. The parameters of "
                "a claim name its cell in the record; use strings, numbers or booleans."
            )
    if type(rest.get("depth")) is int:
        rest["block"] = rest.pop("depth")
    return CellId(claim, rest, spec, order)


def check_cells(cells: Mapping[str, CellId]) -> None:
    """Check that a run's cells, by the name of their tests, can stand in one record.

    Raises:
        ClaimError: If two tests stand for one cell, or declare one claim differently.
    """
    taken: dict[tuple[str | None, str], str] = {}
    declared: dict[str, tuple[Json, str]] = {}
    for test, cell in cells.items():
        claim, first = declared.setdefault(cell.claim.id, (cell.claim.to_json(), test))
        if claim != cell.claim.to_json():
            raise ClaimError(
                f"{first} and {test} declare {cell.claim.id} differently. "
                "Give each declaration its own id."
            )
        other = taken.setdefault((cell.spec, cell.key), test)
        if other != test:
            raise ClaimError(
                f"{other} and {test} both judge {cell.key}. Parametrise them apart, or remove one."
            )


def obstacle_of(error: BaseException, spec: str | None = None) -> Obstacle | None:
    """Return what an error says about a measurement; None if it says nothing, as most do.

    Args:
        error: What was raised.
        spec: The checkpoint that was measured. Where a mutant was, an instrument that finds that
            something is wrong has done what it is there for.
    """
    from stillwired.judge.results import Obstacle

    # A reason is one sentence in tables and reports, however the message was laid out.
    message = " ".join(str(error).split()) or type(error).__name__
    if isinstance(error, MismatchError):
        return Obstacle("instrument", "repeated another way", message)
    if isinstance(error, MissingComponentError):
        return Obstacle("ability", "parts of the model", message)
    if isinstance(error, UnsuitableTaskError):
        return Obstacle("ability", "the task", message)
    noticing = isinstance(error, EngineError | AnatomyError | ClaimError)
    if noticing and spec is not None and split_spec(spec)[1] is not None:
        return Obstacle("instrument", "noticed by an error", message)
    return None


@dataclass
class Run:
    """What fixtures and claims need to know of the run that they are part of.

    Attributes:
        options: The run's options.
        folder: Where judged cells are kept.
        say: Tells the user about progress; one line at a time.
        started: When the run began, in seconds since the epoch.
    """

    options: RunOptions
    folder: RunFolder
    say: Say
    started: float = field(default_factory=time.time)
    _prepared: dict[str, Prepared] = field(default_factory=dict)
    _expected: Expectations | None = None
    _baseline: Side | None = None
    _times: dict[str, float] = field(default_factory=dict)
    _cells: dict[str, tuple[int, int]] = field(default_factory=dict)
    # One process may make several runs, one after another.
    _before: dict[str, float] = field(default_factory=lambda: CLOCK.spent)

    @property
    def settings(self) -> Settings:
        """What the measurement depends on."""
        return self.options.settings

    @property
    def expected(self) -> Expectations | None:
        """The expected verdicts, read when they are first needed.

        Raises:
            RecordError: If the file cannot be read.
        """
        path = self.options.expected
        if path is not None and self._expected is None:
            from stillwired.records.expected import read_expected

            self._expected = read_expected(path)
        return self._expected

    @property
    def baseline(self) -> Side | None:
        """The record or baseline that the run is compared with, read when it is first needed.

        Raises:
            RecordError: If the file cannot be read or trusted.
        """
        path = self.options.baseline
        if path is not None and self._baseline is None:
            from stillwired.records.baseline import read_side

            self._baseline = read_side(path)
        return self._baseline

    def prepare_all(self, specs: Iterable[str], how: Callable[[str], Prepared]) -> None:
        """Make checkpoints ready, after checking what can be checked without them.

        Raises:
            UsageError: If the expected verdicts are about another run.
            RecordError: If the run cannot be compared with its baseline.
        """
        if self.baseline is not None:
            from stillwired.records.compare import check_settings

            settings, profile = self.settings, self.settings.profile
            check_settings(
                self.baseline, profile.name, settings.layers, settings.seed, profile.sizes
            )
        if self.expected is not None:
            self.expected.check(self.settings.models, self.settings.profile.name)
        for spec in specs:
            prepared = self.prepare(spec, how)
            if self.expected is not None:
                self.expected.check_checkpoint(prepared.name)

    def settle_device(self) -> None:
        """Find out which device ``auto`` is here, and what computes; the record says both."""
        if self.settings.device == Regime().device:
            return
        device = resolved(self.settings.device)
        self.options = replace(self.options, settings=replace(self.settings, device=device))
        regime = Regime.of(self.settings)
        self.folder.note("regime", "regime", regime.to_json() | hardware(regime))

    def prepare(self, spec: str, how: Callable[[str], Prepared]) -> Prepared:
        """Make a checkpoint ready, once per process, and note it for the record.

        Raises:
            UsageError: If ``--claims-layers`` names a block that the checkpoint lacks.
        """
        if spec not in self._prepared:
            prepared = self._ready(spec, how)
            check_layers(self.settings.layers, prepared.name, prepared.layers)
            self._prepared[spec] = prepared
            self.folder.note("checkpoint", spec, dict(prepared.to_json()))
        return self._prepared[spec]

    def _ready(self, spec: str, how: Callable[[str], Prepared]) -> Prepared:
        """Make a checkpoint ready, or the sound one that a mutant is to be made of."""
        sound, mutant = split_spec(spec)
        prepared = self._prepared[sound] if sound in self._prepared else how(sound)
        if mutant is None:
            return prepared
        from stillwired.mutants.prepared import PreparedMutant

        return PreparedMutant(prepared, mutant, spec)

    def prepared(self, spec: str) -> Any:
        """Return a checkpoint that the run has made ready.

        Raises:
            ClaimError: If the run has no such checkpoint.
        """
        try:
            return self._prepared[spec]
        except KeyError:
            raise ClaimError(
                f"The run has not prepared {spec!r}. Ask for the fixture checkpoint_spec, and "
                "use the spec that it gives."
            ) from None

    def name_of(self, spec: str | None) -> str:
        """Return the short name of a checkpoint, as test ids and file names use it."""
        if spec is None:
            return "no-model"
        models = self.settings.models
        return model_ids(models)[models.index(spec)] if spec in models else model_ids([spec])[0]

    def note_code(self, digests: Mapping[str, str]) -> None:
        """Put the code that the run began with into the record: digests by name."""
        self.folder.note("code", "code", dict(digests))

    def note_corpus(self, facts: Mapping[str, Any]) -> None:
        """Put the text that was measured on into the record: its name, digest and sizes."""
        self.folder.note("corpus", "corpus", dict(facts))

    def note_tasks(self, facts: Mapping[str, Any]) -> None:
        """Put the in-context tasks that were measured on into the record: digests by name."""
        self.folder.note("tasks", "tasks", dict(facts))

    def note_figure(self, name: str, data: Mapping[str, Any], spec: str | None = None) -> None:
        """Put into the record what a picture is drawn from and no outcome holds.

        Args:
            name: What a checkpoint's record calls it.
            data: The figures.
            spec: The checkpoint that they are about; None for every one of the run.
        """
        self.folder.note(figures_of(spec), name, dict(data))

    def note_cells(self, label: str, cells: int, full: int) -> None:
        """Put what a kind of sweep cost, and what full forwards would have, into the times."""
        if self._cells.get(label) != (cells, full):
            self._cells[label] = cells, full
            self.folder.note("cells", label, [cells, full])

    def note_time(self, label: str, seconds: float) -> None:
        """Put the time that a step took into the record's times."""
        self.folder.note("time", label, round(float(seconds), 3))

    @contextmanager
    def timed(self, label: str) -> Iterator[None]:
        """Note the time that the block takes; several blocks of one label add up."""
        started = time.monotonic()
        try:
            yield
        finally:
            self._times[label] = self._times.get(label, 0.0) + time.monotonic() - started
            self.note_time(label, self._times[label])

    @spending(JUDGING)
    def judge(self, cell: CellId, evidence: Evidence, started: float) -> Verdict:
        """Judge a cell and keep it, with everything it was judged from, at once."""
        from stillwired.judge.verdicts import judge_cell

        verdict: Verdict = judge_cell(cell.claim, evidence, dict(cell.params), cell.primary)
        self.folder.add(
            cell.claim,
            verdict,
            evidence,
            order=cell.order,
            spec=cell.spec,
            seconds=time.time() - started,
        )
        before = self._before
        spent = {kind: s - before.get(kind, 0.0) for kind, s in CLOCK.spent.items()}
        kept = {kind: round(s, 3) for kind, s in spent.items() if s > 0 or kind not in before}
        self.folder.note("spent", f"process {os.getpid()}", kept)
        return verdict

    @property
    def facts(self) -> RunFacts:
        """What holds for the whole run, with the checkpoints that any process has noted."""
        settings = self.settings
        return RunFacts(
            profile=settings.profile.name,
            layers=settings.layers,
            seed=settings.seed,
            regime=self.folder.notes("regime").get("regime") or Regime.of(settings).to_json(),
            checkpoints=self.folder.notes("checkpoint"),
            started=self.started,
            redraw=settings.redraw.label if settings.redraw is not None else "",
            sizes=settings.profile.sizes,
        )


class Judge:
    """Judges the cell that a test stands for, from the arms that the test hands over."""

    def __init__(self, run: Run, test: str, cell: CellId | None) -> None:
        """Judge in a run, for the test of that name; a test without a claim has no cell."""
        self.verdict: Verdict | None = None
        self._run = run
        self._test = test
        self._cell = cell
        self._started = time.time()

    def __call__(
        self,
        *,
        null: Mapping[str, Arm] | None = None,
        ability: Mapping[str, Outcome] | None = None,
        checks: Sequence[InstrumentCheck] = (),
        planted: Mapping[str, Arm] | None = None,
        beside: Mapping[str, Arm] | None = None,
        facts: Mapping[str, Fact] | None = None,
        **arms: Arm,
    ) -> Verdict:
        """Judge the claim on these arms, and keep the verdict with its evidence.

        Args:
            null: Outcomes of the null check, by the arm that each replaces.
            ability: Outcomes of the abilities that the claim presupposes.
            checks: Instrument checks that ran with the measurement.
            planted: Outcomes with the sensitivity planted, by the arm that each replaces.
            beside: Outcomes that are estimated and shown next to the verdict, by any name; no
                word depends on them.
            facts: Plain figures and words that are kept with the verdict, by any name.
            **arms: Outcomes by arm name, rivals included.

        Raises:
            ClaimError: If the test carries no claim, has judged before, or the evidence does
                not fit the claim.
            RecordError: If the cell cannot be kept.
        """
        from stillwired.judge.results import Evidence

        evidence = Evidence(
            arms,
            null=null or {},
            ability=ability or {},
            instrument=tuple(checks),
            planted=planted or {},
            beside=beside or {},
            facts=facts or {},
        )
        return self._judge(evidence)

    def unmeasured(self, obstacle: Obstacle) -> Verdict:
        """Judge a cell that could not be measured, and keep it like any other.

        Raises:
            ClaimError: If the test carries no claim, or has judged before.
            RecordError: If the cell cannot be kept.
        """
        from stillwired.judge.results import Evidence

        return self._judge(Evidence({}, obstacle=obstacle))

    def _judge(self, evidence: Evidence) -> Verdict:
        if self._cell is None:
            raise ClaimError(
                f"{self._test} judges, but carries no claim. "
                "Put @pytest.mark.claim(DECLARATION) on the test."
            )
        if self.verdict is not None:
            raise ClaimError(
                f"{self._test} judges twice. A test stands for one cell; parametrise it."
            )
        self.verdict = self._run.judge(self._cell, evidence, self._started)
        return self.verdict
