"""Identities that a model's states satisfy if, and only if, its anatomy is right.

They hold for any weights, so they need no reference: a hook on the wrong module, a family
entry that forgot a norm, a scale or a cap, or paths shifted by one block break at least one
of them. They run whenever an engine is built, and again in the tests on models that are
damaged on purpose.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Hashable
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

from stillwired.checkpoints.anatomy import Anatomy, Place
from stillwired.engine.mixer_identities import (
    States,
    distance,
    larger,
    mixer_identities,
    mixer_places,
)
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
    family = anatomy.family
    with torch.no_grad():
        differences = {
            "embedding = input of the first block": _embedding(model, anatomy, states, ids),
            "output of a block = input of the next": _chain(anatomy, states),
            f"output of a block = input + {_branches(anatomy)}": _block(anatomy, states),
        }
        if family.mlp is not None:
            read = "the residual" if family.mlp_norm is None else "its norm of the residual"
            differences[f"input of the mlp = {read}"] = _mlp_input(model, anatomy, states)
        if "attention" in _kinds(anatomy):
            differences["sum of projected heads = attention output"] = _heads(
                model, anatomy, states
            )
        if family.mixer is not None:
            differences |= mixer_identities(model, anatomy, family.mixer, states)
        differences |= {
            "norm of the last residual = final state": distance(
                model.get_submodule(family.final_norm)(states["out", anatomy.layers - 1]),
                states["final"],
            ),
            # Some families return logits in a precision of their own.
            "unembedded final state = logits": distance(
                unembed(states["final"]).to(states["logits"].dtype), states["logits"]
            ),
        }
    # A residual may be kept in a finer precision than the model computes in.
    tolerance = TOLERANCES[next(model.parameters()).dtype]
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


def _kinds(anatomy: Anatomy) -> list[str]:
    """Return what the model's blocks mix positions with."""
    return sorted({anatomy.kind(layer) for layer in range(anatomy.layers)})


def _branches(anatomy: Anatomy) -> str:
    """Name what blocks add to the residual."""
    mixes = " or ".join(_kinds(anatomy))
    return mixes if anatomy.family.mlp is None else f"{mixes} + mlp"


def _places(anatomy: Anatomy) -> list[tuple[Hashable, Place]]:
    """List what the identities need, in forward order."""
    family = anatomy.family
    places: list[tuple[Hashable, Place]] = []
    for layer in range(anatomy.layers):
        block = anatomy.within(layer, "")
        places.append((("in", layer), Place(block, "input", family.layer_call)))
        if anatomy.kind(layer) == "mixer":
            places += mixer_places(anatomy, layer)
        else:
            places += _attention_places(anatomy, layer)
        if family.mlp is not None:
            read = Place(
                anatomy.within(layer, family.mlp), "input", "positional", flat=family.mlp_flat
            )
            places += [(("mlp in", layer), read), (("mlp", layer), anatomy.place("mlp", layer))]
        places.append((("out", layer), anatomy.place("residual", layer)))
    return [*places, ("final", anatomy.place("final")), ("logits", anatomy.place("logits"))]


def _attention_places(anatomy: Anatomy, layer: int) -> list[tuple[Hashable, Place]]:
    """List what the identities need of a block's attention."""
    family = anatomy.family
    added = anatomy.place("attention", layer)
    places: list[tuple[Hashable, Place]] = [(("heads", layer), anatomy.place("head", layer))]
    if family.attention_added == family.attention or family.adds_residual:
        return [*places, (("projected", layer), added)]
    # The heads sum up to what the attention module returns, before the norm behind it.
    module = Place(anatomy.within(layer, str(family.attention)), "output", family.attention_out)
    return [*places, (("projected", layer), module), (("attention", layer), added)]


def _embedding(model: Any, anatomy: Anatomy, states: States, ids: Tensor) -> float:
    family = anatomy.family
    weight = model.get_submodule(family.embedding).weight
    expected = functional.embedding(ids.to(weight.device), weight)
    if anatomy.embedding_scale != 1.0:
        expected = expected * torch.tensor(anatomy.embedding_scale).to(weight)
    if family.embedding_norm is not None:
        expected = model.get_submodule(family.embedding_norm)(expected)
    if family.position_embedding is not None:
        first = family.position_offset
        rows = model.get_submodule(family.position_embedding).weight
        expected = expected + rows[first : first + ids.shape[1]]
    return distance(states["in", 0], expected)


def _chain(anatomy: Anatomy, states: States) -> float:
    return max(
        (
            distance(states["in", layer + 1], states["out", layer])
            for layer in range(anatomy.layers - 1)
        ),
        default=0.0,
    )


def _mixed(states: States, layer: int) -> Tensor:
    """What attention or the mixer adds: after its own norm where the family has one."""
    if ("mixer", layer) in states:
        return states["mixer", layer]
    return states.get(("attention", layer), states["projected", layer])


def _block(anatomy: Anatomy, states: States) -> float:
    worst = 0.0
    for layer in range(anatomy.layers):
        residual = states["in", layer]
        if anatomy.family.residual_float32:
            residual = residual.float()
        parts = [residual, _mixed(states, layer)]
        if anatomy.family.mlp is not None:
            parts.append(states["mlp", layer])
        if any(part.shape != parts[0].shape for part in parts):
            return math.inf
        # Summed in the order in which blocks sum, so that rounding is theirs.
        summed = functools.reduce(torch.add, parts)
        worst = larger(worst, distance(summed, states["out", layer]))
    return worst


def _mlp_input(model: Any, anatomy: Anatomy, states: States) -> float:
    worst = 0.0
    for layer in range(anatomy.layers):
        read = states["in", layer]
        if not anatomy.parallel:
            mixed = _mixed(states, layer)
            if mixed.shape != read.shape:
                return math.inf
            read = read + mixed
        if anatomy.family.mlp_norm is not None:
            read = model.get_submodule(anatomy.within(layer, anatomy.family.mlp_norm))(read)
        worst = larger(worst, distance(read, states["mlp in", layer]))
    return worst


def _heads(model: Any, anatomy: Anatomy, states: States) -> float:
    worst = 0.0
    for layer in range(anatomy.layers):
        if anatomy.kind(layer) != "attention":
            continue
        projection = model.get_submodule(anatomy.within(layer, str(anatomy.family.projection)))
        exact = torch.promote_types(projection.weight.dtype, torch.float32)
        weight = projection.weight.to(exact)
        weight = weight if anatomy.family.projection_kind == "conv1d" else weight.T
        heads = states["heads", layer].to(weight.device, exact)
        inner = anatomy.heads * anatomy.head_dim
        if heads.shape[-1] != inner or tuple(weight.shape) != (inner, anatomy.width):
            return math.inf
        summed = torch.zeros_like(states["projected", layer], dtype=exact, device=weight.device)
        for number in range(anatomy.heads):
            columns = anatomy.columns(number)
            summed += heads[..., columns] @ weight[columns]
        if projection.bias is not None:
            summed += projection.bias
        worst = larger(worst, distance(summed, states["projected", layer]))
    return worst
