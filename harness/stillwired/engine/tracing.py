"""The one module that knows nnsight: a walk through a forward pass, place by place.

A walk is plain data in (`Visit`) and plain data out (`Walk`); what happens inside of the
traced block is `_walk`, which visits the places in the order in which the model reaches
them and compares every edited place with what it was.
"""

from __future__ import annotations

import linecache
import sys
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

import torch
from torch import Tensor

from stillwired.checkpoints.anatomy import Place
from stillwired.engine.edits import Change
from stillwired.engine.reading import total
from stillwired.errors import AnatomyError, EngineError

_FIRST = "nnsight" not in sys.modules

import nnsight  # noqa: E402
from nnsight import TransformersModel  # noqa: E402
from nnsight.intervention.interleaver import (  # noqa: E402
    EarlyStopException,
    OutOfOrderError,
)

if _FIRST and hasattr(object, "save"):
    # nnsight hangs a `save` method on every object of the process. We use the function, so
    # take the method away again, unless somebody else imported nnsight before us.
    from nnsight import _c

    if _c.unmount is not None:
        _c.unmount("save")

# nnsight compiles the source of a traced block when it first runs. Read the file now, so
# that an edit of it during a long run does not execute the edited text.
linecache.getlines(__file__)

K = TypeVar("K", bound=Hashable)
"""What a walk's user calls the values that it wants back."""


@dataclass(frozen=True)
class Cut(Generic[K]):
    """What is kept of a state [rows, positions, width].

    Attributes:
        key: Name in the walk's values.
        position: Counted from the right, or None for every position.
        columns: The part of the width, or None for all of it.
    """

    key: K
    position: int | None = None
    columns: slice | None = None

    def of(self, state: Tensor, mask: Tensor | None) -> Tensor:
        """Cut a state, so that the result keeps no larger tensor alive than it must."""
        state = state.detach()
        part = state if self.columns is None else state[..., self.columns]
        if self.position is not None:
            return part[:, self.position].clone()
        if mask is not None:
            return part.masked_fill(~mask.to(part.device).unsqueeze(-1), 0)
        return part if self.columns is None else part.contiguous()


@dataclass(frozen=True)
class Visit(Generic[K]):
    """What is done at one place: first the changes, then the cuts."""

    place: Place
    cuts: tuple[Cut[K], ...] = ()
    changes: tuple[Change, ...] = ()


@dataclass(frozen=True)
class Walk(Generic[K]):
    """What a walk brings back.

    Attributes:
        values: The cuts, by key.
        totals: Their sums, which are not finite if any entry is not.
        differs: For every change its number and, row by row, whether the site differs.
    """

    values: dict[K, Tensor] = field(default_factory=dict)
    totals: dict[K, Tensor] = field(default_factory=dict)
    differs: list[tuple[int, Tensor]] = field(default_factory=list)


class Tracing:
    """A model whose forward passes can be walked.

    Args:
        model: A loaded transformers model.
        tokenizer: Its tokenizer, which nnsight insists on.
        device: Where the model lives. Named, because the pipeline underneath would
            otherwise move the model to the first accelerator that it finds.
    """

    def __init__(self, model: Any, tokenizer: Any, device: str) -> None:
        padding = tokenizer.padding_side, tokenizer.pad_token
        self._traced = TransformersModel(
            model, tokenizer=tokenizer, task="text-generation", device=device
        )
        # nnsight sets the tokenizer up for padding, which is done in `batching` instead.
        tokenizer.padding_side, tokenizer.pad_token = padding

    @torch.no_grad()
    def walk(
        self, inputs: Mapping[str, Any], visits: Sequence[Visit[K]], mask: Tensor | None = None
    ) -> Walk[K]:
        """Run one forward pass and visit places on its way.

        The pass ends at the last visit, so that nothing is computed that nobody reads:
        neither later blocks nor, unless the logits are visited, the unembedding. Gradients
        are off, and the tensors are ordinary ones, so that a later fit may use them.

        Args:
            inputs: Arguments of the model's forward.
            visits: Places in forward order.
            mask: True at the prompts' own tokens [rows, positions]; cuts of every position
                are zero elsewhere. None without padding.

        Raises:
            EngineError: If a place was passed before it was asked for, or never reached.
        """
        model = self._traced
        stops = [(_envoy(model, visit.place.path), visit) for visit in visits]
        stop = EarlyStopException()
        try:
            with model.trace(**inputs):
                found = nnsight.save(_walk(stops, mask))
                raise stop  # ends the pass here; nnsight swallows it
        except OutOfOrderError as error:
            raise EngineError(
                f"A place was asked for that the model had passed or never reaches: {error} "
                "Sites are visited in forward order, so the anatomy of this family names a "
                "module in the wrong place; correct stillwired/checkpoints/families.py."
            ) from None
        finally:
            # `tracer.stop()` would raise the same, but out of our hands: through its traceback
            # and context the exception holds the frames of the whole pass in a cycle, and with
            # them the batch, until Python happens to look for cycles.
            stop.__traceback__ = stop.__context__ = None
            stop.__dict__.clear()
        walked: Walk[K] = found
        return walked


def _walk(stops: Sequence[tuple[Any, Visit[K]]], mask: Tensor | None) -> Walk[K]:
    """Visit places in turn; runs inside of a trace, in step with the model."""
    walk: Walk[K] = Walk()
    for envoy, visit in stops:
        state = _read(envoy, visit.place)
        if visit.changes:
            before = state
            state = before.clone()
            for change in visit.changes:
                change.apply(state)
            _write(envoy, visit.place, state)
            # What counts is what the model goes on with, so the place is read again.
            state = _read(envoy, visit.place)
            for change in visit.changes:
                walk.differs.append((change.number, change.differs(before, state)))
        for cut in visit.cuts:
            value = cut.of(state, mask)
            walk.values[cut.key] = value
            walk.totals[cut.key] = total(value)
    return walk


def _envoy(model: Any, path: str) -> Any:
    return model.get(path) if path else model


def _read(envoy: Any, place: Place) -> Tensor:
    """Read the state at a place, packed as its anatomy says and not otherwise."""
    value: Any = None
    if place.form in ("positional", "keyword"):
        args, kwargs = envoy.inputs
        if place.form == "positional" and args:
            value = args[0]
        elif place.form == "keyword" and not args and kwargs:
            value = next(iter(kwargs.values()))
    else:
        output = envoy.output
        if place.form == "logits":
            value = output.logits
        elif place.form == "tuple" and isinstance(output, tuple):
            value = output[0]
        elif place.form == "tensor":
            value = output
    if not isinstance(value, Tensor) or value.dim() != 3:
        raise AnatomyError(
            f"The {place.side} of {place.path} is not the {place.form} that its family's entry "
            "says. Correct the entry in stillwired/checkpoints/families.py."
        )
    return value


def _write(envoy: Any, place: Place, state: Tensor) -> None:
    """Replace the state at a place, packed as it was."""
    if place.form in ("positional", "keyword"):
        args, kwargs = envoy.inputs
        if place.form == "positional":
            envoy.inputs = ((state, *args[1:]), kwargs)
        else:
            name = next(iter(kwargs))
            envoy.inputs = (args, {**kwargs, name: state})
    elif place.form == "tuple":
        envoy.output = (state, *envoy.output[1:])
    else:
        envoy.output = state
