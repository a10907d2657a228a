"""Small records of a few claims, whose effects a test chooses."""

from __future__ import annotations

import numpy as np

from stillwired.judge import Claim, Difference, Evidence, Level, Needs, Outcome, Paper
from stillwired.judge.verdicts import judge_cell
from stillwired.records.record import RunFacts, merge, write_record
from stillwired.records.run import RunFolder

PAPER = Paper("some-paper", "Some Paper", "A. Author", "Venue 2026")
REGIME = {"device": "cpu", "dtype": "float32", "attention": "eager"}
CODE = {"stillwired": "12" * 32, "claims/some_paper": "34" * 32}
ROWS, CLUSTERS = 800, 200


def claim(name, *, reported=False, **changes):
    given = {
        "id": f"some-paper/{name}",
        "version": 1,
        "says": "Something is so.",
        "source": PAPER.at("Table 1"),
        "published": "0.5",
        "expects": (Difference("reader", "floor", at_least=0.05),),
        "margin": 0.1,
        "mutant": "shuffled",
        "rivals": ("copy",),
        "null": "shuffled",
        "applies": (Needs("top-1", at_least=0.2),),
    }
    if reported:
        told = {"expects": (Level("reader", reported=True),), "margin": None, "mutant": None}
        given |= {**told, "rivals": (), "null": None, "applies": ()}
    return Claim(**given | changes)


def outcome(name, p, seed=0, rows=ROWS, **factors):
    """Hits at a rate; equal seeds give hits that differ only as far as the rates do."""
    hits = np.random.default_rng(seed).random(rows) < p
    clusters = [f"d{row % CLUSTERS}" for row in range(rows)]
    examples = [f"{name}:{row}" for row, name in enumerate(clusters)]
    return Outcome(name, examples, clusters, hits.astype(float), factors)


def evidence(effect, *, able=0.6, rows=ROWS):
    """Arms of the usual claim: the reader is better than the floor by an effect."""
    return Evidence(
        arms={
            "reader": outcome("reader", 0.2 + effect, 1, rows),
            "floor": outcome("floor", 0.2, 2, rows),
            "copy": outcome("copy", 0.1, 3, rows),
        },
        null={"reader": outcome("null", 0.2, 4, rows)},
        ability={"top-1": outcome("top-1", able, 5)},
    )


def record(
    path,
    cells,
    *,
    checkpoint=None,
    corpus="cd",
    tasks=None,
    profile="quick",
    layers=(),
    seed=0,
    regime=None,
    refits=None,
    incomplete=False,
    shard=None,
    redraw="",
    code=CODE,
    sizes=None,
):
    """Write a record of (claim, params, evidence) and return its path."""
    known = {"name": "m", "digest": "ab" * 32, "folder": "/cache/x", "layers": 4}
    facts = RunFacts(
        profile=profile,
        layers=layers,
        seed=seed,
        regime=regime or REGIME,
        checkpoints={"m": {**known, **(checkpoint or {})}},
        redraw=redraw,
        sizes=sizes or {},
    )
    folder = RunFolder(path.with_suffix(".run"), "token")
    if code:
        folder.note("code", "code", code)
    if corpus:
        folder.note("corpus", "corpus", {"name": "text", "digest": corpus})
    if tasks:
        folder.note("tasks", "tasks", tasks)
    if refits:
        folder.note("refits", "refits", refits)
    if incomplete:
        folder.note("incomplete", "incomplete", True)
    if shard:
        folder.note("shard", "m", shard)
    for order, (declared, params, found) in enumerate(cells):
        verdict = judge_cell(declared, found, params)
        folder.add(declared, verdict, found, order=order, spec="m", seconds=0)
    write_record(path, *merge(folder, "m", facts))
    folder.clear()
    return path
