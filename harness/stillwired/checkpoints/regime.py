"""How a checkpoint is run: device, dtype and attention kernel, checked against this machine."""

from __future__ import annotations

import os
from dataclasses import dataclass
from functools import cache
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

from stillwired.errors import UsageError
from stillwired.settings import Settings

if TYPE_CHECKING:
    import torch

AUTO = "auto"
"""The device that stands for the best one that this machine has."""

DTYPES = ("float32", "bfloat16", "float16", "float64")

# Names, and no hub ids: transformers would take "org/kernel" as code to fetch and run.
ATTENTION = ("eager", "sdpa", "flash_attention_2", "flash_attention_3", "flex_attention")

# As transformers and accelerate call the ways to spread a model over the GPUs that are seen.
DEVICE_MAPS = ("auto", "balanced", "balanced_low_0", "sequential")


@dataclass(frozen=True)
class Regime:
    """How the numbers of a run are computed; results are comparable within one regime.

    Attributes:
        device: Torch device, for example ``"cpu"`` or ``"cuda:0"``.
        dtype: Torch dtype of weights and activations, by name.
        attention: Attention kernel, as transformers calls it.
        remote: The host that runs the passes; empty for this machine. The device is then that of
            the copy here, which unembeds and checks.
        device_map: How the model is spread over several GPUs; empty where it lies on one device.
    """

    device: str = "cpu"
    dtype: str = "float32"
    attention: str = "eager"
    remote: str = ""
    device_map: str = ""

    @classmethod
    def of(cls, settings: Settings) -> Regime:
        """Take the regime that a run was asked for."""
        return cls(
            settings.device,
            settings.dtype,
            settings.attention,
            settings.remote,
            settings.device_map,
        )

    def to_json(self) -> dict[str, str]:
        """What a record keeps: the kind of device, since its number says nothing elsewhere."""
        kind = self.device.partition(":")[0]
        kept = {"device": kind, "dtype": self.dtype, "attention": self.attention}
        # Said only where it is so: records and cached readings of local runs know no such keys.
        more = {"remote": self.remote, "device_map": self.device_map}
        return kept | {key: value for key, value in more.items() if value}

    def __str__(self) -> str:
        return " ".join(self.to_json().values())


def computed_by() -> dict[str, str]:
    """Libraries and threads that numbers depend on in their last bits, and sometimes further."""
    threads = os.environ.get("OMP_NUM_THREADS") or len(os.sched_getaffinity(0))
    return {**_versions(), "threads": str(threads)}


@cache
def _versions() -> dict[str, str]:
    # Asked for with every cached reading, and each answer is read from a file.
    return {name: version(name) for name in ("torch", "transformers", "nnsight", "numpy")}


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
    if regime.device_map and regime.device_map not in DEVICE_MAPS:
        raise UsageError(
            f"There is no device map {regime.device_map!r}. Choose one of: "
            f"{', '.join(DEVICE_MAPS)}."
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
    if regime.device_map and device.type != "cuda":
        raise UsageError(
            f"--claims-device-map {regime.device_map} spreads a model over CUDA devices, and this "
            f"run's device is {regime.device}. Give --claims-device cuda, or leave the map out."
        )
    if not _computes(device, dtype):
        usable = [name for name in DTYPES if _computes(device, getattr(torch, name))]
        raise UsageError(
            f"The device {regime.device} cannot compute in {regime.dtype}. It can in: "
            f"{', '.join(usable)}."
        )
    return device, dtype


def resolved(device: str) -> str:
    """Return the device that is meant; ``auto`` is a CUDA device if there is one, else the CPU.

    Apple's GPUs are had by name only: nothing has been run on one.
    """
    if device != AUTO:
        return device
    import torch

    return "cuda" if torch.cuda.is_available() else "cpu"


def gpus() -> tuple[str, ...]:
    """Return the names of the CUDA devices that are seen."""
    import torch

    return tuple(map(torch.cuda.get_device_name, range(torch.cuda.device_count())))


def hardware(regime: Regime) -> dict[str, str]:
    """Name what computes in a regime, where that is no CPU: ``{"accelerator": "2 x NVIDIA L4"}``.

    Other GPUs sum in another order, so a record says which there were, and what was read on one
    kind is not taken for another's.
    """
    kind, _, number = regime.device.partition(":")
    # Asked for with every cached reading: a run on the CPU needs no torch to say that it has none.
    names = gpus() if kind == "cuda" else ()
    if not names:
        return {}
    if not regime.device_map:
        return {"accelerator": names[int(number or 0)]}
    counted = {name: names.count(name) for name in names}
    return {"accelerator": ", ".join(f"{count} x {name}" for name, count in counted.items())}


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
