"""A vector read as words, and a vector put together again from those words alone.

Todd, Li, Sen Sharma, Mueller, Wallace, Bau (2024), "Function vectors in large language models"
(arXiv 2310.15213), the section on decoded vocabulary. A vector is decoded as the residual at the
end of the model would be: final norm, unembedding, softmax. If the tokens that it decodes to were
all that it carries, another vector that decodes to the same tokens would do the same. The
published recipe for the other vector: a random start, 1,000 steps of Adam with a rate of 0.5 on
the cross-entropy to the 100 most likely tokens, and the length of the vector itself.

The norm takes the length of what it reads away, so a distribution says nothing about it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy, kl_div

from stillwired.clock import FITS, spending
from stillwired.engine.engine import Engine
from stillwired.errors import UsageError

COUNT = 100
STEPS = 1_000
RATE = 0.5

AMONG = ("tokens", "vocabulary")
"""Tokens that a candidate's probability is shared out among while it is fitted."""


@dataclass(frozen=True, eq=False)
class Rebuilt:
    """A vector that was made to decode as another one.

    Attributes:
        vector: [width], as long as the other one, on the same device, float32.
        divergence: KL(target ‖ found) that is left, in nats: both are distributions over the
            target's tokens, renormalised.
        share: Probability that it gives to the tokens in the whole vocabulary.
    """

    vector: Tensor
    divergence: float
    share: float


def decoded(engine: Engine, vector: Tensor, count: int = COUNT) -> tuple[Tensor, Tensor]:
    """Decode a vector into the vocabulary.

    Args:
        engine: Whose final norm and unembedding read the vector.
        vector: [width].
        count: How many tokens.

    Returns:
        The most likely tokens, most likely first and of equals the one with the smaller id,
        [count]; and their probabilities in the whole vocabulary, [count] in float32. Both on the
        model's device.

    Raises:
        UsageError: If the vector is not one, or there are not so many tokens.
    """
    _check(engine, vector)
    probabilities = engine.unembed(engine.final_norm(vector)).float().softmax(-1)
    if not 0 < count <= len(probabilities):
        raise UsageError(
            f"{count} tokens cannot be listed: the vocabulary has {len(probabilities)}. Ask for "
            "a number from 1 to that."
        )
    ranked, tokens = probabilities.sort(descending=True, stable=True)
    return tokens[:count], ranked[:count]


@spending(FITS)
def rebuilt(
    engine: Engine,
    vector: Tensor,
    count: int = COUNT,
    steps: int = STEPS,
    rate: float = RATE,
    seed: int = 0,
    *,
    among: str = "tokens",
) -> Rebuilt:
    """Find a vector that decodes as another one does, from nothing but what that decodes to.

    The target is the vector's distribution over its most likely tokens, renormalised. `among` says
    which distribution of the candidate is held against it:

    - ``tokens``: the one over the same tokens. Nothing then keeps other tokens from being likelier
      than all of them: look at `Rebuilt.share` beside the divergence.
    - ``vocabulary``: the one over all tokens, so that the candidate must also prefer the target's
      tokens to all others. The published code does this. Every step costs the whole unembedding,
      and the call a copy of it in memory.

    Args:
        engine: Whose final norm and unembedding read vectors.
        vector: [width].
        count: How many of its most likely tokens are seen.
        steps: Steps of Adam; the vector after the last one counts.
        rate: Adam's learning rate, for a start with a standard deviation of 1.
        seed: Seed of the start.
        among: One of :data:`AMONG`.

    Raises:
        UsageError: If the vector is not one or has no length, there are not so many tokens, or
            `among` is neither.
    """
    if among not in AMONG:
        raise UsageError(f"There is no among={among!r}. Choose one of: {', '.join(AMONG)}.")
    length = float(_check(engine, vector).norm())
    if length == 0:
        raise UsageError(
            "The vector is zero, so nothing can be as long as it. Look where it was computed."
        )
    tokens, probabilities = decoded(engine, vector, count)
    target = probabilities / probabilities.sum()
    loss = _loss(engine, tokens, target, among)
    start = torch.randn(len(vector), generator=torch.Generator().manual_seed(seed))
    candidate = start.to(target.device).requires_grad_()
    optimiser = torch.optim.Adam([candidate], lr=rate)
    with torch.enable_grad():
        for _ in range(steps):
            # Asked for by name, so that no gradient is left on a model that is not frozen.
            (candidate.grad,) = torch.autograd.grad(loss(candidate), candidate)
            optimiser.step()
    found = candidate.detach()
    found = found / found.norm() * length
    said = engine.unembed(engine.final_norm(found)).float().log_softmax(-1)[tokens].double()
    share = said.exp().sum()
    left = kl_div(said.log_softmax(-1), target.double(), reduction="sum")
    # Rounding may leave a divergence just below zero.
    return Rebuilt(found.to(vector.device), max(float(left), 0.0), float(share))


def _loss(engine: Engine, tokens: Tensor, target: Tensor, among: str) -> Callable[[Tensor], Tensor]:
    """Return the cross-entropy between the target and what a vector decodes to, in nats."""
    if among == "tokens":
        read, wanted = engine.unembedding_of(tokens), target
    else:
        everything = torch.arange(engine.anatomy.vocabulary, device=tokens.device)
        read = engine.unembedding_of(everything)
        wanted = target.new_zeros(len(everything)).index_copy(0, tokens, target)

    def loss(candidate: Tensor) -> Tensor:
        return cross_entropy(read(engine.final_norm(candidate, grad=True)).float(), wanted)

    return loss


def _check(engine: Engine, vector: Tensor) -> Tensor:
    """Return a vector without its history, in float32, or refuse what is none."""
    width = engine.anatomy.width
    if tuple(vector.shape) != (width,):
        raise UsageError(
            f"A tensor of shape {tuple(vector.shape)} cannot be decoded: a vector of this model "
            f"has the shape ({width},). Give one vector at a time."
        )
    if not bool(torch.isfinite(vector).all()):
        raise UsageError("The vector is not finite. Look for an overflow where it was computed.")
    return vector.detach().float()
