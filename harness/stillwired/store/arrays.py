"""Named arrays in a folder: numbers as safetensors, text beside them as JSON."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from stillwired.errors import CacheError

if TYPE_CHECKING:
    from numpy.typing import NDArray

_NAMES = "arrays.json"
_NUMBERS = "arrays.safetensors"


def write_arrays(arrays: Mapping[str, NDArray[Any]], to: Path) -> None:
    """Write arrays into an existing folder.

    Args:
        arrays: Numbers, booleans or text of any shape, by name.
        to: The folder.

    Raises:
        CacheError: If an array is of another kind.
    """
    from safetensors.numpy import save_file

    numbers: dict[str, NDArray[Any]] = {}
    text: dict[str, dict[str, Any]] = {}
    for name, array in arrays.items():
        array = np.asarray(array)
        if array.dtype.kind in "biuf":
            # In C order, since safetensors takes the memory as it lies.
            numbers[name] = np.asarray(array, order="C")
        elif array.dtype.kind == "U":
            values = array.ravel().tolist()
            text[name] = {"dtype": array.dtype.str, "shape": list(array.shape), "values": values}
        else:
            raise CacheError(
                f"The array {name!r} has dtype {array.dtype}, which the cache does not keep. "
                "Pass numbers, booleans or text."
            )
    save_file(numbers, to / _NUMBERS)
    content = json.dumps({"order": list(arrays), "text": text}, ensure_ascii=False)
    (to / _NAMES).write_text(content, encoding="utf-8")


def read_arrays(folder: Path) -> dict[str, NDArray[Any]]:
    """Read what `write_arrays` wrote, in the order in which it was given."""
    from safetensors.numpy import load_file

    names = json.loads((folder / _NAMES).read_text(encoding="utf-8"))
    numbers = load_file(folder / _NUMBERS)
    loaded: dict[str, NDArray[Any]] = {}
    for name in names["order"]:
        text = names["text"].get(name)
        if text is None:
            loaded[name] = numbers[name]
        else:
            flat = np.array(text["values"], dtype=text["dtype"])
            loaded[name] = flat.reshape(text["shape"])
    return loaded
