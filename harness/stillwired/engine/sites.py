"""Addresses in a forward pass."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from stillwired.checkpoints.family import LAYERED
from stillwired.errors import EngineError

_BEFORE, _AFTER = ("embedding",), ("final", "logits")


@dataclass(frozen=True, slots=True)
class Site:
    """One address: a component, its layer and head, and a position.

    What a component means is written down in `stillwired.checkpoints.families`. Sites sort
    in the order in which a forward pass reaches them.

    Attributes:
        component: ``embedding``, ``final``, ``logits``, or one of the components of a block:
            ``head``, ``attention``, ``mlp``, ``residual``, and in a state-space mixer
            ``gate``, ``convolution``, ``state``, ``gated``, ``mixer``.
        layer: Block number, counted from 0; None for the components outside the blocks.
        head: Query head, counted from 0; None for every component but ``head``.
        position: Counted from the right, -1 for the last token; None for every position.
    """

    component: str
    layer: int | None = None
    head: int | None = None
    position: int | None = None

    def __post_init__(self) -> None:
        layered = self.component in LAYERED
        if not layered and self.component not in _BEFORE + _AFTER:
            raise EngineError(
                f"There is no component {self.component!r}. Choose one of: "
                f"{', '.join(_BEFORE + LAYERED + _AFTER)}."
            )
        if layered != (self.layer is not None) or (self.layer or 0) < 0:
            raise EngineError(
                f"The site {self} has no valid layer. Components of a block "
                f"({', '.join(LAYERED)}) need a layer counted from 0, the others have none."
            )
        if (self.component == "head") != (self.head is not None) or (self.head or 0) < 0:
            raise EngineError(
                f"The site {self} has no valid head. The component 'head' needs a head counted "
                "from 0, the others have none."
            )
        if self.position is not None and self.position >= 0:
            raise EngineError(
                f"The site {self} counts its position from the left. Positions count from the "
                "right, so that they mean the same in prompts of any length: -1 is the last "
                "token, None every token."
            )

    def __str__(self) -> str:
        where = [str(number) for number in (self.layer, self.head) if number is not None]
        if self.position is not None:
            where.append(f"position {self.position}")
        return f"{self.component}({', '.join(where)})"

    @property
    def order(self) -> tuple[int, int, int, int]:
        """Sort key: forward order, then head, then position (every position first)."""
        if self.layer is not None:
            when = (self.layer, LAYERED.index(self.component))
        elif self.component in _BEFORE:
            when = (-1, 0)
        else:
            when = (1 << 30, _AFTER.index(self.component))
        place = -(1 << 30) if self.position is None else self.position
        return (*when, -1 if self.head is None else self.head, place)

    def __lt__(self, other: Any) -> bool:
        if not isinstance(other, Site):
            return NotImplemented
        return self.order < other.order


def embedding(position: int | None = None) -> Site:
    """Return the site of the first block's input."""
    return Site("embedding", position=position)


def residual(layer: int, position: int | None = None) -> Site:
    """Return the site of a block's output."""
    return Site("residual", layer, position=position)


def attention(layer: int, position: int | None = None) -> Site:
    """Return the site of what a block's attention adds to the residual."""
    return Site("attention", layer, position=position)


def mlp(layer: int, position: int | None = None) -> Site:
    """Return the site of what a block's MLP adds to the residual."""
    return Site("mlp", layer, position=position)


def mixer(layer: int, position: int | None = None) -> Site:
    """Return the site of what a block's state-space mixer adds to the residual."""
    return Site("mixer", layer, position=position)


def gate(layer: int, position: int | None = None) -> Site:
    """Return the site of a mixer's gate, before its activation."""
    return Site("gate", layer, position=position)


def convolution(layer: int, position: int | None = None) -> Site:
    """Return the site of a mixer's convolution, after its activation."""
    return Site("convolution", layer, position=position)


def state(layer: int, position: int | None = None) -> Site:
    """Return the site of the output of a mixer's state-space model, before the gate."""
    return Site("state", layer, position=position)


def gated(layer: int, position: int | None = None) -> Site:
    """Return the site of what a mixer's output projection reads."""
    return Site("gated", layer, position=position)


def head(layer: int, number: int, position: int | None = None) -> Site:
    """Return the site of one head's output, before the output projection."""
    return Site("head", layer, number, position)


def final(position: int | None = None) -> Site:
    """Return the site of the final norm's output."""
    return Site("final", position=position)


def logits(position: int | None = None) -> Site:
    """Return the site of the logits."""
    return Site("logits", position=position)
