"""One damage as a run meets it: what it does to the checkpoint and to each instrument.

A run hands everything that it makes to its damage and goes on with what it gets back. A sound run
gets back what it handed over; a mutant overrides what it breaks. Damage to weights has a digest
of its own, so that everything is measured anew. Damage to instruments is mostly done after they
were fitted: what the sound checkpoint has in the cache stays in use, and what is measured with the
damage is kept under its name.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

from stillwired.checkpoints.checkpoint import Checkpoint
from stillwired.errors import UsageError
from stillwired.mutants.catalogue import MARK, Mutant
from stillwired.mutants.prepared import name_of, origin_of, salted

if TYPE_CHECKING:
    from stillwired.instruments.function_vectors import TaskVectors
    from stillwired.instruments.future_lens import FutureLens
    from stillwired.instruments.head_outcomes import HeadOutcomes
    from stillwired.instruments.interventions import Head
    from stillwired.instruments.logit_lens import LogitLens
    from stillwired.instruments.text import TextReadings
    from stillwired.instruments.vector_outcomes import VectorOutcomes
    from stillwired.mutants.weights import Change


class Damage:
    """Nothing is damaged.

    Args:
        mutant: What is; None for nothing.
    """

    def __init__(self, mutant: Mutant | None = None) -> None:
        self.mutant = mutant

    @property
    def name(self) -> str:
        """The mutant's name; empty where there is none."""
        return "" if self.mutant is None else self.mutant.name

    def checkpoint(self, sound: Checkpoint, carriers: Callable[[], Sequence[Head]]) -> Checkpoint:
        """Damage a checkpoint.

        Args:
            sound: The checkpoint, which need not be loaded yet.
            carriers: Finds the heads that carry tasks on it.
        """
        return sound

    def text(self, sound: TextReadings) -> TextReadings:
        """Damage the readings of a text."""
        return sound

    def future_lens(self, sound: FutureLens) -> FutureLens:
        """Damage the readers of Future Lens."""
        return sound

    def logit_lens(self, sound: LogitLens) -> LogitLens:
        """Damage the logit lens."""
        return sound

    def task_vectors(self, sound: TaskVectors) -> TaskVectors:
        """Damage heads and vectors."""
        return sound

    def vector_outcomes(self, sound: type[VectorOutcomes]) -> type[VectorOutcomes]:
        """Damage what judges vectors."""
        return sound

    def head_outcomes(self, sound: type[HeadOutcomes]) -> type[HeadOutcomes]:
        """Damage what describes heads."""
        return sound


class DamagedCheckpoint(Checkpoint):
    """A checkpoint under a digest of its own, whose weights are changed when they are loaded.

    Args:
        sound: The undamaged one.
        mutant: The damage.
        change: What is done to the weights; None leaves them alone.
        told: What else the damage depends on, as plain data.
    """

    def __init__(
        self,
        sound: Checkpoint,
        mutant: Mutant,
        change: Change | None = None,
        told: Sequence[Any] = (),
    ) -> None:
        known, again = sound.prepared, sound.prepared.digest_again
        damaged = replace(
            known,
            name=name_of(known.name, mutant),
            spec=f"{known.spec}{MARK}{mutant.slug}",
            digest=salted(known.digest, mutant, told),
            origin=origin_of(known.origin, mutant),
            digest_again=again and (lambda: salted(again(), mutant, told)),
        )
        super().__init__(damaged, sound.regime)
        if sound.regime.remote:
            raise UsageError(
                f"{known.name} runs on {sound.regime.remote}, and a mutant changes the copy on "
                "this machine. Leave --claims-remote out."
            )
        self._change = change

    def change(self, model: Any) -> None:
        """Damage the weights that were just loaded."""
        if self._change is not None:
            from stillwired.checkpoints.anatomy import anatomy_of

            self._change(model, anatomy_of(model))


class DamagedWeights(Damage):
    """Weights are changed; see `stillwired.mutants.weights`."""

    def checkpoint(self, sound: Checkpoint, carriers: Callable[[], Sequence[Head]]) -> Checkpoint:
        """Change the weights as soon as they are loaded."""
        from stillwired.mutants.weights import CARRIERS, CHANGES, silencing

        assert self.mutant is not None
        if self.name != CARRIERS:
            return DamagedCheckpoint(sound, self.mutant, CHANGES[self.name])
        heads = [(int(layer), int(which)) for layer, which in carriers()]
        return DamagedCheckpoint(sound, self.mutant, silencing(heads), heads)


