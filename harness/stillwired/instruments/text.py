"""The text as instruments see it: one survey, its rows, and a cache for what is derived.

Every instrument that reads text holds one :class:`TextReadings`. It knows the checkpoint, the
corpus and the plan, opens the survey only when something is not in the cache, and seeds every
draw: controls from the suite's seed and the text, fits from the checkpoint as well.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Mapping
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stillwired.checkpoints.checkpoint import Checkpoint
from stillwired.data.corpus import Corpus
from stillwired.engine.engine import Engine
from stillwired.errors import CorpusError, UsageError
from stillwired.instruments.depths import Band, Depth
from stillwired.instruments.draws import generator
from stillwired.instruments.survey import Rows, Say, Survey, SurveyPlan
from stillwired.outcomes import Factor, Outcome
from stillwired.store.cache import Store
from stillwired.store.code import code_digest

POPULATIONS = ("all", "next-right")


class TextReadings:
    """Readings of one text by one checkpoint.

    Args:
        checkpoint: What is read.
        engine: Gives the engine; called only when something is not in the cache.
        corpus: The text.
        plan: Sizes, depths and seed.
        survey: Gives the survey; likewise called only when needed.
        store: The cache.
        say: Told about progress.
        damage: Name of the mutant that damages the readings, or empty.
        fits: The sound readings, where the damage leaves alone what instruments are fitted to:
            fits are then theirs, and none is done again.
    """

    def __init__(
        self,
        checkpoint: Checkpoint,
        engine: Callable[[], Engine],
        corpus: Corpus,
        plan: SurveyPlan,
        survey: Callable[[], Survey],
        store: Store,
        say: Say = lambda _: None,
        damage: str = "",
        fits: TextReadings | None = None,
    ) -> None:
        self.fits = fits or self
        self.checkpoint, self.engine, self.corpus = checkpoint, engine, corpus
        self.plan, self.say, self.damage = plan, say, damage
        self._open_survey, self._store = survey, store
        self._rows: dict[str, Rows] = {}

    def with_damage(
        self,
        damage: str,
        checkpoint: Checkpoint | None = None,
        survey: Callable[[], Survey] | None = None,
        keep_fits: bool = False,
    ) -> TextReadings:
        """Return the same readings over a damaged survey or tokenizer, cached apart.

        Args:
            damage: Its name.
            checkpoint: What takes the checkpoint's place, or None.
            survey: What takes the survey's place, or None.
            keep_fits: Whether instruments stay fitted to the sound readings.
        """
        return TextReadings(
            checkpoint or self.checkpoint,
            self.engine,
            self.corpus,
            self.plan,
            survey or (lambda: self.survey),
            self._store,
            self.say,
            damage,
            self.fits if keep_fits else None,
        )

    @cached_property
    def survey(self) -> Survey:
        """The pass over the text."""
        return self._open_survey()

    @cached_property
    def depths(self) -> tuple[Depth, ...]:
        """The declared depths, resolved for this checkpoint."""
        return self.plan.resolved(self.checkpoint.prepared.layers)

    def depth_in(self, band: Band) -> Depth:
        """Return the declared depth that lies nearest the middle of a band.

        Raises:
            UsageError: If the model has no block there.
        """
        inside = [depth for depth in self.depths if band.holds(depth)]
        if not inside:
            raise UsageError(
                f"{self.checkpoint.name} has too few blocks for one in the {band.name} band of "
                f"relative depth, {band.low} to {band.high}. Claims that compare bands of depth "
                "cannot be judged on it."
            )
        centre = (band.low + band.high) / 2
        return min(inside, key=lambda depth: abs(depth.relative - centre))

    def rows(self, split: str) -> Rows:
        """Rows of ``fit``, ``choose`` or ``judge``, without opening the survey if cached."""
        if split not in self._rows:
            kept = self.cached("rows", {"split": split}, lambda: vars(self.survey.rows(split)))
            self._rows[split] = Rows(**kept)
        return self._rows[split]

    @cached_property
    def self_check(self) -> list[tuple[str, float, float]]:
        """Identities of the anatomy: name, largest difference, largest difference allowed."""

        def read() -> dict[str, NDArray[Any]]:
            names, differences, allowed = zip(*self.survey.self_check, strict=True)
            return {
                "names": np.array(names),
                "differences": np.array(differences),
                "allowed": np.array(allowed),
            }

        kept = self.cached("self-check", {}, read)
        return [
            (str(name), float(difference), float(most))
            for name, difference, most in zip(
                kept["names"], kept["differences"], kept["allowed"], strict=True
            )
        ]

    def hits(
        self,
        name: str,
        guesses: NDArray[np.int64],
        ahead: int,
        population: str = "all",
        **factors: str | int | float,
    ) -> Outcome:
        """Score guesses of what the model says at ``t + ahead``.

        Args:
            name: What guessed.
            guesses: One token per judge row; fewer stand for the first rows.
            ahead: N.
            population: ``all``, or ``next-right``: rows whose next token the model gets right.
            factors: Settings that hold for every row.

        Raises:
            UsageError: If there is no such population.
        """
        rows, count = self.rows("judge"), len(guesses)
        keep = self.in_population(population, count)
        return Outcome(
            name=f"{name}, N={ahead}",
            examples=rows.examples[:count][keep],
            clusters=rows.documents[:count][keep],
            scores=(guesses == rows.targets[:count, ahead]).astype(float)[keep],
            factors={"ahead": ahead, "population": population, **factors},
        )

    def in_population(self, population: str, count: int) -> NDArray[np.bool_]:
        """Say which of the first judge rows belong to a population [count].

        Raises:
            UsageError: If there is no such population.
        """
        if population not in POPULATIONS:
            raise UsageError(
                f"There is no population {population!r}. Choose one of: {', '.join(POPULATIONS)}."
            )
        if population == "all":
            return np.ones(count, bool)
        return self.rows("judge").next_is_right[:count]

    def predicts_text(self) -> Outcome:
        """Whether the model's argmax is the text's next token, on rows that only fit maps."""
        rows = self.rows("fit")
        return Outcome(
            name="top-1 on the text",
            examples=rows.examples,
            clusters=rows.documents,
            scores=rows.next_is_right.astype(float),
        )

    def rng(self, purpose: str) -> np.random.Generator:
        """Randomness of data and controls: never depends on the checkpoint."""
        return generator(self.plan.seed, self.corpus.digest, purpose)

    def fit_seed(self, purpose: str) -> int:
        """Seed of a fit: depends on the checkpoint too."""
        rng = generator(self.plan.seed, self.checkpoint.digest, self.corpus.digest, purpose)
        return int(rng.integers(2**31))

    def cached(
        self,
        what: str,
        given: Mapping[str, Any],
        build: Callable[[], Mapping[str, NDArray[Any]]],
        module: str = __name__,
    ) -> dict[str, NDArray[Any]]:
        """Return arrays that follow from these readings, from the cache or built now.

        Args:
            what: What the arrays are.
            given: Everything else that they depend on.
            build: Computes them.
            module: The module that computes them; its sources are part of the key.
        """
        inputs, code = self._key({"what": what, **given}, module)
        return self._store.arrays("readings", inputs, build, code=code)

    def folder(
        self, kind: str, given: Mapping[str, Any], build: Callable[[Path, Path], None], module: str
    ) -> Path:
        """Return a folder that follows from these readings, from the cache or built now.

        Args:
            kind: What sort of cache entry it is.
            given: As in `cached`.
            build: Fills the empty folder that it is given first. Then it is given the path of a
                safetensors file on the same disk, which a build that is interrupted may leave
                for the next one to go on from; it is removed after a whole one.
            module: As in `cached`.
        """
        inputs, code = self._key(given, module)
        key = self._store.path_of(kind, inputs, code=code).name
        # Beside the scratch folders, which are swept: a plain file there stays until it is done.
        unfinished = self._store.root / "tmp" / f"{kind}-{key}.safetensors"
        path = self._store.folder(kind, inputs, lambda to: build(to, unfinished), code=code)
        with contextlib.suppress(OSError):
            unfinished.unlink(missing_ok=True)
        return path

    def _key(self, given: Mapping[str, Any], module: str) -> tuple[dict[str, Any], str]:
        """Inputs and code of a cache entry."""
        inputs = {
            "checkpoint": self.checkpoint.key,
            "corpus": self.corpus.digest,
            "plan": self.plan.key(),
            "damage": self.damage,
            **given,
        }
        # Damage is done by code of its own, which must count as well.
        modules = [module, "stillwired.mutants.readings"] if self.damage else [module]
        return inputs, code_digest(*modules)


def factors_of(depth: Depth) -> dict[str, Factor]:
    """Say in an outcome's factors where a state was read."""
    return {"depth": depth.label, "block": depth.block, "relative": depth.relative}


def entropy(tokens: NDArray[np.int64]) -> float:
    """Entropy of how often each token occurs, in bits."""
    counts = np.bincount(tokens)
    shares = counts[counts > 0] / len(tokens)
    return float(-(shares * np.log2(shares)).sum())


def other_document(documents: NDArray[np.str_], rng: np.random.Generator) -> NDArray[np.int64]:
    """Permute rows so that each comes from another document.

    Rows that drew their own document swap with rows drawn at random, until none is left.

    Raises:
        CorpusError: If that cannot be, because one document holds about half of all rows.
    """
    order = rng.permutation(len(documents))
    for _ in range(100):
        same = np.flatnonzero(documents[order] == documents)
        if not len(same):
            return order
        for row, partner in zip(same, rng.choice(len(documents), len(same)), strict=True):
            order[[row, partner]] = order[[partner, row]]
    raise CorpusError(
        "States cannot be shuffled across documents: one document holds about half of all rows. "
        "Use text from more documents."
    )
