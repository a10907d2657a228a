"""The ``stillwired`` command: fetch ahead, read a text, judge and draw again, keep the cache.

Claims themselves are run by pytest (``pytest claims/``).
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from importlib import import_module

from stillwired import __version__
from stillwired.commands.common import ERROR, OK, Commands
from stillwired.errors import StillwiredError

COMMANDS = (
    "fetch",
    "models",
    "lens",
    "judge",
    "diff",
    "baseline",
    "merge",
    "mutants",
    "calibrate",
    "curves",
    "report",
    "atlas",
    "credits",
    "cache",
)
"""Modules of ``commands/``, as the help lists them; each adds the command of its name."""

_EPILOG = """\
first steps:
  stillwired fetch                 get the default model and text (later runs work offline)
  pytest claims/                   judge every claim; `pytest --help` lists the --claims-* options
  stillwired judge RECORD.json     derive the verdicts of a record again, without a model
  stillwired diff OLD.json NEW.json   say what a new record kept, gained and lost
  stillwired curves RECORD.json    draw a record again: accuracy by layer, heads that carry tasks
  stillwired report RECORD.json --out page.html    show a record, with its figures, as a page
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
    commands = Commands(parser)
    for name in COMMANDS:
        import_module(f"stillwired.commands.{name}").add(commands)
    return parser


if __name__ == "__main__":
    raise SystemExit(main())
