"""Attention weights: where the heads of a layer look, after the softmax.

Eager attention holds the weights as a tensor, and transformers' attention modules return it
behind what they add. Every other kernel goes from queries and keys to the mixed values without
ever having them, so nothing can be read there, and a copy computed beside the model would not
be what the model used.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from stillwired.engine.batching import Batch, assemble, plan
from stillwired.engine.engine import Engine, Progress
from stillwired.engine.sites import Site
from stillwired.engine.tracing import envoy_at
from stillwired.errors import EngineError, MissingComponentError, UsageError

KERNEL = "eager"
"""The one attention kernel that has weights to read."""

RETURNED_AT = 1
"""Where the weights stand among what an attention module returns, in every family."""

SUM_WITHIN = 1e-3
"""How far from 1 a head's weights may sum; further where the dtype's own rounding is coarser."""

_WRONG = (
    "The family's `attention` in stillwired/checkpoints/families.py names a module that returns "
    "something else there; correct the entry."
)


@dataclass(frozen=True)
class AttentionReading:
    """The attention weights of one batch.

    Attributes:
        rows: Indices into the prompts of the call, in the order of the tensors' rows.
        weights: By layer, [rows, heads, keys], or [rows, heads, queries, keys] where every
            position was asked for, in the model's precision. Keys and queries are positions
            counted from the left; keys right of the query are zero.
    """

    rows: tuple[int, ...]
    weights: Mapping[int, Tensor]

    def __getitem__(self, layer: int) -> Tensor:
        try:
            return self.weights[layer]
        except KeyError:
            raise EngineError(
                f"The attention weights of layer {layer} were not read. Name it among the layers "
                "of the call."
            ) from None

    def __len__(self) -> int:
        return len(self.rows)


def attention_weights(
    engine: Engine,
    prompts: Sequence[Sequence[int]],
    layers: Sequence[int],
    position: int | None = -1,
    *,
    batch_tokens: int = 4096,
    progress: Progress | None = None,
) -> Iterator[AttentionReading]:
    """Read where all heads of some layers look, batch by batch.

    Batches hold prompts of one length, longest first, so readings do not come in the order of
    the prompts: `AttentionReading.rows` says which is which. A pass ends at the last layer that
    is asked for.

    Args:
        engine: What runs the passes.
        prompts: Token ids.
        layers: Block numbers, counted from 0.
        position: The position that looks, counted from the right, -1 for the last token; None
            for every position, which keeps rows x heads x positions² weights of each layer.
        batch_tokens: Upper bound of rows x positions in a batch.
        progress: Called after every batch with tokens done and tokens in all.

    Raises:
        UsageError: If the model runs with a kernel that has no weights.
        MissingComponentError: If a layer has no attention, or the family does not run with the
            kernel that has weights, or its modules do not return them.
        EngineError: If a prompt or a position does not fit, or what comes back is not finite or
            no distribution over positions.
        AnatomyError: If there is no such layer.
    """
    asked = tuple(sorted(set(layers)))
    if not asked:
        raise EngineError("There is no attention to read. Name at least one layer.")
    # The places and positions of attention are those of its output.
    engine.check_call(prompts, (), [Site("attention", layer, position=position) for layer in asked])
    _require_weights(engine)
    batches = plan([len(prompt) for prompt in prompts], batch_tokens)
    return _batches(engine, prompts, batches, asked, position, progress)


def _require_weights(engine: Engine) -> None:
    """Refuse a model that runs, or has to run, without holding attention weights."""
    family, kernel = engine.anatomy.family, engine.checkpoint.regime.attention
    if KERNEL not in family.kernels:
        raise MissingComponentError(
            f"{family.name} has no attention weights that can be read: they exist only with the "
            f"attention kernel {KERNEL!r}, and this form of it does not run with that: "
            f"{family.kernels_why}."
        )
    if kernel != KERNEL:
        raise UsageError(
            f"{engine.checkpoint.name} runs with the attention kernel {kernel!r}, which never "
            f"holds attention weights. Use --claims-attention {KERNEL}."
        )


def _batches(
    engine: Engine,
    prompts: Sequence[Sequence[int]],
    batches: Sequence[tuple[int, ...]],
    layers: tuple[int, ...],
    position: int | None,
    progress: Progress | None,
) -> Iterator[AttentionReading]:
    total = sum(len(prompt) for prompt in prompts)
    done = 0
    for rows in batches:
        batch = assemble(prompts, rows)
        yield _read_batch(engine, batch, layers, position)
        done += sum(batch.lengths)
        if progress is not None:
            progress(done, total)


@torch.no_grad()
def _read_batch(
    engine: Engine, batch: Batch, layers: tuple[int, ...], position: int | None
) -> AttentionReading:
    anatomy = engine.anatomy
    paths = [anatomy.within(layer, str(anatomy.family.attention)) for layer in layers]
    found = engine.tracing.run(batch.inputs, _walk, paths, position)
    weights = dict(zip(layers, found, strict=True))
    for layer, path in zip(layers, paths, strict=True):
        if weights[layer] is None:
            raise MissingComponentError(
                f"{anatomy.family.name} has no attention weights that can be read in layer "
                f"{layer}: {path} does not return them as entry {RETURNED_AT} of a tuple."
            )
        _check_distribution(weights[layer], layer, batch, anatomy.heads)
    return AttentionReading(batch.rows, weights)


def _walk(model: Any, paths: Sequence[str], position: int | None) -> list[Tensor | None]:
    """Visit attention modules in turn; runs inside of a trace, in step with the model.

    Returns:
        The weights of each, or None where it returned none.
    """
    found: list[Tensor | None] = []
    for path in paths:
        output = envoy_at(model, path).output
        returned = output if isinstance(output, tuple) else ()
        weights = returned[RETURNED_AT] if len(returned) > RETURNED_AT else None
        if not isinstance(weights, Tensor) or weights.dim() != 4:
            found.append(None)
        else:
            # A copy, so that one position does not keep those of all others alive.
            found.append(weights if position is None else weights[:, :, position].clone())
    return found


def _check_distribution(weights: Tensor, layer: int, batch: Batch, heads: int) -> None:
    """Refuse weights that cannot come out of a softmax."""
    shape = (weights.shape[0], weights.shape[1], weights.shape[-1])
    if shape != (len(batch.rows), heads, batch.lengths[0]):
        raise EngineError(
            f"The attention weights of layer {layer} are shaped {tuple(weights.shape)}, for "
            f"{len(batch.rows)} prompts of {batch.lengths[0]} tokens and {heads} heads. {_WRONG}"
        )
    wide = torch.promote_types(weights.dtype, torch.float32)
    off = (weights.sum(dim=-1, dtype=wide) - 1).abs().flatten(1).amax(dim=1)
    least = weights.flatten(1).amin(dim=1)
    within = max(SUM_WITHIN, torch.finfo(weights.dtype).eps)
    # Comparisons with NaN are false, so it is counted as bad.
    bad = ~((off <= within) & (least >= 0))
    if not bool(bad.any()):
        return
    index = int(bad.nonzero()[0])
    what = f"The attention weights of layer {layer} in prompt {batch.rows[index]}"
    if not bool(torch.isfinite(weights[index]).all()):
        raise EngineError(
            f"{what} are not finite. Nothing can be concluded from them: try float32, and check "
            "the weights of the model."
        )
    raise EngineError(
        f"{what} are no distribution over positions: the least is {float(least[index]):.3g}, and "
        f"a head's sum is up to {float(off[index]):.3g} away from 1. {_WRONG}"
    )
