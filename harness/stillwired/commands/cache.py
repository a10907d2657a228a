"""``stillwired cache``: what lies in the cache, and whether it is intact."""

from __future__ import annotations

import argparse

from stillwired.commands.common import FAILED, OK, Commands, megabytes, store, with_cache


def add(commands: Commands) -> None:
    """Add the command and its options."""
    cache = commands.add("cache", run, "show what the cache holds")
    cache.add_argument(
        "--verify", action="store_true", help="compare every stored byte with its digest"
    )
    with_cache(cache)


def run(arguments: argparse.Namespace) -> int:
    """List the entries, or verify them; a damaged one is the failure."""
    cache = store(arguments.cache)
    print(f"cache: {cache.root}  ({megabytes(cache.size())})")
    damaged = 0
    if arguments.verify:
        for entry, intact, why in cache.verify(full=True):
            damaged += not intact
            print(f"  {entry.kind:<16} {entry.key[:16]}  {'intact' if intact else why}")
        print(f"{damaged} damaged; a damaged entry is rebuilt when it is next needed")
        return FAILED if damaged else OK
    for entry in cache.entries():
        print(f"  {entry.kind:<16} {entry.key[:16]}  {megabytes(entry.size):>10}  {entry.created}")
    return OK
