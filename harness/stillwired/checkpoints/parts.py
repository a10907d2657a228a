"""Finding the parts of a model, and refusing what is not as entry and config say."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from stillwired.checkpoints.family import Family
from stillwired.errors import AnatomyError

if TYPE_CHECKING:
    from torch import nn

_ENTRY = "Correct the entry in stillwired/checkpoints/families.py"
_MISFIT = (
    "The checkpoint's config and weights do not belong together, or the entry in "
    "stillwired/checkpoints/families.py names another module."
)


def check_attention(block: nn.Module, family: Family, path: str, inner: int, width: int) -> None:
    """Refuse a block whose attention is not as its entry and config say.

    Args:
        block: The block.
        family: The entry.
        path: The block's path, for messages.
        inner: Width of the concatenated heads.
        width: Width of the residual.

    Raises:
        AnatomyError: Names the field and what is there instead.
    """
    for name in ("attention", "attention_added"):
        locate(block, getattr(family, name), family, name, path)
    projection = locate(block, str(family.projection), family, "projection", path)
    conv = type(projection).__name__ == "Conv1D"
    if conv != (family.projection_kind == "conv1d"):
        raise AnatomyError(
            f"{family.name}: {path}.{family.projection} is a {type(projection).__name__}, "
            f"its entry says {family.projection_kind}. Correct `projection_kind`."
        )
    check_shape(projection, (inner, width) if conv else (width, inner), family, "projection", path)


def check_mixer(block: nn.Module, family: Family, path: str, inner: int, width: int) -> None:
    """Refuse a block whose state-space mixer is not as its entry and config say.

    Args:
        block: The block.
        family: The entry, which has a mixer.
        path: The block's path, for messages.
        inner: Width of the mixer.
        width: Width of the residual.

    Raises:
        AnatomyError: Names the field and what is there instead.
    """
    mixer = family.mixer
    assert mixer is not None
    for name in ("module", "convolution", "filter", "activation", "state"):
        if getattr(mixer, name) is not None:
            locate(block, getattr(mixer, name), family, f"mixer.{name}", path)
    projection = locate(block, mixer.projection, family, "mixer.projection", path)
    check_shape(projection, (width, inner), family, "mixer.projection", path)
    if mixer.state is not None:
        norm = locate(block, mixer.state, family, "mixer.state", path)
        weight: Any = getattr(norm, "weight", None)
        found = () if weight is None else tuple(weight.shape)
        if found != (inner,):
            raise AnatomyError(
                f"{family.name}: `mixer.state` of {path} is a {type(norm).__name__} with weights "
                f"{found}, and a gated norm has {(inner,)}. {_ENTRY}."
            )
    gate = locate(block, mixer.gate, family, "mixer.gate", path)
    rows, columns = weight_of(gate, family, "mixer.gate").shape
    if columns != width or rows < 2 * inner:
        raise AnatomyError(
            f"{family.name}: `mixer.gate` of {path} has shape {(rows, columns)}, and the config "
            f"asks for at least {2 * inner} rows of {width}. {_MISFIT}"
        )


def locate(root: nn.Module, path: str, family: Family, name: str, prefix: str = "") -> nn.Module:
    """Return the module at a path.

    Args:
        root: Where the path starts.
        path: Attribute path.
        family: The entry that names it.
        name: The entry's field.
        prefix: Path of the root from the model.

    Raises:
        AnatomyError: Says how far the path leads.
    """
    module = root
    for step in path.split("."):
        children = dict(module.named_children())
        if step not in children:
            where = f"{prefix}.{path}" if prefix else path
            raise AnatomyError(
                f"{family.name}: `{name}` could not be located at {where}: there is no "
                f"{step!r} among {', '.join(children) or 'no parts'}. {_ENTRY}, or load a "
                "checkpoint of this family."
            )
        module = children[step]
    return module


def weight_of(module: nn.Module, family: Family, name: str) -> Any:
    """Return a module's weight matrix.

    Raises:
        AnatomyError: If it has none.
    """
    weight = getattr(module, "weight", None)
    if weight is None or weight.dim() != 2:
        raise AnatomyError(
            f"{family.name}: `{name}` is a {type(module).__name__} without a weight matrix. "
            f"{_ENTRY}."
        )
    return weight


def check_shape(
    module: nn.Module, shape: tuple[int, int], family: Family, name: str, prefix: str = ""
) -> None:
    """Refuse a weight that has another shape than the config declares.

    Raises:
        AnatomyError: Names both shapes.
    """
    found = tuple(weight_of(module, family, name).shape)
    if found != shape:
        where = f" of {prefix}" if prefix else ""
        raise AnatomyError(
            f"{family.name}: `{name}`{where} has shape {found}, the config declares {shape}. "
            f"{_MISFIT}"
        )
