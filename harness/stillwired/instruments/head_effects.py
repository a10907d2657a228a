"""Which attention heads carry a task: their mean outputs, and what putting these back does.

Todd et al. 2024, Section 2.3. A head's mean output at the last token is taken over clean prompts
that the model answers rightly. Put into a prompt whose labels are shuffled, it may bring the
right answer back: the gain of its probability is the head's indirect effect. All heads of a
prompt are tried in one sweep.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from stillwired.checkpoints.anatomy import Anatomy
from stillwired.engine.cone import Cone
from stillwired.engine.engine import Engine, Progress
from stillwired.engine.sites import final, head, residual
from stillwired.errors import MissingComponentError
from stillwired.instruments.interventions import Answers, Head, Replace, answers
from stillwired.instruments.questions import Question

FEWEST_RIGHT = 5
"""With fewer right answers the mean is taken over all prompts: there is nothing to select."""


@dataclass(frozen=True, eq=False)
class CleanMeans:
    """What clean prompts leave at their last token.

    Attributes:
        heads: Mean output of every head before the output projection [layers, heads, head
            width]; zero in layers without attention.
        residual: Mean output of every block [layers, width].
        hits: Which questions were answered rightly [questions].
        averaged: How many questions the means are over.
    """

    heads: Tensor
    residual: Tensor
    hits: NDArray[np.bool_]
    averaged: int


def heads_of(anatomy: Anatomy) -> tuple[Head, ...]:
    """List a model's heads, layer by layer.

    Raises:
        MissingComponentError: If no layer has any.
    """
    found = tuple(
        (layer, which)
        for layer in range(anatomy.layers)
        if "head" in anatomy.components(layer)
        for which in range(anatomy.heads)
    )
    if not found:
        raise MissingComponentError(
            f"{anatomy.family.name} has no attention heads, so none can carry a task."
        )
    return found


def clean_means(
    engine: Engine, questions: Sequence[Question], progress: Progress | None = None
) -> CleanMeans:
    """Average head outputs and block outputs over the questions that are answered rightly.

    Args:
        engine: What reads.
        questions: Clean questions.
        progress: As in `Engine.read`.

    Raises:
        MissingComponentError: If the model has no attention heads.
        EngineError: As `Engine.read`.
    """
    anatomy = engine.anatomy
    heads, layers = heads_of(anatomy), range(anatomy.layers)
    sites = [
        *(head(*one, -1) for one in heads),
        *(residual(layer, -1) for layer in layers),
        final(-1),
    ]
    width = len(heads) * anatomy.head_dim + anatomy.layers * anatomy.width
    states = torch.zeros(len(questions), width)
    hits = np.zeros(len(questions), bool)
    prompts = [question.tokens for question in questions]
    readings = engine.read(prompts, sites, progress=progress)
    while (reading := next(readings, None)) is not None:
        rows = list(reading.rows)
        states[rows] = torch.cat([reading[site] for site in sites[:-1]], -1).float().cpu()
        said = engine.unembed(reading[final(-1)]).argmax(-1).tolist()
        hits[rows] = [questions[row].answer == token for row, token in zip(rows, said, strict=True)]
        del reading
    chosen = hits if hits.sum() >= FEWEST_RIGHT else np.ones(len(questions), bool)
    mean = states[torch.from_numpy(chosen)].double().mean(0).float()
    border = len(heads) * anatomy.head_dim
    by_head, by_block = mean[:border], mean[border:]
    all_heads = torch.zeros(anatomy.layers, anatomy.heads, anatomy.head_dim)
    which = torch.tensor(heads)
    all_heads[which[:, 0], which[:, 1]] = by_head.view(len(heads), anatomy.head_dim)
    return CleanMeans(all_heads, by_block.view(anatomy.layers, -1), hits, int(chosen.sum()))


def replacing(means: CleanMeans, heads: Sequence[Head]) -> Replace:
    """Return the intervention that puts some heads' means in."""
    which = torch.tensor(list(heads))
    return Replace(tuple(heads), means.heads[which[:, 0], which[:, 1]])


