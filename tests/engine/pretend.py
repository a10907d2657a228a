"""Pretended GPUs: tensors compute on the CPU, carry a device of their own, and do not mix.

What would go wrong on GPUs because tensors lie on different devices goes wrong here, with the same
error. Their kernels and their memory are not pretended.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from accelerate.hooks import AlignDevicesHook, add_hook_to_module
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode, resolve_name
from torch.utils._pytree import tree_iter, tree_map

CPU = torch.device("cpu")
GPU = torch.device("cuda", 0)
FIRST, SECOND = "cuda:0", "cuda:1"
DEVICE, IS_CUDA = Tensor.device.__get__, Tensor.is_cuda.__get__  # type: ignore[attr-defined]
INDEXING = (Tensor.__getitem__, Tensor.__setitem__)


def device_of(tensor: Tensor) -> torch.device:
    """Return where a tensor pretends to be."""
    found: torch.device = getattr(tensor, "_pretended", CPU)
    return found


def put(module: nn.Module, device: torch.device | str) -> None:
    """Let the weights of a module pretend to be on a device."""
    _tag([*module.parameters(), *module.buffers()], torch.device(device))


def spread(model: Any, block_0: str) -> None:
    """Spread a model over two devices, under the hooks that accelerate puts on its parts.

    What comes before block 1 lies on the first device, everything else on the second; a tied
    unembedding goes with the embedding, as accelerate has it.

    Args:
        model: A transformers model.
        block_0: Path of its first block.
    """
    blocks = block_0.rpartition(".")[0]
    inside, _, listed = blocks.rpartition(".")
    parts = {f"{blocks}.{k}": SECOND for k in range(1, len(model.get_submodule(blocks)))}
    behind = False
    for name, _ in model.get_submodule(inside).named_children():
        if name == listed:
            parts[block_0] = FIRST
            behind = True
        else:
            parts[f"{inside}.{name}"] = SECOND if behind and "rotary" not in name else FIRST
    tied = model.config.get_text_config().tie_word_embeddings
    parts["lm_head" if hasattr(model, "lm_head") else "embed_out"] = FIRST if tied else SECOND
    for path, device in parts.items():
        part = model.get_submodule(path)
        put(part, device)
        for module in part.modules():
            add_hook_to_module(module, _Aligned(torch.device(device)))
    add_hook_to_module(model, _Aligned(torch.device(FIRST), same=True))
    model.hf_device_map = dict(parts)


class _Aligned(AlignDevicesHook):  # type: ignore[misc]
    """Brings what a module is called with to its device; the weights are there already."""

    def __init__(self, device: torch.device, same: bool = False) -> None:
        super().__init__(execution_device=device, io_same_device=same)

    def init_hook(self, module: nn.Module) -> nn.Module:
        return module


class Pretended(TorchFunctionMode):
    """Lets tensors be moved to devices that do not exist, and refuses to mix them."""

    def __torch_function__(
        self, func: Callable[..., Any], _: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        kwargs = dict(kwargs or {})
        if func == DEVICE:
            return device_of(args[0])
        if func == IS_CUDA:
            return device_of(args[0]).type == "cuda"
        if func in (Tensor.to, Tensor.cpu, Tensor.cuda):
            return _moved(func, args, kwargs)
        if func in (Tensor.numpy, Tensor.__array__) and device_of(args[0]) != CPU:
            raise TypeError(f"can't convert {device_of(args[0])} device type tensor to numpy.")
        asked = kwargs.pop("device", None)
        here = _common(func, args, kwargs)
        return _tag(func(*args, **kwargs), here if asked is None else _named(asked))


def _moved(func: Any, args: Any, kwargs: dict[str, Any]) -> Tensor:
    """Move a tensor, change its dtype, or both."""
    tensor, *given = args
    device = {Tensor.cpu: CPU, Tensor.cuda: GPU}.get(func, device_of(tensor))
    dtype = kwargs.pop("dtype", None)
    for value in (*given, kwargs.pop("device", None)):
        if isinstance(value, Tensor):
            device, dtype = device_of(value), value.dtype
        elif isinstance(value, torch.dtype):
            dtype = value
        elif value is not None and not isinstance(value, bool):
            device = _named(value)
    moved = tensor if dtype is None else Tensor.to(tensor, dtype)
    if moved is tensor and device != device_of(tensor):
        moved = tensor.clone()
    _tag(moved, device)
    return moved


def _common(func: Any, args: Any, kwargs: Any) -> torch.device:
    """Return the device of a call's tensors, refusing several."""
    found = {}
    for place, value in ((k, v) for k, arg in enumerate(args) for v in tree_iter(arg)):
        if isinstance(value, Tensor):
            device = device_of(value)
            # Numbers go along with anything, and indices are brought along.
            along = value.dim() == 0 or (func in INDEXING and place == 1)
            if device != CPU or not along:
                found[device] = None
    found |= {device_of(v): None for v in tree_iter(kwargs) if isinstance(v, Tensor) and v.dim()}
    if len(found) > 1:
        where = ", ".join(map(str, found))
        raise RuntimeError(
            f"Expected all tensors to be on the same device, but found at least two: {where} "
            f"({resolve_name(func) or func})"
        )
    return next(iter(found), CPU)


def _named(device: Any) -> torch.device:
    device = torch.device("cuda", device) if type(device) is int else torch.device(device)
    return GPU if device == torch.device("cuda") else device


def _tag(out: Any, device: torch.device) -> Any:
    def tag(value: Any) -> Any:
        if isinstance(value, Tensor):
            value._pretended = device  # type: ignore[attr-defined]
        return value

    return tree_map(tag, out)
