"""``stillwired fetch``: get models and text before they are needed."""

from __future__ import annotations

import argparse

from stillwired.commands.common import OK, Commands, say, store, with_cache
from stillwired.settings import DEFAULT_MODEL


def add(commands: Commands) -> None:
    """Add the command and its options."""
    fetch = commands.add(
        "fetch",
        run,
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


def run(arguments: argparse.Namespace) -> int:
    """Prepare the checkpoints, then the text."""
    from stillwired.checkpoints.prepare import prepare
    from stillwired.data.corpus import load_corpus

    cache = store(arguments.cache)
    for spec in arguments.model or [DEFAULT_MODEL]:
        prepared = prepare(spec, cache, say=say, verify=arguments.verify)
        print(f"{prepared.name}  {prepared.origin}  sha256 {prepared.digest[:16]}…")
    if not arguments.no_text:
        corpus = load_corpus(cache, say=say)
        print(f"{corpus.name}  {len(corpus.documents):,} documents  sha256 {corpus.digest[:16]}…")
    print(f"cache: {cache.root}")
    return OK
