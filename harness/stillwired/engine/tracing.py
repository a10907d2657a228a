"""The module that knows nnsight (`remote` adds hosts): a walk through a pass, place by place.

A walk is plain data in (`Visit`) and plain data out (`Walk`); what happens inside of the
traced block is `_walk`, which visits the places in the order in which the model reaches
them and compares every edited place with what it was.
"""

from __future__ import annotations

import linecache
import sys
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Generic, TypeVar

import torch
from torch import Tensor

from stillwired.checkpoints.anatomy import Place
from stillwired.clock import PASSES, spending
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

if TYPE_CHECKING:
    from stillwired.engine.remote import Host

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
            otherwise move the model to the first accelerator that it finds. Of no account for a
            model that accelerate has spread over several.
        remote: Where the passes run: here (None), on a host, or rehearsed (``"local"``): sent
            and run as on a host, but in this process.
    """

    def __init__(
        self, model: Any, tokenizer: Any, device: str, remote: Host | str | None = None
    ) -> None:
        padding = tokenizer.padding_side, tokenizer.pad_token
        spread = bool(getattr(model, "hf_device_map", None))
        # Nobody may move a model that is spread; its blocks bring their inputs to where they are.
        self._traced = TransformersModel(
            model, tokenizer=tokenizer, task="text-generation", device=None if spread else device
        )
        # Readers of several blocks must not find them on several devices.
        self._home = model.get_output_embeddings().weight.device if spread else None
        # nnsight sets the tokenizer up for padding, which is done in `batching` instead.
        tokenizer.padding_side, tokenizer.pad_token = padding
        self.remote = remote
        self._where: dict[str, Any] = {}
        if remote is not None:
            from stillwired.engine.remote import where

            self._where = where(self._traced, remote)

    def walk(
        self,
        inputs: Mapping[str, Any],
        visits: Sequence[Visit[K]],
        mask: Tensor | None = None,
        *,
        grad: bool = False,
    ) -> Walk[K]:
        """Run one forward pass and visit places on its way.

        The pass ends at the last visit, so that nothing is computed that nobody reads:
        neither later blocks nor, unless the logits are visited, the unembedding.

        Args:
            inputs: Arguments of the model's forward.
            visits: Places in forward order.
            mask: True at the prompts' own tokens [rows, positions]; cuts of every position
                are zero elsewhere. None without padding.
            grad: Let gradients flow from the values to those of the changes. Otherwise the
                values are ordinary tensors, so that a later fit may use them.

        Raises:
            EngineError: If a place was passed before it was asked for, or never reached.
        """
        with torch.set_grad_enabled(grad):
            found = self.run(inputs, _walk, visits, mask, inputs["input_ids"].shape[0])
        keys = [cut.key for visit in visits for cut in visit.cuts]
        values = dict(zip(keys, found["values"], strict=True))
        return Walk(values, dict(zip(keys, found["totals"], strict=True)), found["differs"])

    @spending(PASSES)
    def run(self, inputs: Mapping[str, Any], body: Callable[..., Any], *given: Any) -> Any:
        """Run one forward pass with a function that works in step with it, and end it there.

        Args:
            inputs: Arguments of the model's forward.
            body: Called inside of the trace with the traced model and what is given; it
                visits places in forward order, and what it returns is brought back. To run
                remotely, it returns plain Python and tensors.
            given: Plain data for `body`.

        Raises:
            EngineError: If a place was passed before it was asked for, or never reached; if a
                remote pass fails, or is asked for gradients.
        """
        if self.remote is not None and torch.is_grad_enabled():
            raise EngineError(
                "Gradients do not come back from a remote pass. Fit where the weights are: build "
                "the engine without `remote`."
            )
        model = self._traced
        stop = EarlyStopException()
        try:
            with model.trace(**inputs, **self._where):
                found = nnsight.save(body(model, *given))
                raise stop  # ends the pass here; nnsight swallows it
        except OutOfOrderError as error:
            raise EngineError(
                f"A place was asked for that the model had passed or never reaches: {error} "
                "Sites are visited in forward order, so the anatomy of this family names a "
                "module in the wrong place; correct stillwired/checkpoints/families.py."
            ) from None
        except Exception as error:
            if self.remote is None:
                raise
            # Whatever went wrong there or on the way there; a server's errors are only words.
            raise EngineError(
                f"A pass failed at {getattr(self.remote, 'url', 'the rehearsal')}, so nothing was "
                f"read: {type(error).__name__}: {error}. Check that the host runs this model, or "
                "measure without it."
            ) from error
        finally:
            # `tracer.stop()` would raise the same, but out of our hands: through its traceback
            # and context the exception holds the frames of the whole pass in a cycle, and with
            # them the batch, until Python happens to look for cycles.
            stop.__traceback__ = stop.__context__ = None
            stop.__dict__.clear()
        if self.remote is None:
            return found if self._home is None else brought(found, self._home)
        from stillwired.engine.remote import detached

        return detached(found)


def _walk(
    model: Any, visits: Sequence[Visit[Any]], mask: Tensor | None, rows: int
) -> dict[str, list[Any]]:
    """Visit places in turn; runs inside of a trace, in step with the model.

    Returns:
        ``values`` and ``totals`` in the order of the visits' cuts, and ``differs``.
    """
    found: dict[str, list[Any]] = {"values": [], "totals": [], "differs": []}
    for visit in visits:
        envoy = envoy_at(model, visit.place.path)
        state = read_place(envoy, visit.place, rows)
        if visit.changes:
            before = state
            state = before.clone()
            for change in visit.changes:
                change.apply(state)
            write_place(envoy, visit.place, state)
            # What counts is what the model goes on with, so the place is read again.
            state = read_place(envoy, visit.place, rows)
            for change in visit.changes:
                found["differs"].append((change.number, change.differs(before, state)))
        if visit.place.overwritten:
            state = state.clone()
        for cut in visit.cuts:
            value = cut.of(state, mask)
            found["values"].append(value)
            found["totals"].append(total(value.detach()))
    return found


def brought(found: Any, device: torch.device) -> Any:
    """Bring everything in what a pass has found to one device; gradients flow back through it."""
    if isinstance(found, Tensor):
        return found.to(device)
    if isinstance(found, Mapping):
        return {key: brought(value, device) for key, value in found.items()}
    if isinstance(found, list | tuple):
        return type(found)(brought(value, device) for value in found)
    return found


def envoy_at(model: Any, path: str) -> Any:
    """Return what stands for a module in a trace; the empty path is the model itself."""
    return model.get(path) if path else model


def read_place(envoy: Any, place: Place, rows: int = 1) -> Tensor:
    """Read the state at a place, packed as its anatomy says and not otherwise.

    Args:
        envoy: What stands for the place's module in the trace.
        place: The place.
        rows: Rows of the pass; a flat place does not know them itself.

    Returns:
        The state [rows, positions, width].

    Raises:
        AnatomyError: If the value is packed otherwise.
    """
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
    if place.flat and isinstance(value, Tensor) and value.dim() == 2:
        value = value.view(rows, -1, value.shape[-1])
    if not isinstance(value, Tensor) or value.dim() != 3:
        raise AnatomyError(
            f"The {place.side} of {place.path} is not the {place.form} that its family's entry "
            "says. Correct the entry in stillwired/checkpoints/families.py."
        )
    return value


def write_place(envoy: Any, place: Place, state: Tensor) -> None:
    """Replace the state at a place, packed as it was."""
    if place.flat:
        state = state.flatten(0, 1)
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
