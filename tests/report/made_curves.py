"""Made-up outcomes of Future Lens readers, and records that hold them."""

from __future__ import annotations

import numpy as np

from stillwired.judge import Claim, Level, Outcome, Paper
from stillwired.options import RunOptions
from stillwired.records.evidence import describe, outcome_id
from stillwired.records.finish import finish
from stillwired.records.run import RunFolder
from stillwired.records.session import Judge, Run, cell_of
from stillwired.settings import Settings

DEPTHS = (0.1, 0.3, 0.5, 0.7, 0.9)


def outcome(reader, depth=None, ahead=1, rate=0.3, rows=160, name="", **factors):
    """Hits of a reader on documents of eight rows; without a depth it sees no state."""
    documents = [f"d{row // 8}" for row in range(rows)]
    examples = [f"{document}:{row}" for row, document in enumerate(documents)]
    hits = np.random.default_rng(rows).permutation(rows) < rate * rows
    given = {"reader": reader, "ahead": ahead, "population": "all"}
    if depth is not None:
        given |= {"depth": f"depth{depth:.2f}", "relative": depth, "states": "own"}
    return Outcome(
        name or f"{reader} map", examples, documents, hits.astype(float), given | factors
    )


def family(reader, depths=DEPTHS, **how):
    """The same reader at several depths, a little better at each."""
    return {
        f"depth{depth:.2f}": outcome(reader, depth, rate=0.1 + 0.2 * depth, **how)
        for depth in depths
    }


def told(*arms, block="arms"):
    """The part of a record that curves are chosen from, and its outcomes by id."""
    by_id = {}
    verdicts = []
    for arm in arms:
        members = arm if isinstance(arm, dict) else {None: arm}
        ids = {label: outcome_id(member) for label, member in members.items()}
        by_id |= {ids[label]: member for label, member in members.items()}
        given = ids if isinstance(arm, dict) else ids[None]
        verdicts.append({"evidence": {"arms": {}, block: {"arm": given}}})
    return {
        "verdicts": verdicts,
        "outcomes": {name: describe(one) for name, one in by_id.items()},
    }, by_id


CLAIM = Claim(
    id="some-paper/read",
    version=1,
    says="Something can be read.",
    source=Paper("some-paper", "Some Paper", "A. Author", "Venue 2026").at("Table 1"),
    published="0.5",
    expects=(Level("arm", at_least=0.01),),
    margin=0.1,
    mutant="shuffled",
)


def write(path, *arms, model="m"):
    """Write a record whose one claim was judged from the first arm, with the others beside it."""
    run = Run(RunOptions(Settings(), path), RunFolder(path.with_suffix(".run"), "t"), print)
    run.folder.note("checkpoint", model, {"name": model, "layers": 9})
    first, *others = arms
    beside = {f"other {k}": arm for k, arm in enumerate(others)}
    judge = Judge(run, "test", cell_of(CLAIM, {"checkpoint_spec": model}, "test"))
    judge(arm=first, beside=beside)
    finish(run)
    return path
