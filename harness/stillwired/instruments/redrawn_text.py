"""Text that is judged anew: other passages, other batches, or another regime, on the same fits.

What instruments are fitted to and chosen on stays that of the undrawn readings, whose cache it is
taken from. Passages to be judged are drawn anew, and so are the controls that are drawn with them.
"""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Callable, Collection
from dataclasses import replace
from functools import cached_property
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stillwired.checkpoints.checkpoint import Checkpoint
from stillwired.data.corpus import Corpus
from stillwired.engine.cone import Cone, fitting_cells
from stillwired.engine.engine import Engine
from stillwired.errors import CorpusError
from stillwired.instruments.moments import Moments
from stillwired.instruments.prompt_passes import Asked, PromptPasses
from stillwired.instruments.survey import Rows, Survey, draw, take_survey
from stillwired.instruments.text import TextReadings
from stillwired.redraws import Redraw
from stillwired.store.cache import Store

FEWEST = 8
"""Documents that a domain must have left to be judged: fewer clusters decide nothing."""


class RedrawnSurvey(Survey):
    """A survey of judged rows, with the rows of another for all that is fitted and chosen."""

    def __init__(self, judged: Survey, fits: Callable[[], Survey]) -> None:
        """Put two surveys together.

        Args:
            judged: A survey that has judged rows.
            fits: Gives the other one, when it is first needed.
        """
        super().__init__(judged.folder, judged.file)
        self._give_fits = fits

    @cached_property
    def _fits(self) -> Survey:
        return self._give_fits()

    def rows(self, split: str) -> Rows:
        """Return the rows of ``fit``, ``choose`` or ``judge``."""
        return super().rows(split) if split == "judge" else self._fits.rows(split)

    def states(self, split: str, block: int) -> NDArray[np.float32]:
        """Return the outputs of a declared block at the rows of a split, [rows, width]."""
        if split == "judge":
            return super().states(split, block)
        return self._fits.states(split, block)

    def final_states(self, split: str, ahead: int) -> NDArray[np.float32]:
        """Return the normed final states at ``t + ahead`` (fit and choose), [rows, width]."""
        return self._fits.final_states(split, ahead)

    def moments(self) -> Moments:
        """Return the sums from which the linear maps of the declared depths are solved."""
        return self._fits.moments()


class RedrawnText(TextReadings):
    """Readings whose judged rows are drawn anew.

    Args:
        fits: The undrawn readings.
        redraw: What is drawn anew.
        checkpoint: What is judged: that of the undrawn readings, perhaps in another regime.
        engine: Gives its engine.
        store: Where what is read anew is kept.
    """

    def __init__(
        self,
        fits: TextReadings,
        redraw: Redraw,
        checkpoint: Checkpoint,
        engine: Callable[[], Engine],
        store: Store,
    ) -> None:
        corpus, plan = fits.corpus, replace(fits.plan, seed=fits.plan.seed + redraw.number)
        if redraw.kind == "documents":
            corpus = without_judged(
                fits.corpus,
                np.unique(fits.rows("judge").documents).tolist(),
                lambda rest: draw(checkpoint, rest, plan, "judge"),
            )
            lacking = [domain for domain in fits.corpus.weights if domain not in corpus.weights]
            if lacking:
                fits.say(f"too few other documents are left of: {', '.join(lacking)}")

        def survey() -> Survey:
            given = engine, checkpoint, corpus, plan, store, fits.say
            judged = take_survey(*given, splits=("judge",), cut=redraw.cut)
            return RedrawnSurvey(judged, lambda: fits.survey)

        super().__init__(checkpoint, engine, corpus, plan, survey, store, fits.say, fits=fits)
        self._redraw = redraw

    def rows(self, split: str) -> Rows:
        """Rows of ``fit``, ``choose`` or ``judge``; only the last are drawn anew."""
        return super().rows(split) if split == "judge" else self.fits.rows(split)

    def fit_seed(self, purpose: str) -> int:
        """Seed of a fit, as if nothing was drawn anew."""
        return self.fits.fit_seed(purpose)

    def _key(self, given: Any, module: str) -> tuple[dict[str, Any], str]:
        fitted = {
            "checkpoint": self.fits.checkpoint.key,
            "corpus": self.fits.corpus.digest,
            "plan": self.fits.plan.key(),
        }
        return super()._key({"redraw": self._redraw.label, "fitted": fitted, **given}, module)


class RedrawnPasses(PromptPasses):
    """Passes of prompts over rows that are drawn anew.

    Args:
        text: The redrawn readings.
        first: As in `PromptPasses`.
        cut: Into how many parts each of the usual packs is cut.
    """

    def __init__(self, text: TextReadings, first: int, cut: int) -> None:
        super().__init__(text, first)
        self._cut = cut

    @cached_property
    def cone(self) -> Cone:
        """What runs the passes."""
        engine = self.text.engine()
        return Cone(engine, fitting_cells(engine) // self._cut)

    def kept_by(self, part: str, asked: Asked) -> TextReadings:
        """Return the redrawn readings: other rows are read, with a state or without."""
        return self.text


def without_judged(
    corpus: Corpus, judged: Collection[str], draw_from: Callable[[Corpus], object]
) -> Corpus:
    """Return a corpus whose judge split lacks some documents, and from which can be drawn.

    Domains that have too little text left are not judged; the others keep their weights among
    themselves.

    Args:
        corpus: The whole text.
        judged: Ids of the documents that are left out.
        draw_from: Draws what is to be judged, or raises CorpusError where there is too little.

    Raises:
        CorpusError: If too little is left of every domain.
    """
    out = set(judged)
    left: dict[str, list[int]] = {domain: [] for domain in corpus.weights}
    for document in corpus.documents_of("judge"):
        if document.id not in out:
            left[document.domain].append(len(document.text))
    domains = [domain for domain, texts in left.items() if len(texts) >= FEWEST]
    while domains:
        rest = _without(corpus, out, domains)
        with contextlib.suppress(CorpusError):
            draw_from(rest)
            return rest
        # The one that has least text for what it weighs stands in the way.
        domains.remove(min(domains, key=lambda domain: sum(left[domain]) / corpus.weights[domain]))
    raise CorpusError(
        f"The undrawn run judges {len(out):,} documents of the {corpus.name}, and too few others "
        "are left to be judged. Add text, take a smaller profile, or draw other passages of the "
        "same documents: --claims-redraw seed-1."
    )


def _without(corpus: Corpus, out: Collection[str], domains: Collection[str]) -> Corpus:
    total = sum(corpus.weights[domain] for domain in domains)
    key = [corpus.digest, "without", *sorted(out), "of", *domains]
    return replace(
        corpus,
        digest=hashlib.sha256("\n".join(key).encode()).hexdigest(),
        documents=tuple(document for document in corpus.documents if document.id not in out),
        weights=MappingProxyType({domain: corpus.weights[domain] / total for domain in domains}),
    )
