"""Damaged checkpoints before anything is loaded: what a run and its record know of them."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from stillwired.mutants.catalogue import MARK, Mutant
from stillwired.store.code import code_digest


@dataclass(frozen=True)
class PreparedMutant:
    """A checkpoint that is ready to be loaded and damaged.

    Attributes:
        sound: The undamaged one.
        mutant: The damage.
        spec: The spec that asked for both.
    """

    sound: Any
    mutant: Mutant
    spec: str

    @property
    def name(self) -> str:
        """Short name: the checkpoint's, and the mutant's behind it."""
        return name_of(self.sound.name, self.mutant)

    @property
    def layers(self) -> int:
        """Number of blocks."""
        return int(self.sound.layers)

    def to_json(self) -> dict[str, Any]:
        """What a record keeps: its digest is no sound checkpoint's."""
        known = dict(self.sound.to_json())
        return {
            **known,
            "name": self.name,
            "spec": self.spec,
            "digest": salted(str(known.get("digest", "")), self.mutant),
            "origin": origin_of(str(known.get("origin", "")), self.mutant),
        }


def sound_part(prepared: Any) -> Any:
    """Return the undamaged checkpoint that is to be loaded; a sound one is returned as it is."""
    return prepared.sound if isinstance(prepared, PreparedMutant) else prepared


def name_of(sound: str, mutant: Mutant) -> str:
    """Return what a damaged checkpoint is called."""
    return f"{sound}{MARK}{mutant.slug}"


def origin_of(sound: str, mutant: Mutant) -> str:
    """Say where a damaged checkpoint comes from."""
    return f"{sound}; damaged: {mutant.name}"


def salted(digest: str, mutant: Mutant, told: Sequence[Any] = ()) -> str:
    """Return the digest of a damaged checkpoint.

    It covers the damage and the code that does it, so that nothing of the sound checkpoint, and
    nothing of the same damage done otherwise, can be mistaken for it in a cache.

    Args:
        digest: The sound checkpoint's.
        mutant: The damage.
        told: What else the damage depends on, as plain data.
    """
    whole = json.dumps([digest, mutant.name, code_digest(mutant.module), list(told)])
    return hashlib.sha256(whole.encode()).hexdigest()
