"""How a checkpoint is run: device, dtype and attention kernel, checked against this machine."""

from __future__ import annotations

import os
from dataclasses import dataclass
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

from stillwired.errors import UsageError

if TYPE_CHECKING:
    import torch

DTYPES = ("float32", "bfloat16", "float16", "float64")

# Names, and no hub ids: transformers would take "org/kernel" as code to fetch and run.
ATTENTION = ("eager", "sdpa", "flash_attention_2", "flash_attention_3", "flex_attention")


@dataclass(frozen=True)
class Regime:
    """How the numbers of a run are computed; results are comparable within one regime.

    Attributes:
        device: Torch device, for example ``"cpu"`` or ``"cuda:0"``.
        dtype: Torch dtype of weights and activations, by name.
        attention: Attention kernel, as transformers calls it.
        remote: The host that runs the passes; empty for this machine. The device is then that of
            the copy here, which unembeds and checks.
    """

    device: str = "cpu"
    dtype: str = "float32"
    attention: str = "eager"
    remote: str = ""

    def to_json(self) -> dict[str, str]:
        """What a record keeps."""
        kept = {"device": self.device, "dtype": self.dtype, "attention": self.attention}
        # Said only where it is so: records and cached readings of local runs know no such key.
        return {**kept, "remote": self.remote} if self.remote else kept

    def __str__(self) -> str:
        return " ".join(self.to_json().values())


def computed_by() -> dict[str, str]:
    """Libraries and threads that numbers depend on in their last bits, and sometimes further."""
    libraries = ("torch", "transformers", "nnsight", "numpy")
    threads = os.environ.get("OMP_NUM_THREADS") or len(os.sched_getaffinity(0))
    return {**{name: version(name) for name in libraries}, "threads": str(threads)}


def check_regime(regime: Regime) -> tuple[torch.device, torch.dtype]:
    """Check that this machine can compute in a regime, by computing a little in it.

    Returns:
        Device and dtype as torch's own objects.

    Raises:
        UsageError: If device, dtype or kernel do not exist here; the message names what does.
    """
    import torch

    if regime.attention not in ATTENTION:
        raise UsageError(
            f"There is no attention kernel {regime.attention!r}. Choose one of: "
            f"{', '.join(ATTENTION)}."
        )
    if regime.dtype not in DTYPES:
        raise UsageError(
            f"There is no dtype {regime.dtype!r} to run in. Choose one of: {', '.join(DTYPES)}."
        )
    dtype: torch.dtype = getattr(torch, regime.dtype)
    present = _devices()
    try:
        device = torch.device(regime.device)
    except RuntimeError:
        device = torch.device("meta")
    indexed = f"{device.type}:{device.index or 0}"
    if device.type == "meta" or not {str(device), indexed} & set(present):
        raise UsageError(
            f"This machine has no device {regime.device!r} that torch {torch.__version__} can use. "
            f"It has: {', '.join(present)}."
        )
    if not _computes(device, dtype):
        usable = [name for name in DTYPES if _computes(device, getattr(torch, name))]
        raise UsageError(
            f"The device {regime.device} cannot compute in {regime.dtype}. It can in: "
            f"{', '.join(usable)}."
        )
    return device, dtype


def suit_experts(model: Any) -> None:
    """Let a mixture of experts run in float64: torch's grouped product does not know it.

    Args:
        model: A transformers model; one without experts, or in another dtype, stays as it is.
    """
    import torch

    if model.dtype == torch.float64 and set(model.get_experts_implementation().values()) != {
        "eager"
    }:
        model.set_experts_implementation("eager")


def _devices() -> list[str]:
    import torch

    names = ["cpu"]
    names += [f"cuda:{index}" for index in range(torch.cuda.device_count())]
    if torch.backends.mps.is_available():
        names.append("mps:0")
    return names


def _computes(device: torch.device, dtype: torch.dtype) -> bool:
    import torch

    try:
        ones = torch.ones(4, 4, device=device, dtype=dtype)
        product = torch.softmax(ones @ ones, dim=-1)
        return bool((product == 0.25).all())
    except (RuntimeError, TypeError, NotImplementedError):
        return False
