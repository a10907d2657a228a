"""A GGUF file's header: what the file says it is, and whether it is whole.

The layout (version 2 and 3): magic, version, number of tensors, number of key-value pairs, the
pairs, one record per tensor (name, shape, type, offset), then the data, aligned. Reading it here
takes a fraction of a second, needs no torch, and turns a file that was cut short or altered into
one clear sentence before anything is converted.
"""

from __future__ import annotations

import math
import mmap
import struct
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from stillwired.checkpoints.sizes import absurd_size
from stillwired.errors import CheckpointError

_MAGIC = b"GGUF"
_VERSIONS = (2, 3)
_ALIGNMENT = 32  # unless the file says otherwise
_MOST_DIMENSIONS = 4  # of a tensor, as the format has it
_LONGEST_NAME = 100  # that a message takes over

_STRING, _ARRAY = 8, 9
_SCALARS = {
    0: "<B",
    1: "<b",
    2: "<H",
    3: "<h",
    4: "<I",
    5: "<i",
    6: "<f",
    7: "<?",
    10: "<Q",
    11: "<q",
    12: "<d",
}


@dataclass(frozen=True)
class GgufHeader:
    """What a GGUF header says.

    Attributes:
        fields: Plain values by key; arrays are left out.
        tensors: Number of tensors.
        types: Names of the tensors' number formats, by number of weights, most first.
        largest: The largest dimension of any tensor.
        weights: Number of weights.
    """

    fields: dict[str, Any]
    tensors: int
    types: tuple[str, ...]
    largest: int
    weights: int

    @property
    def title(self) -> str:
        """The model's own name as far as it can be printed, or an empty string."""
        name = str(self.fields.get("general.name", ""))[:_LONGEST_NAME]
        return "".join(sign for sign in name if sign.isprintable())

    @property
    def quantisation(self) -> str:
        """The file's quantisation, for example ``"Q4_1"``; else its commonest number format."""
        from gguf import LlamaFileType

        try:
            name = LlamaFileType(self.fields["general.file_type"]).name
        except (KeyError, ValueError):
            return self.types[0] if self.types else "unknown"
        return str(name).removeprefix("MOSTLY_").removeprefix("ALL_")


class _Cursor:
    """Reads forward through the file and never past its end."""

    def __init__(self, data: mmap.mmap) -> None:
        self.data = data
        self.at = 0

    def take(self, count: int) -> bytes:
        end = self.at + count
        if end > len(self.data):
            raise EOFError
        taken = self.data[self.at : end]
        self.at = end
        return taken

    def number(self, form: str) -> Any:
        return struct.unpack(form, self.take(struct.calcsize(form)))[0]

    def text(self) -> str:
        return self.take(self.number("<Q")).decode("utf-8", errors="replace")

    def value(self, kind: int, depth: int = 0) -> Any:
        """A plain value; an array is passed over and None comes back."""
        if kind in _SCALARS:
            return self.number(_SCALARS[kind])
        if kind == _STRING:
            return self.text()
        if kind != _ARRAY or depth > 2:
            raise ValueError(f"it has a value of unknown type {kind}")
        inner, count = self.number("<I"), self.number("<Q")
        if inner in _SCALARS:
            self.take(struct.calcsize(_SCALARS[inner]) * count)
        else:
            for _ in range(count):
                if inner == _STRING:
                    self.take(self.number("<Q"))
                else:
                    self.value(inner, depth + 1)
        return None


def read_gguf_header(path: Path) -> GgufHeader:
    """Read a GGUF file's header and check that the data behind it is all there.

    Raises:
        CheckpointError: If the file is empty, cut short, altered, or not GGUF.
    """
    try:
        with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
            size = len(data)
            header, end = _read(_Cursor(data))
    except EOFError as error:
        raise _damaged(path, "it ends in the middle of its header") from error
    except (ValueError, OverflowError, MemoryError) as error:
        raise _damaged(path, str(error)) from error
    if size < end:
        raise _damaged(path, f"it has {size} bytes, and its tensors reach to byte {end}")
    absurd = absurd_size(header.fields, header.tensors, header.largest)
    if absurd:
        raise _damaged(path, absurd)
    return header


def _read(cursor: _Cursor) -> tuple[GgufHeader, int]:
    from gguf.constants import GGML_QUANT_SIZES, GGMLQuantizationType

    if cursor.take(4) != _MAGIC:
        raise ValueError("it does not start like a GGUF file")
    version = cursor.number("<I")
    if version not in _VERSIONS:
        raise ValueError(f"its version is {version}, and versions 2 and 3 (little-endian) are read")
    tensors, pairs = cursor.number("<Q"), cursor.number("<Q")

    fields: dict[str, Any] = {}
    for _ in range(pairs):
        key = cursor.text()
        value = cursor.value(cursor.number("<I"))
        if value is not None:
            fields[key] = value

    weights: dict[str, int] = {}
    last = total = largest = 0
    for _ in range(tensors):
        name = cursor.text()[:_LONGEST_NAME]
        dimensions = cursor.number("<I")
        if dimensions > _MOST_DIMENSIONS:
            raise ValueError(f"its tensor {name} has {dimensions} dimensions")
        shape = [cursor.number("<Q") for _ in range(dimensions)]
        count = math.prod(shape)
        largest = max([largest, *shape])
        kind, offset = cursor.number("<I"), cursor.number("<Q")
        try:
            form = GGMLQuantizationType(kind)
        except ValueError:
            raise ValueError(f"its tensor {name} has the unknown number format {kind}") from None
        block, block_bytes = GGML_QUANT_SIZES[form]
        if count % block:
            raise ValueError(f"its tensor {name} is no whole number of {form.name} blocks")
        weights[form.name] = weights.get(form.name, 0) + count
        taken = count // block * block_bytes
        last, total = max(last, offset + taken), total + taken

    alignment = fields.get("general.alignment", _ALIGNMENT)
    if not isinstance(alignment, int) or alignment < 1:
        raise ValueError(f"its alignment is {alignment}")
    start = -(-cursor.at // alignment) * alignment
    if total > last:
        raise ValueError("its tensors overlap")
    types = tuple(sorted(weights, key=lambda name: -weights[name]))
    header = GgufHeader(fields, tensors, types, largest, sum(weights.values()))
    return header, start + last


def _damaged(path: Path, trouble: str) -> CheckpointError:
    return CheckpointError(
        f"{path} is not a whole GGUF file: {trouble}. It was cut short or altered: fetch it again."
    )