def head_effects(
    cone: Cone,
    questions: Sequence[Question],
    means: CleanMeans,
    progress: Progress | None = None,
) -> tuple[NDArray[np.float64], Answers]:
    """Measure the indirect effect of every head on every question.

    Args:
        cone: What runs the sweep.
        questions: Questions with shuffled labels.
        means: What clean prompts of the same task leave.
        progress: As in `Plan.run`.

    Returns:
        Probability of the right answer with the head's mean put in, minus without
        [questions, layers, heads], zero in layers without attention; and the answers.

    Raises:
        MissingComponentError: If the model has no attention heads.
        EngineError: As `answers`.
    """
    anatomy = cone.engine.anatomy
    heads = heads_of(anatomy)
    tried = [None, *(replacing(means, [one]) for one in heads)]
    found = answers(cone, questions, tried, progress)
    effects = np.zeros((len(questions), anatomy.layers, anatomy.heads))
    layers, numbers = zip(*heads, strict=True)
    gains = found.probabilities[:, 1:] - found.probabilities[:, :1]
    effects[:, list(layers), list(numbers)] = gains
    return effects, found


@torch.no_grad()
def written(engine: Engine, means: CleanMeans) -> Tensor:
    """Return what each head's mean output adds to the residual stream [layers, heads, width].

    A head's output goes through its own columns of the output projection. Where a family
    normalises what attention adds, the norm of the layer's mean output is shared out among its
    heads, so that the heads of a layer add up to what the layer would add.
    """
    anatomy, family = engine.anatomy, engine.anatomy.family
    model = engine.checkpoint.model
    found = torch.zeros(anatomy.layers, anatomy.heads, anatomy.width)
    for layer in sorted({layer for layer, _ in heads_of(anatomy)}):
        projection = model.get_submodule(anatomy.within(layer, str(family.projection)))
        blank = torch.zeros(anatomy.heads + 1, anatomy.heads * anatomy.head_dim)
        for which in range(anatomy.heads):
            blank[which, anatomy.columns(which)] = means.heads[layer, which]
        like = next(projection.parameters())
        put = projection(blank.to(like.device, like.dtype))
        # The bias belongs to no head, but a norm behind it is taken of all.
        bias = put[-1].float().cpu()
        alone = put[:-1].float().cpu() - bias
        if family.attention_added not in (family.attention, family.projection):
            norm = model.get_submodule(anatomy.within(layer, str(family.attention_added)))
            whole = alone.sum(0) + bias
            after = norm(whole.to(put)).float().cpu()
            alone = alone * torch.where(whole == 0, 0, after / whole)
        found[layer] = alone
    return found


def ranked(effects: NDArray[np.float64]) -> list[Head]:
    """Rank heads by their effect, the largest first; of equal ones the earlier comes first.

    Args:
        effects: [layers, heads].
    """
    order = np.argsort(-effects, axis=None, kind="stable")
    layers, heads = np.unravel_index(order, effects.shape)
    return [(int(layer), int(which)) for layer, which in zip(layers, heads, strict=True)]


def others_of(heads: Sequence[Head], count: int, rng: np.random.Generator) -> tuple[Head, ...]:
    """Draw as many other heads from the same layers.

    Where a layer has too few others, all of them are taken.

    Args:
        heads: The heads that are left out.
        count: Heads in a layer.
        rng: Randomness.
    """
    drawn: list[Head] = []
    for layer in sorted({layer for layer, _ in heads}):
        taken = {which for at, which in heads if at == layer}
        left = [which for which in range(count) if which not in taken]
        wanted = min(len(taken), len(left))
        drawn += [(layer, left[k]) for k in sorted(rng.permutation(len(left))[:wanted])]
    return tuple(drawn)
