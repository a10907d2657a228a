"""Records of a calibration, made up: claims at chosen rates, on chosen examples."""

from __future__ import annotations

from dataclasses import replace

from stillwired.judge import Claim, Evidence, InstrumentCheck, Level, Outcome, Paper
from stillwired.judge.verdicts import judge_cell
from stillwired.records.calibration import place
from stillwired.records.record import RunFacts, merge, write_record
from stillwired.records.run import RunFolder

CODE = {"stillwired": "12" * 32, "claims/a_paper": "34" * 32}
DOCUMENTS = 200
PAPER = Paper("a-paper", "A Paper", "A. Author", "Venue 2026")
FACTS = RunFacts(
    profile="quick",
    layers=(),
    seed=0,
    regime={},
    checkpoints={"m": {"name": "m", "digest": "ab", "layers": 4}},
    started=1_700_000_000.0,
)


def claim(name, **more):
    given = {
        "version": 1,
        "says": f"The {name} is there.",
        "source": PAPER.at("Table 1"),
        "published": "0.5",
        "expects": (Level("arm", at_least=0.2),),
        "margin": 0.1,
        "mutant": "shuffled",
    }
    return Claim(id=f"a-paper/{name}", **given | more)


def hits(share, draw):
    """Hits at a rate, one for each document; the examples are those of a draw."""
    documents = [f"{draw} d{k}" for k in range(DOCUMENTS)]
    scores = [float(k < round(share * DOCUMENTS)) for k in range(DOCUMENTS)]
    return Outcome("arm", documents, documents, scores)


def write_run(folder, run, shares, *, path=None, broken=(), draw=None):
    """Write a run's record.

    Args:
        folder: The calibration's folder.
        run: The run.
        shares: Rate of each claim's arm.
        path: Where, if not where the run's record belongs.
        broken: Claims whose instrument check fails.
        draw: Which examples, if not those of the run's own draw.
    """
    own = run.draw if run.kind not in ("", "refit") else "reference"
    path = path or place(folder, run)
    kept = RunFolder(path.with_suffix(".run"), "token")
    kept.note("code", "code", CODE)
    kept.note("corpus", "corpus", {"name": "text", "digest": "cd"})
    for order, (name, share) in enumerate(shares.items()):
        made = claim(name)
        checks = [InstrumentCheck("adds up", name not in broken, "0.3")]
        evidence = Evidence({"arm": hits(share, draw or own)}, instrument=tuple(checks))
        verdict = judge_cell(made, evidence, {})
        kept.add(made, verdict, evidence, order=order, spec="m", seconds=1.0)
    regime = {"device": "cpu", **run.regime}
    facts = replace(FACTS, regime=regime, redraw=run.redraw)
    write_record(path, *merge(kept, "m", facts))
    kept.clear()
    return path
