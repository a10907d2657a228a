"""Identities of a state-space mixer: what pins its gate, convolution and state to a module.

The scan itself is not repeated. Every part that can be read is tied to its neighbours by the
model's own modules: the convolution to the input projection, the state and the gate to the
gated norm, the gated state to the mixer's output.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Hashable, Mapping
from typing import Any

import torch
from torch import Tensor

from stillwired.checkpoints.anatomy import Anatomy, Place
from stillwired.checkpoints.family import Mixer

_PARTS = ("gate", "convolution", "state", "gated", "mixer")

States = Mapping[Any, Tensor]
"""States of one prompt [1, positions, width] by name and layer."""


def mixer_places(anatomy: Anatomy, layer: int) -> list[tuple[Hashable, Place]]:
    """List what the identities need of a block's mixer, in forward order.

    The gate's place is listed whole: the other parts of that output are needed too.
    """
    return [
        ((name, layer), anatomy.place(name, layer))
        for name in anatomy.components(layer)
        if name in _PARTS
    ]


def mixer_identities(
    model: Any, anatomy: Anatomy, mixer: Mixer, states: States
) -> dict[str, float]:
    """Return how well each identity holds: the largest distance over layers and positions.

    Args:
        model: The model, for its weights and modules.
        anatomy: The anatomy in question.
        mixer: The part of its family's entry that the states were read by.
        states: States at `mixer_places` of every layer with a mixer.
    """
    layers = [layer for layer in range(anatomy.layers) if anatomy.kind(layer) == "mixer"]

    def worst(hold: Callable[..., float], *paths: str | None) -> float:
        """The largest distance over layers of an identity that needs some modules."""
        found = 0.0
        for layer in layers:
            modules = [model.get_submodule(anatomy.within(layer, str(path))) for path in paths]
            here = {name: states[name, layer] for name in _PARTS if (name, layer) in states}
            found = larger(found, hold(anatomy, here, *modules))
        return found

    differences = {"projected gated state = mixer output": worst(_output, mixer.projection)}
    if mixer.convolution is not None:
        name = "convolution of the projected input = convolution"
        differences[name] = worst(_convolution, mixer.filter, mixer.activation)
    if mixer.state is not None:
        differences["gated norm of the state = gated state"] = worst(_gating, mixer.state)
    return differences


Here = Mapping[str, Tensor]
"""States of one block's mixer."""


def _output(anatomy: Anatomy, here: Here, projection: Any) -> float:
    if here["gated"].shape[-1] != anatomy.inner:
        return math.inf
    return distance(projection(here["gated"]), here["mixer"])


def _convolution(anatomy: Anatomy, here: Here, filter_: Any, activation: Any) -> float:
    """Compare with the half of the input projection's output that is not the gate."""
    gate = anatomy.part("gate")
    start = 0 if gate is not None and gate.start else anatomy.inner
    states = here["gate"][..., start : start + anatomy.inner]
    if states.shape[-1] != anatomy.inner:
        return math.inf
    # The filter's own padding reaches over the end by what it reaches over the start.
    channels = filter_(states.transpose(1, 2))[..., : states.shape[1]]
    return distance(activation(channels).transpose(1, 2), here["convolution"])


def _gating(anatomy: Anatomy, here: Here, norm: Any) -> float:
    gate = here["gate"][..., anatomy.part("gate")]
    if gate.shape != here["state"].shape:
        return math.inf
    return distance(norm(here["state"], gate), here["gated"])


def larger(a: float, b: float) -> float:
    """Return the larger of two distances, NaN if either is."""
    return b if not b <= a else a


def distance(found: Tensor, expected: Tensor) -> float:
    """Return the largest distance of two states' vectors, relative to the expected length.

    States of different width are infinitely far apart.
    """
    if found.shape != expected.shape:
        return math.inf
    exact = torch.promote_types(expected.dtype, torch.float32)
    found, expected = found.to(expected.device, exact), expected.to(exact)
    length = expected.norm(dim=-1).clamp(min=torch.finfo(exact).tiny)
    return float(((found - expected).norm(dim=-1) / length).max())
