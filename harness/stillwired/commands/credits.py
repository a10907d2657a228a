"""``stillwired credits``: where text and models come from, and under which licence."""

from __future__ import annotations

import argparse

from stillwired.commands.common import OK, Commands


def add(commands: Commands) -> None:
    """Add the command."""
    commands.add("credits", run, "list sources and licences of the text and the models")


def run(_: argparse.Namespace) -> int:
    """List the sources of the text, then the models."""
    from stillwired.checkpoints.spec import registered
    from stillwired.data.credits import credits_text

    print(credits_text().rstrip())
    print("\nModels\n")
    for model in registered().values():
        print(f"{model.title}\n  licence: {model.licence}\n  source:  {model.source}")
    return OK
