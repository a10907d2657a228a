"""What one run was asked to do, as plain values that know nothing of pytest."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from stillwired.profiles import QUICK, Profile
from stillwired.redraws import Redraw

DEFAULT_MODEL = "smollm2-135m-instruct"


@dataclass(frozen=True)
class Settings:
    """The options of a run.

    Attributes:
        models: Checkpoint specs, as given.
        profile: Sizes of the measurement.
        layers: Relative depths (float) or block numbers (int) that replace the profile's
            depths; empty keeps them.
        device: Torch device, for example ``cpu`` or ``cuda:0``; ``auto`` until it is known.
        dtype: Torch dtype by name.
        attention: Attention kernel by transformers' name.
        remote: The NDIF host that runs the passes, with its scheme; empty for this machine.
        device_map: How a model is spread over several GPUs, by accelerate's name; empty for one.
        corpus: The user's own text, or None for the built-in corpus.
        tasks: A folder of the user's own in-context tasks, or None for the built-in ones.
        cache: Root of the cache, or None for the default place.
        seed: The suite's seed; draws of data depend on it, never on the checkpoint.
        redraw: What is drawn or fitted otherwise than the seed says, or None.
        strict: INCONCLUSIVE fails the run too.
    """

    models: tuple[str, ...] = (DEFAULT_MODEL,)
    profile: Profile = field(default=QUICK)
    layers: tuple[float | int, ...] = ()
    device: str = "cpu"
    dtype: str = "float32"
    attention: str = "eager"
    remote: str = ""
    device_map: str = ""
    corpus: Path | None = None
    tasks: Path | None = None
    cache: Path | None = None
    seed: int = 0
    redraw: Redraw | None = None
    strict: bool = False
