"""Damaged checkpoints: a model's weights are changed in place when it has been loaded.

Parts are found through the anatomy, so that a damage works on any family, and what the changed
model computes still satisfies every identity of its anatomy: the wiring is what the entry says,
only what runs through it is not. Draws depend on names alone, so a damage is the same every time.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from stillwired.checkpoints.anatomy import Anatomy
from stillwired.errors import MissingComponentError

Head = tuple[int, int]
"""Layer and number of a query head, both from 0."""

Change = Callable[[Any, Anatomy], None]
"""Changes a model's weights, which are where its anatomy says."""


@torch.no_grad()
def randomise(parameters: Iterable[tuple[str, Tensor]]) -> None:
    """Draw weights anew, each tensor with the mean and the spread that it had."""
    for name, weights in parameters:
        exact = weights.float()
        mean, spread = exact.mean(), exact.std(correction=0)
        weights.copy_(mean + spread * _noise(name, weights))


def all_anew(model: Any, anatomy: Anatomy) -> None:
    """Draw every weight anew."""
    randomise(model.named_parameters())


def middle_third_anew(model: Any, anatomy: Anatomy) -> None:
    """Draw the weights of the middle third of the blocks anew."""
    for layer in _middle_third(anatomy):
        path = anatomy.within(layer, "")
        block = model.get_submodule(path)
        randomise((f"{path}.{name}", weights) for name, weights in block.named_parameters())


@torch.no_grad()
def unembedding_anew(model: Any, anatomy: Anatomy) -> None:
    """Draw the unembedding anew; where it is tied to the embedding, the embedding stays."""
    head = model.get_submodule(anatomy.family.unembedding)
    head.weight = nn.Parameter(head.weight.detach().clone(), requires_grad=False)
    randomise([("unembedding", head.weight)])


def layers_shuffled(model: Any, anatomy: Anatomy) -> None:
    """Give every block the weights of another one of its kind."""
    _move(model, anatomy, lambda count: _cycle("layers", count))


