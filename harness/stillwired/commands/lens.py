"""``stillwired lens``: what every layer is about to say at every token of a text."""

from __future__ import annotations

import argparse
import os
import sys
import time
from pathlib import Path

from stillwired.commands.common import OK, Commands, say, store, width, with_cache
from stillwired.errors import UsageError
from stillwired.profiles import PROFILES
from stillwired.settings import DEFAULT_MODEL

_MORE = (
    "The tool of Future Lens (Pal et al. 2023). One learned prompt reads the state of every layer "
    "at every token: first what the model is about to say there, then what the state foresees, "
    "each token fed back before the next. The prompt is trained once, on the built-in text, and "
    "kept. --logit-lens needs no training. Without --out the table goes to the terminal, the last "
    "layer on top."
)


def add(commands: Commands) -> None:
    """Add the command and its options."""
    lens = commands.add("lens", run, "show what every layer is about to say at every token", _MORE)
    option = lens.add_argument
    option("text", metavar="TEXT", help="the text, or - to read it from standard input")
    option(
        "--model",
        default=DEFAULT_MODEL,
        metavar="SPEC",
        help="whose states are read: a name of `stillwired models`, ORG/NAME@REVISION, a folder "
        "of safetensors, or a .gguf file (default: %(default)s)",
    )
    option(
        "--out",
        type=Path,
        metavar="FILE.html",
        help="write one self-contained page: hover over a cell, or move there with the arrow "
        "keys, for every token with its probability",
    )
    option(
        "--logit-lens",
        action="store_true",
        help="unembed each state at once instead: the likeliest next token at every layer, and "
        "on the page the ten likeliest",
    )
    option(
        "--layers",
        metavar="LIST",
        help="blocks, as in 0,10,20, or relative depths, as in 0.1,0.5,1.0 (default: all, or 24 "
        "spread evenly where there are more than 48)",
    )
    option(
        "--ahead",
        type=int,
        default=3,
        metavar="N",
        help="tokens foreseen beyond the next one (default: %(default)s)",
    )
    option(
        "--depth",
        default="0.5",
        help="where the prompt is trained: a relative depth or a block (default: %(default)s)",
    )
    option(
        "--profile",
        choices=PROFILES,
        default="quick",
        help="how much text the prompt is trained on (default: %(default)s)",
    )
    option("--seed", type=int, default=0, help="of the training (default: %(default)s)")
    option("--device", default="cpu", help="torch device, as in cuda; or auto (default: cpu)")
    option("--dtype", default="float32", help="of the weights (default: %(default)s)")
    with_cache(lens)


def run(arguments: argparse.Namespace) -> int:
    """Read the text, and write the page or print the table."""
    from stillwired.checkpoints.checkpoint import Checkpoint, Regime
    from stillwired.checkpoints.prepare import prepare
    from stillwired.checkpoints.regime import resolved
    from stillwired.instruments.lens import read_lens
    from stillwired.instruments.lens_task import Task
    from stillwired.report.console import can_write
    from stillwired.report.html import require_place, write_page
    from stillwired.report.lens_page import About, lens_page
    from stillwired.report.lens_terminal import Look, lens_lines

    # Whatever can be refused is refused before anything takes time.
    text = _given_text(arguments.text)
    task = Task(
        text=text,
        logit=arguments.logit_lens,
        layers=_depths(arguments.layers, "--layers") if arguments.layers else (),
        ahead=arguments.ahead,
        depth=_depth(arguments.depth),
        profile=PROFILES[arguments.profile],
        seed=arguments.seed,
    )
    if arguments.out is not None:
        require_place(arguments.out)
    cache = store(arguments.cache)
    prepared = prepare(arguments.model, cache, say=say)
    regime = Regime(resolved(arguments.device), arguments.dtype)
    grid, reading = read_lens(Checkpoint(prepared, regime), task, cache, say)
    if arguments.out is not None:
        date = time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime())
        about = About(prepared.name, prepared.origin, prepared.digest, text, reading, date)
        write_page(arguments.out, lens_page(grid, about))
        print(f"lens: {arguments.out}")
        return OK
    title = [f"{prepared.name}  sha256 {prepared.digest[:8]}…", f"read with {reading}"]
    look = Look.of(
        width(),
        watched=sys.stdout.isatty(),
        ascii_only=not can_write(sys.stdout.encoding, "·⏎⇥␍⟨⟩◌…"),
        environment=os.environ,
    )
    for line in lens_lines(grid, title, look):
        print(line)
    return OK


def _given_text(text: str) -> str:
    """Return the text that was given, or what standard input holds."""
    if text == "-":
        try:
            # The line break with which commands end their output is none of the text's.
            text = sys.stdin.read().removesuffix("\n")
        except UnicodeDecodeError:
            raise UsageError("Standard input is not valid UTF-8. Give text in UTF-8.") from None
    if not text:
        raise UsageError("The text is empty, so there is no token to read. Give some text.")
    return text


def _depth(text: str) -> float | int:
    depth, *others = _depths(text, "--depth")
    if others:
        raise UsageError("--depth: a prompt is trained at one depth. Give one, such as 0.5.")
    return depth


def _depths(text: str, option: str) -> tuple[float | int, ...]:
    from stillwired.options import parse_layers

    try:
        return parse_layers(text)
    except UsageError as error:
        raise UsageError(str(error).replace("--claims-layers", option)) from None
