"""What a model answers when something is put into its pass at the last token of a prompt.

Function vectors (Todd et al. 2024, Section 2) are measured by two interventions: outputs of
attention heads are replaced by their means over other prompts, or a vector is added to the
residual stream behind one block. Any number of them is tried on any number of questions in one
sweep, at the price of its cone.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from stillwired.engine.cone import Cone
from stillwired.engine.edits import Edit, How
from stillwired.engine.engine import Progress
from stillwired.engine.sites import Site, final, head, residual
from stillwired.instruments.questions import Question

Head: TypeAlias = tuple[int, int]
"""Layer and number of a query head, both from 0."""

ROWS = 128
"""Final states that are unembedded at a time: rows x vocabulary is what takes memory."""


@dataclass(frozen=True, eq=False)
class Insert:
    """A vector is added to a block's output at the last token.

    Attributes:
        block: The block.
        vector: [width].
    """

    block: int
    vector: Tensor


@dataclass(frozen=True, eq=False)
class Replace:
    """Outputs of heads at the last token, before the output projection, are replaced.

    Attributes:
        heads: Which ones.
        values: By what [heads, head width].
    """

    heads: tuple[Head, ...]
    values: Tensor


Intervention: TypeAlias = Insert | Replace | None
"""None leaves the pass as it is."""


@dataclass(frozen=True, eq=False)
class Answers:
    """What was answered.

    Attributes:
        probabilities: Probability of the right answer's first token [questions, interventions].
        hits: Whether it was the likeliest token; of equally likely ones the first counts
            [questions, interventions].
        ties: Answers whose right token was as likely as another that came before it.
        cells: What the sweep cost, in cells.
        full_cells: What one full forward for each question and intervention would have cost.
    """

    probabilities: NDArray[np.float64]
    hits: NDArray[np.bool_]
    ties: int = 0
    cells: int = 0
    full_cells: int = 0


def answers(
    cone: Cone,
    questions: Sequence[Question],
    interventions: Sequence[Intervention],
    progress: Progress | None = None,
) -> Answers:
    """Put every intervention into every question, and read what is answered.

    Args:
        cone: What runs the passes.
        questions: The prompts.
        interventions: Each is tried on each question.
        progress: As in `Plan.run`.

    Raises:
        EngineError: As `Cone.plan` and `Plan.run`; an intervention that leaves everything as it
            was is refused.
        MissingComponentError: If a head is replaced where there is none.
        MismatchError: As `Plan.run`.
    """
    shape = (len(questions), len(interventions))
    found = Answers(np.zeros(shape), np.zeros(shape, bool))
    if not min(shape):
        return found
    prompts = [question.tokens for question in questions for _ in interventions]
    plan = cone.plan(prompts, _edits(interventions, len(questions)), [final(-1)])
    ties = 0
    runs = plan.run(progress=progress)
    while (reading := next(runs, None)) is not None:
        rows = np.array(reading.rows, dtype=np.int64)
        for start in range(0, len(rows), ROWS):
            here = rows[start : start + ROWS]
            asked, tried = here // shape[1], here % shape[1]
            scores = cone.engine.unembed(reading[final(-1)][start : start + ROWS]).float()
            right = torch.tensor([[questions[int(k)].answer] for k in asked], device=scores.device)
            score = scores.gather(1, right)
            likelihood = (score - scores.logsumexp(-1, keepdim=True)).exp()[:, 0]
            best = scores.argmax(-1, keepdim=True)
            found.probabilities[asked, tried] = likelihood.double().cpu().numpy()
            found.hits[asked, tried] = (best == right)[:, 0].cpu().numpy()
            ties += int(((score == scores.gather(1, best)) & (best != right)).sum())
        # The next pack is computed before the name is bound again.
        del reading
    return Answers(found.probabilities, found.hits, ties, plan.cells, plan.full_cells)


def _edits(interventions: Sequence[Intervention], questions: int) -> list[Edit]:
    """Write interventions as edits, one for each site that any of them touches."""
    at: dict[tuple[Site, How], list[tuple[int, Tensor]]] = defaultdict(list)
    for number, one in enumerate(interventions):
        if isinstance(one, Insert):
            at[residual(one.block, -1), "add"].append((number, one.vector))
        elif isinstance(one, Replace):
            for (layer, which), value in zip(one.heads, one.values, strict=True):
                at[head(layer, which, -1), "replace"].append((number, value))
    edits = []
    for (site, how), changes in at.items():
        numbers = [number for number, _ in changes]
        rows = [k * len(interventions) + number for k in range(questions) for number in numbers]
        value = torch.stack([vector for _, vector in changes]).repeat(questions, 1)
        edits.append(Edit(site, how, value, rows))
    return edits