def halves_swapped(model: Any, anatomy: Anatomy) -> None:
    """Give the blocks of the first half the weights of the second, and the other way round."""
    _move(model, anatomy, lambda count: torch.arange(count).roll(count // 2).tolist())


def middle_layer_skipped(model: Any, anatomy: Anatomy) -> None:
    """Let the middle block add nothing to the residual."""
    layer = anatomy.layers // 2
    _silence(_mixing(model, anatomy, layer))
    _silence(_mlp(model, anatomy, layer))


def no_attention(model: Any, anatomy: Anatomy) -> None:
    """Let attention, or the mixer, add nothing in the middle third of the blocks."""
    for layer in _middle_third(anatomy):
        _silence(_mixing(model, anatomy, layer))


def no_mlp(model: Any, anatomy: Anatomy) -> None:
    """Let the MLP add nothing in the middle third of the blocks.

    Raises:
        MissingComponentError: If the blocks have none.
    """
    if anatomy.family.mlp is None:
        raise MissingComponentError(
            f"The blocks of {anatomy.family.name} have no MLP that could be silenced."
        )
    for layer in _middle_third(anatomy):
        _silence(_mlp(model, anatomy, layer))


@torch.no_grad()
def heads_shuffled(model: Any, anatomy: Anatomy) -> None:
    """Let every head write what another head of its layer would.

    Raises:
        MissingComponentError: If no layer has heads to exchange.
    """
    if anatomy.heads < 2:
        raise MissingComponentError(
            f"{anatomy.family.name} has {anatomy.heads} heads in a layer, so there are none to "
            "exchange."
        )
    for layer in range(anatomy.layers):
        if anatomy.kind(layer) != "attention":
            continue
        weights = _from_heads(model, anatomy, layer)
        order = _cycle(f"heads of layer {layer}", anatomy.heads)
        before = weights.clone()
        for which, other in enumerate(order):
            weights[:, anatomy.columns(which)] = before[:, anatomy.columns(other)]


def silencing(heads: Sequence[Head]) -> Change:
    """Return the damage that lets some heads write nothing."""

    @torch.no_grad()
    def silenced(model: Any, anatomy: Anatomy) -> None:
        for layer, which in heads:
            _from_heads(model, anatomy, layer)[:, anatomy.columns(which)] = 0

    return silenced


def noise(share: float) -> Change:
    """Return the damage that adds noise to the blocks' matrices.

    Args:
        share: Spread of the noise, as a share of the spread of each matrix.
    """

    @torch.no_grad()
    def noisy(model: Any, anatomy: Anatomy) -> None:
        for name, weights in _matrices(model, anatomy):
            spread = weights.float().std(correction=0)
            weights.add_((share * spread * _noise(name, weights)).to(weights.dtype))

    return noisy


def rounding(bits: int) -> Change:
    """Return the damage that rounds the blocks' matrices to the nearest of a few levels.

    Levels are symmetric around zero and of equal distance, and each output row has its own scale,
    which its largest weight sets: the plainest way of quantising.

    Args:
        bits: 2 leaves three levels to a row, 8 leaves 255.
    """
    most = 2 ** (bits - 1) - 1

    @torch.no_grad()
    def rounded(model: Any, anatomy: Anatomy) -> None:
        for _, weights in _matrices(model, anatomy):
            exact = weights.float()
            step = exact.abs().amax(-1, keepdim=True) / most
            levels = (exact / step.clamp(min=torch.finfo(exact.dtype).tiny)).round()
            weights.copy_(levels * step)

    return rounded


@torch.no_grad()
def to_bfloat16(model: Any, anatomy: Anatomy) -> None:
    """Round every weight to the precision of bfloat16."""
    for weights in model.parameters():
        weights.copy_(weights.bfloat16())


CHANGES: dict[str, Change] = {
    "random weights": all_anew,
    "middle third untrained": middle_third_anew,
    "unembedding untrained": unembedding_anew,
    "layers shuffled": layers_shuffled,
    "halves swapped": halves_swapped,
    "middle layer skipped": middle_layer_skipped,
    "no attention in the middle third": no_attention,
    "no mlp in the middle third": no_mlp,
    "heads shuffled within layers": heads_shuffled,
    "noise of a tenth": noise(0.1),
    "noise of a half": noise(0.5),
    "rounded to 8 bits": rounding(8),
    "rounded to 4 bits": rounding(4),
    "rounded to 3 bits": rounding(3),
    "rounded to 2 bits": rounding(2),
    "rounded to bfloat16": to_bfloat16,
}
"""What is broken about weights, and what breaks it."""

CARRIERS = "heads that carry tasks silenced"
"""The one that needs to be told something: which heads; see `silencing`."""


def _noise(name: str, weights: Tensor) -> Tensor:
    """Draw normal numbers of a tensor's shape, the same on every device."""
    return torch.randn(weights.shape, generator=_generator(name)).to(weights.device)


def _cycle(purpose: str, count: int) -> list[int]:
    """Draw an order in which nothing stays in its place."""
    round_trip = torch.randperm(count, generator=_generator(purpose)).tolist()
    order = [0] * count
    for here, there in zip(round_trip, (*round_trip[1:], round_trip[0]), strict=True):
        order[here] = there
    return order


def _generator(purpose: str) -> torch.Generator:
    """Seed a draw by its purpose alone."""
    digest = hashlib.sha256(purpose.encode()).digest()
    return torch.Generator().manual_seed(int.from_bytes(digest[:8], "big") >> 1)


def _middle_third(anatomy: Anatomy) -> range:
    """The blocks of the middle third, one at least."""
    first = anatomy.layers // 3
    return range(first, max(2 * anatomy.layers // 3, first + 1))


@torch.no_grad()
def _move(model: Any, anatomy: Anatomy, order_of: Callable[[int], Sequence[int]]) -> None:
    """Move weights between blocks that have the same ones; what is not a weight stays.

    Raises:
        MissingComponentError: If no two blocks are alike.
    """
    alike: dict[tuple[tuple[str, torch.Size], ...], list[dict[str, Tensor]]] = {}
    for layer in range(anatomy.layers):
        held = dict(model.get_submodule(anatomy.within(layer, "")).named_parameters())
        alike.setdefault(tuple((n, w.shape) for n, w in held.items()), []).append(held)
    if all(len(blocks) == 1 for blocks in alike.values()):
        raise MissingComponentError(
            f"No two of the {anatomy.layers} blocks of this {anatomy.family.name} model are of "
            "one shape, so their weights cannot change places."
        )
    for blocks in alike.values():
        order = order_of(len(blocks))
        for name in blocks[0]:
            before = [held[name].clone() for held in blocks]
            for held, source in zip(blocks, order, strict=True):
                held[name].copy_(before[source])


def _mixing(model: Any, anatomy: Anatomy, layer: int) -> list[nn.Module]:
    """What writes into the residual for attention, or for the mixer."""
    mixer = anatomy.family.mixer
    if anatomy.kind(layer) == "mixer" and mixer is not None:
        return [model.get_submodule(anatomy.within(layer, mixer.projection))]
    return [model.get_submodule(anatomy.within(layer, str(anatomy.family.projection)))]


def _mlp(model: Any, anatomy: Anatomy, layer: int) -> list[nn.Module]:
    """What writes into the residual for the MLP: all of it, however it is made up."""
    paths = {path for path in (anatomy.family.mlp, anatomy.family.mlp_added) if path is not None}
    return [model.get_submodule(anatomy.within(layer, path)) for path in sorted(paths)]


@torch.no_grad()
def _silence(modules: Iterable[nn.Module]) -> None:
    for module in modules:
        for weights in module.parameters():
            weights.zero_()


def _from_heads(model: Any, anatomy: Anatomy, layer: int) -> Tensor:
    """What takes a layer's heads into the residual [width, heads x head width]: a view."""
    path = anatomy.within(layer, str(anatomy.family.projection))
    weights: Tensor = model.get_submodule(path).weight
    return weights.T if anatomy.family.projection_kind == "conv1d" else weights


def _matrices(model: Any, anatomy: Anatomy) -> Iterator[tuple[str, Tensor]]:
    """The blocks' matrices with their names, as views whose last axis is what a row reads."""
    for layer in range(anatomy.layers):
        path = anatomy.within(layer, "")
        for inside, module in model.get_submodule(path).named_modules():
            for name, weights in module.named_parameters(recurse=False):
                if weights.dim() >= 2:
                    turned = weights.T if type(module).__name__ == "Conv1D" else weights
                    yield f"{path}.{inside}.{name}", turned
