"""One option at a time: depths, checkpoints, hosts and the seed are read, checked and named."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any
from urllib.parse import urlsplit

from stillwired.errors import UsageError
from stillwired.mutants.catalogue import MARK, Mutant, split_spec

NDIF = "https://api.ndif.us"


def parse_layers(text: str) -> tuple[float | int, ...]:
    """Read ``--claims-layers``: floats are relative depths, integers are block numbers.

    Whether a block exists is only known once the model is (see :func:`check_layers`).

    Raises:
        UsageError: If an entry is neither, lies outside [0, 1], or comes twice.
    """
    layers: list[float | int] = []
    for entry in (part.strip() for part in text.split(",")):
        layer = _layer(entry)
        if any(type(layer) is type(other) and layer == other for other in layers):
            raise UsageError(f"--claims-layers: {entry} is given twice. List each depth once.")
        layers.append(layer)
    return tuple(layers)


def _layer(entry: str) -> float | int:
    try:
        layer: float | int = float(entry) if "." in entry else int(entry)
    except ValueError:
        raise UsageError(
            f"--claims-layers: {entry!r} is no depth. "
            "Write relative depths as in 0.1,0.5 or block numbers as in 3,15."
        ) from None
    if isinstance(layer, float) and not (math.isfinite(layer) and 0.0 <= layer <= 1.0):
        raise UsageError(
            f"--claims-layers: {entry} is outside 0.0 to 1.0. "
            "With a decimal point an entry is a relative depth; leave the point out for a block."
        )
    if layer < 0:
        raise UsageError(
            f"--claims-layers: {entry} is negative. Blocks are counted from 0, the first one."
        )
    return layer


def check_layers(layers: Sequence[float | int], model: str, blocks: int) -> None:
    """Check block numbers against a model with that many blocks.

    Raises:
        UsageError: If the model has no such block.
    """
    for layer in layers:
        if isinstance(layer, int) and layer >= blocks:
            raise UsageError(
                f"--claims-layers: block {layer} does not exist; {model} has blocks 0 to "
                f"{blocks - 1}. Name one of those, or a relative depth as in 0.5."
            )


def depth_id(depth: float | int) -> str:
    """Return the part of a test's id that stands for a depth: ``depth0.50`` or ``block15``."""
    if isinstance(depth, int):
        return f"block{depth}"
    text = f"{depth:.2f}"
    return f"depth{text if float(text) == depth else repr(depth)}"


def model_ids(specs: Sequence[str]) -> list[str]:
    """Return a short name per checkpoint spec, unique within the run.

    A registered name stays as it is; of a path or a hub id the last part is kept.
    """
    names: list[str] = []
    for spec in specs:
        short = spec.rstrip("/\\").replace("\\", "/").rsplit("/", 1)[-1]
        short = short.removesuffix(".gguf").replace(f".gguf{MARK}", MARK)
        name, k = short or "model", 2
        while name in names:
            name, k = f"{short}-{k}", k + 1
        names.append(name)
    return names


def parse_models(value: Any) -> tuple[str, ...]:
    """Read ``--claims-model``, given once or several times.

    Raises:
        UsageError: If a spec is empty, comes twice, or names no mutant behind its mark.
    """
    specs = tuple(_with_slug(*split_spec(str(spec).strip())) for spec in value)
    for k, spec in enumerate(specs):
        if not spec:
            raise UsageError("--claims-model is empty. Name a checkpoint, or leave the option out.")
        if spec in specs[:k]:
            raise UsageError(f"--claims-model: {spec} is given twice. Name each checkpoint once.")
    return specs


def _with_slug(sound: str, mutant: Mutant | None) -> str:
    """Write a spec's mutant in the one way in which specs, tests and files have it."""
    return sound if mutant is None else f"{sound}{MARK}{mutant.slug}"


def parse_remote(text: str, trusted: Sequence[str] = ()) -> str:
    """Return the host that passes are sent to, with its scheme; empty for this machine.

    Raises:
        UsageError: If the host is none, or not among the trusted ones.
    """
    if not text:
        return ""
    known = [NDIF, *(_host(str(entry), "claims_remote_hosts") for entry in trusted)]
    host = NDIF if text.lower() == "ndif" else _host(text, "--claims-remote")
    if host not in known:
        raise UsageError(
            f"--claims-remote: {host} is not among the hosts that are trusted: "
            f"{', '.join(known)}. What a host answers can run code on this machine, so a host of "
            "your own has to be named under claims_remote_hosts in the ini file first."
        )
    return host


def _host(text: str, what: str) -> str:
    """Write a host in the one way in which hosts are compared."""
    whole = text if "://" in text else f"https://{text}"
    try:
        parts = urlsplit(whole)
        port = f":{parts.port}" if parts.port is not None else ""
    except ValueError:
        parts, port = urlsplit(""), ""
    bare = parts.path in ("", "/") and not parts.query and not parts.fragment and "@" not in whole
    if parts.scheme not in ("http", "https") or not parts.hostname or not bare:
        raise UsageError(
            f"{what}: {text!r} is no host. Write ndif, or a host as in https://ndif.example.org."
        )
    name = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
    return f"{parts.scheme}://{name}{port}"


def parse_seed(text: str) -> int:
    """Read ``--claims-seed``.

    Raises:
        UsageError: If it is no whole number from 0 on.
    """
    try:
        seed = int(text)
    except ValueError:
        seed = -1
    if seed < 0:
        raise UsageError(f"--claims-seed: {text!r} is no seed. Give a whole number from 0 on.")
    return seed
