"""Safetensors files seen from outside: whether they are whole, and what they hold.

Only headers are read, so this costs milliseconds and needs no torch.
"""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from pathlib import Path

from stillwired.errors import CheckpointError

_LENGTH = 8  # bytes of the header's length, little-endian
_LONGEST = 100_000_000  # the format's own limit for a header


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
        with path.open("rb") as file:
            length = int.from_bytes(file.read(_LENGTH), "little")
            if size < _LENGTH or length > min(size - _LENGTH, _LONGEST):
                raise ValueError("its header reaches beyond the end of the file")
            header = json.loads(file.read(length))
        header.pop("__metadata__", None)
        facts = tuple(
            TensorFacts(name, str(tensor["dtype"]), tuple(int(n) for n in tensor["shape"]))
            for name, tensor in header.items()
        )
        ends = [int(tensor["data_offsets"][1]) for tensor in header.values()]
    except (ValueError, KeyError, TypeError, IndexError, AttributeError) as error:
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


def count_parameters(paths: tuple[Path, ...]) -> int:
    """Number of stored parameters; tied weights are stored, and counted, once."""
    return sum(math.prod(tensor.shape) for path in paths for tensor in read_header(path))
