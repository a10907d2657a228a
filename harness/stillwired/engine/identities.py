"""Identities that a model's states satisfy if, and only if, its anatomy is right.

They hold for any weights, so they need no reference: a hook on the wrong module, a family
entry that forgot a norm, a scale or a cap, or paths shifted by one block break at least one
of them. They run whenever an engine is built, and again in the tests on models that are
damaged on purpose.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Hashable, Mapping
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

from stillwired.checkpoints.anatomy import Anatomy, Place
from stillwired.engine.tracing import Cut, Tracing, Visit
from stillwired.errors import AnatomyError

TOLERANCES = {
    torch.float64: 1e-12,
    torch.float32: 1e-5,
    torch.float16: 2e-3,
    torch.bfloat16: 1.5e-2,
}
"""Largest difference that rounding explains, relative to the length of a state vector."""

CHECK_LENGTH = 8
"""Tokens of the prompt on which the identities are checked."""


class Identity(NamedTuple):
    """One identity and how well it held.

    Attributes:
        name: What the identity says.
        max_difference: Largest distance between its two sides over layers, rows and
            positions, relative to the length of the state vector that it should be.
        tolerance: Largest difference that rounding in this precision explains.
    """

    name: str
    max_difference: float
    tolerance: float

    @property
    def holds(self) -> bool:
        """Whether the identity held; NaN never does."""
        return self.max_difference <= self.tolerance


def check_identities(
    tracing: Tracing, model: Any, anatomy: Anatomy, unembed: Callable[[Tensor], Tensor]
) -> tuple[Identity, ...]:
    """Check every identity on one short prompt.

    Args:
        tracing: The traced model.
        model: The same model, for its weights and norms.
        anatomy: The anatomy in question.
        unembed: From the final norm's output to logits, as instruments will call it.

    Returns:
        One entry per identity, whether it held or not.
    """
    ids = torch.tensor([[(7919 * k + 13) % anatomy.vocabulary for k in range(CHECK_LENGTH)]])
    visits = [Visit(place, (Cut(key),)) for key, place in _places(anatomy)]
    states = tracing.walk({"input_ids": ids, "use_cache": False}, visits).values
    device = states["in", 0].device
    with torch.no_grad():
        differences = {
            "embedding = input of the first block": _embedding(
                model, anatomy, states, ids.to(device)
            ),
            "output of a block = input of the next": _chain(anatomy, states),
            "output of a block = input + attention + mlp": _block(anatomy, states),
            "input of the mlp = its norm of the residual": _mlp_input(model, anatomy, states),
            "sum of projected heads = attention output": _heads(model, anatomy, states),
            "norm of the last residual = final state": _distance(
                _module(model, anatomy.family.final_norm)(states["out", anatomy.layers - 1]),
                states["final"],
            ),
            "unembedded final state = logits": _distance(
                unembed(states["final"]), states["logits"]
            ),
        }
    tolerance = TOLERANCES[states["final"].dtype]
    return tuple(Identity(name, value, tolerance) for name, value in differences.items())


def require(identities: tuple[Identity, ...], anatomy: Anatomy) -> None:
    """Refuse an anatomy whose identities do not hold.

    Raises:
        AnatomyError: Names the first identity that failed.
    """
    for name, difference, tolerance in (entry for entry in identities if not entry.holds):
        raise AnatomyError(
            f"{anatomy.family.name}: the identity “{name}” fails (largest relative difference "
            f"{difference:.1e}, rounding explains {tolerance:.0e}). The family's entry in "
            "stillwired/checkpoints/families.py does not describe this model; nothing measured "
            "with it would mean what it says."
        )


def _places(anatomy: Anatomy) -> list[tuple[Hashable, Place]]:
    """List what the identities need, in forward order."""
    family = anatomy.family
    places: list[tuple[Hashable, Place]] = []
    for layer in range(anatomy.layers):
        block = anatomy.within(layer, "")
        places += [
            (("in", layer), Place(block, "input", family.layer_call)),
            (("heads", layer), anatomy.place("head", layer)),
            (
                ("projected", layer),
                Place(anatomy.within(layer, family.attention), "output", family.attention_out),
            ),
        ]
        if family.attention_added != family.attention:
            places.append((("attention", layer), anatomy.place("attention", layer)))
        places += [
            (
                ("mlp in", layer),
                Place(anatomy.within(layer, family.mlp), "input", "positional"),
            ),
            (("mlp", layer), anatomy.place("mlp", layer)),
            (("out", layer), anatomy.place("residual", layer)),
        ]
    return [*places, ("final", anatomy.place("final")), ("logits", anatomy.place("logits"))]


States = Mapping[Any, Tensor]


def _embedding(model: Any, anatomy: Anatomy, states: States, ids: Tensor) -> float:
    family = anatomy.family
    weight = _module(model, family.embedding).weight
    expected = functional.embedding(ids, weight)
    if anatomy.embedding_scale != 1.0:
        expected = expected * torch.tensor(anatomy.embedding_scale).to(weight)
    if family.position_embedding is not None:
        expected = expected + _module(model, family.position_embedding).weight[: ids.shape[1]]
    return _distance(states["in", 0], expected)


def _chain(anatomy: Anatomy, states: States) -> float:
    return max(
        (
            _distance(states["in", layer + 1], states["out", layer])
            for layer in range(anatomy.layers - 1)
        ),
        default=0.0,
    )


def _attention(states: States, layer: int) -> Tensor:
    """What attention adds: after its own norm where the family has one."""
    return states.get(("attention", layer), states["projected", layer])


def _block(anatomy: Anatomy, states: States) -> float:
    return max(
        _distance(
            states["in", layer] + _attention(states, layer) + states["mlp", layer],
            states["out", layer],
        )
        for layer in range(anatomy.layers)
    )


def _mlp_input(model: Any, anatomy: Anatomy, states: States) -> float:
    worst = 0.0
    for layer in range(anatomy.layers):
        read = states["in", layer]
        if not anatomy.parallel:
            read = read + _attention(states, layer)
        norm = _module(model, anatomy.within(layer, anatomy.family.mlp_norm))
        worst = _larger(worst, _distance(norm(read), states["mlp in", layer]))
    return worst


def _heads(model: Any, anatomy: Anatomy, states: States) -> float:
    worst = 0.0
    for layer in range(anatomy.layers):
        projection = _module(model, anatomy.within(layer, anatomy.family.projection))
        weight = projection.weight.float()
        weight = weight if anatomy.family.projection_kind == "conv1d" else weight.T
        heads = states["heads", layer].float()
        inner = anatomy.heads * anatomy.head_dim
        if heads.shape[-1] != inner or tuple(weight.shape) != (inner, anatomy.width):
            return math.inf
        summed = torch.zeros_like(states["projected", layer], dtype=torch.float32)
        for number in range(anatomy.heads):
            columns = anatomy.columns(number)
            summed += heads[..., columns] @ weight[columns]
        if projection.bias is not None:
            summed += projection.bias
        worst = _larger(worst, _distance(summed, states["projected", layer]))
    return worst


def _module(model: Any, path: str) -> Any:
    return model.get_submodule(path)


def _larger(a: float, b: float) -> float:
    """The larger of two distances, NaN if either is."""
    return b if not b <= a else a


def _distance(found: Tensor, expected: Tensor) -> float:
    """Largest distance of two states' vectors, relative to the expected one's length."""
    exact = torch.promote_types(expected.dtype, torch.float32)
    found, expected = found.to(exact), expected.to(exact)
    length = expected.norm(dim=-1).clamp(min=torch.finfo(exact).tiny)
    return float(((found - expected).norm(dim=-1) / length).max())
