"""Safetensors files seen from outside: whether they are whole, and what they hold.

Only headers are read, so this costs milliseconds and needs no torch.
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from stillwired.errors import CheckpointError
from stillwired.store.disk import naming

_LENGTH = 8  # bytes of the header's length, little-endian
_LONGEST = 100_000_000  # the format's own limit for a header
_MOST_DIMENSIONS = 64  # of a tensor; torch has no more


@dataclass(frozen=True)
class TensorFacts:
    """What a header says of one tensor.

    Attributes:
        name: Its name.
        dtype: As safetensors calls it, for example ``"F32"``.
        shape: Its shape.
    """

    name: str
    dtype: str
    shape: tuple[int, ...]


def read_header(path: Path) -> tuple[TensorFacts, ...]:
    """Read a safetensors header and check that the file is as long as it says.

    Raises:
        CheckpointError: If the file is cut short, has something behind its end, or is not
            safetensors.
    """
    size = path.stat().st_size
    try:
        with naming(path), path.open("rb") as file:
            length = int.from_bytes(file.read(_LENGTH), "little")
            if size < _LENGTH or length > size - _LENGTH:
                raise ValueError("its header reaches beyond the end of the file")
            if length > _LONGEST:
                raise ValueError(f"its header has {length} bytes, and {_LONGEST} are allowed")
            header = json.loads(file.read(length), object_pairs_hook=_no_name_twice)
        header.pop("__metadata__", None)
        facts = tuple(
            TensorFacts(name, str(tensor["dtype"]), _numbers(tensor["shape"], _MOST_DIMENSIONS))
            for name, tensor in header.items()
        )
        places = [_numbers(tensor["data_offsets"], 2) for tensor in header.values()]
        ends = [end for _, end in places]
        if sum(end - begin for begin, end in places) != max(ends, default=0):
            raise ValueError("its tensors overlap or leave gaps")
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise CheckpointError(
            f"{path} is not a whole safetensors file: {error}. Fetch or export it again."
        ) from error
    expected = _LENGTH + length + max(ends, default=0)
    if size != expected:
        trouble = "cut short" if size < expected else "longer than it says"
        raise CheckpointError(
            f"{path} is {trouble}: it has {size} bytes, and its header speaks of {expected}. Fetch "
            "or export it again."
        )
    return facts


def _numbers(values: Any, most: int) -> tuple[int, ...]:
    """Whole numbers from 0 up, which is all that shapes and places are made of."""
    if not isinstance(values, list) or len(values) > most:
        raise ValueError("a shape or place of it is no short list")
    if not all(type(value) is int and value >= 0 for value in values):
        raise ValueError("a shape or place of it is made of something else than whole numbers")
    return tuple(values)


def _no_name_twice(pairs: Sequence[tuple[str, Any]]) -> dict[str, Any]:
    """Refuse what readers of JSON understand in different ways."""
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("its header has the same name twice")
    return found


def count_parameters(paths: tuple[Path, ...]) -> int:
    """Number of stored parameters; tied weights are stored, and counted, once."""
    return sum(math.prod(tensor.shape) for path in paths for tensor in read_header(path))
