"""Made-up records with every verdict, and with text that would act if it could."""

from __future__ import annotations

import numpy as np

from stillwired.judge import Claim, Difference, Level, Needs, Outcome, Paper
from stillwired.judge.results import InstrumentCheck, Obstacle
from stillwired.options import RunOptions
from stillwired.profiles import PROFILES
from stillwired.records.finish import finish
from stillwired.records.run import RunFolder
from stillwired.records.session import Judge, Run, cell_of
from stillwired.settings import Settings

HOSTILE = (
    "</script><script>window.pwned=1</script>"
    "\" onmouseover=\"window.pwned=2' onfocus='window.pwned=3"
    "<img src=http://example.invalid/x.png onerror=window.pwned=4>"
    "</table></details><!-- ]]> &lt;b&gt; | `x` \\ [a](http://example.invalid) @all **b** "
    "\u202egnitirw \x00\x1b[31m 日本 ::error file=a::b"
)

FIRST = Paper("first-paper", "A First Paper", "A. Author", "Venue 2026", "2601.00001")
SECOND = Paper("second-paper", f"A Second Paper {HOSTILE}", HOSTILE, HOSTILE, HOSTILE)


def scores(rate, rows=400, name="arm"):
    """Hits, one document a row, spread evenly."""
    hits = [float((k * 0.6180339887) % 1 < rate) for k in range(rows)]
    documents = [f"d{k}" for k in range(rows)]
    return Outcome(name, [f"{d}:0" for d in documents], documents, np.array(hits))


def claim(name, paper=FIRST, **more):
    given = {
        "id": f"{paper.key}/{name}",
        "version": 1,
        "says": f"The {name} is there.",
        "source": paper.at("Table 1"),
        "published": "0.5",
        "expects": (Level("arm", at_least=0.2),),
        "margin": 0.1,
        "mutant": "shuffled",
    }
    return Claim(**given | more)


CLAIMS = {
    "holding": claim(
        "holding",
        expects=(Difference("arm", "other", at_least=0.1),),
        published="0.7 against 0.2 (GPT-J-6B, N=1)",
        primary={"ahead": 1},
        rivals=("rival",),
        null="dealt out anew",
        applies=(Needs("words", at_least=0.3, unit="bits"),),
    ),
    "failing": claim("failing"),
    "close": claim("close", SECOND, says=f"Close. {HOSTILE}", published=HOSTILE),
    "beyond": claim("beyond", SECOND, applies=(Needs("words", at_least=0.9),)),
    "broken": claim("broken", SECOND, mutant=HOSTILE),
    "told": claim("told", SECOND, expects=(Level("arm", reported=True),), margin=None, mutant=None),
}


def write(path, model="tiny", *, seed=0, profile="quick", corpus="c0" * 32, only=None, rate=0.8):
    """Write a record and return its path."""
    settings = Settings(models=(model,), seed=seed, profile=PROFILES[profile])
    run = Run(RunOptions(settings, path), RunFolder(path.with_suffix(".run"), "t"), print)
    known = {"name": model, "origin": "made up", "digest": "ab" * 32, "layers": 9, "heads": 4}
    run.folder.note("checkpoint", model, known)
    run.note_corpus({"name": "built-in English text", "digest": corpus})
    run.note_tasks({"antonym": "a0" * 32})
    order = 0

    def judge(name, params, **arms):
        nonlocal order
        if only is not None and name not in only:
            return
        order += 1
        cell = cell_of(CLAIMS[name], {"checkpoint_spec": model, **params}, "test", order)
        judged = Judge(run, "test", cell)
        obstacle = arms.pop("obstacle", None)
        judged.unmeasured(obstacle) if obstacle else judged(**arms)

    checks = (InstrumentCheck("sums agree", True, "2e-7, 1e-5 allowed"),)
    for ahead in (1, 2):
        judge(
            "holding",
            {"ahead": ahead},
            arm=scores(rate),
            other=scores(0.2),
            rival=scores(0.3),
            null={"arm": scores(0.2)},
            ability={"words": scores(0.95)},
            beside={"levels": {"depth0.50": scores(0.5)}, HOSTILE: scores(0.4)},
            facts={"heads": "(1, 2), (3, 4)", f"fact {ahead}": HOSTILE},
            checks=checks,
        )
    judge("failing", {}, arm=scores(0.05), checks=checks)
    judge("close", {"task": HOSTILE}, arm=scores(0.3, rows=12))
    judge("beyond", {}, arm=scores(0.5), ability={"words": scores(0.5)})
    judge("broken", {}, obstacle=Obstacle("instrument", "repeated", f"It differs. {HOSTILE}"))
    judge("told", {"task": "antonym"}, arm=scores(0.6))
    finish(run)
    return path