class DamagedText(Damage):
    """What was read of a text is damaged, for all readers or one kind; see `readings`."""

    def text(self, sound: TextReadings) -> TextReadings:
        """Damage the readings of all readers, if that is the damage."""
        from stillwired.mutants.readings import OF_ONE_KIND, damaged

        return sound if self.name in OF_ONE_KIND else damaged(sound, self.name)

    def future_lens(self, sound: FutureLens) -> FutureLens:
        """Damage the readings of linear maps or tables, likewise."""
        from stillwired.mutants.readings import damaged_readers

        return damaged_readers(sound, self.name)

    def logit_lens(self, sound: LogitLens) -> LogitLens:
        """Damage the readings of the logit lens, likewise."""
        from stillwired.mutants.readings import damaged_logit_lens

        return damaged_logit_lens(sound, self.name)


class DamagedReaders(Damage):
    """Readers of Future Lens are damaged; see `stillwired.mutants.readers`."""

    def future_lens(self, sound: FutureLens) -> FutureLens:
        """Damage the readers."""
        from stillwired.mutants.readers import damaged_lens

        return damaged_lens(sound, self.name)


class DamagedVectorsOrHeads(Damage):
    """Heads, vectors, or what judges them; see `stillwired.mutants.vectors`."""

    def task_vectors(self, sound: TaskVectors) -> TaskVectors:
        """Damage heads and vectors, if that is the damage."""
        from stillwired.mutants.vectors import VECTORS, damaged_vectors

        return damaged_vectors(sound, self.name) if self.name in VECTORS else sound

    def vector_outcomes(self, sound: type[VectorOutcomes]) -> type[VectorOutcomes]:
        """Damage what judges vectors, likewise."""
        from stillwired.mutants.vectors import OUTCOMES

        return OUTCOMES.get(self.name, sound)

    def head_outcomes(self, sound: type[HeadOutcomes]) -> type[HeadOutcomes]:
        """Damage what describes heads, likewise."""
        from stillwired.mutants.vectors import HEADS

        return HEADS.get(self.name, sound)


class MisusedVectors(Damage):
    """Vectors are wrongly used; see `stillwired.mutants.tasks`."""

    def task_vectors(self, sound: TaskVectors) -> TaskVectors:
        """Damage their use."""
        from stillwired.mutants.tasks import misused_vectors

        return misused_vectors(sound, self.name)


class DamagedPatches(Damage):
    """What is written into passes is damaged; see `stillwired.mutants.patches`."""

    def future_lens(self, sound: FutureLens) -> FutureLens:
        """Damage how states are put behind prompts."""
        from stillwired.mutants.patches import patched_lens

        return patched_lens(sound, self.name)

    def task_vectors(self, sound: TaskVectors) -> TaskVectors:
        """Damage how heads are replaced and vectors inserted."""
        from stillwired.mutants.patches import patched_vectors

        return patched_vectors(sound, self.name)


class DamagedRows(Damage):
    """What is judged, and what stands in front of it; see `stillwired.mutants.rows`."""

    def checkpoint(self, sound: Checkpoint, carriers: Callable[[], Sequence[Head]]) -> Checkpoint:
        """Start every text in another way, if that is the damage: all is fitted to that."""
        from stillwired.mutants.rows import WRONG_START

        assert self.mutant is not None
        return StartedWrongly(sound, self.mutant) if self.name == WRONG_START else sound

    def text(self, sound: TextReadings) -> TextReadings:
        """Damage the targets of the judged rows, likewise."""
        from stillwired.mutants.rows import TARGETS, mistargeted

        return mistargeted(sound, self.name) if self.name in TARGETS else sound

    def future_lens(self, sound: FutureLens) -> FutureLens:
        """Judge readers where they were fitted, likewise."""
        from stillwired.mutants.rows import ON_FIT_ROWS, judged_on_fit_rows

        return judged_on_fit_rows(sound) if self.name == ON_FIT_ROWS else sound

    def logit_lens(self, sound: LogitLens) -> LogitLens:
        """Leave the final norm out, likewise."""
        from stillwired.mutants.rows import UNNORMED, unnormed_lens

        return unnormed_lens(sound) if self.name == UNNORMED else sound


class StartedWrongly(DamagedCheckpoint):
    """A checkpoint whose texts begin with what they should not."""

    @cached_property
    def prefix(self) -> list[int]:
        """What stands in front of a text."""
        from stillwired.mutants.rows import wrong_start

        return wrong_start(super().prefix, self.tokenizer, self.prepared.vocabulary)


def damage_of(mutant: Mutant | None) -> Damage:
    """Return what a mutant does; nothing for none."""
    if mutant is None:
        return Damage()
    by_module: dict[str, type[Damage]] = {
        "weights": DamagedWeights,
        "readings": DamagedText,
        "readers": DamagedReaders,
        "vectors": DamagedVectorsOrHeads,
        "tasks": MisusedVectors,
        "patches": DamagedPatches,
        "rows": DamagedRows,
    }
    return by_module[mutant.module.rpartition(".")[2]](mutant)
