"""Every claim comes out as FAILS on the damage that it names, on the default model.

The damage is done to what was read: what the model is able to do, and the checks of the wiring,
stay as they are, so that the claim itself must notice. The readings are those of the quick
profile: whoever has run the claims has them in the cache.
"""

from __future__ import annotations

import importlib
import inspect
import os
from dataclasses import replace
from pathlib import Path

import pytest

from fixtures.function_vectors import FunctionVectors, tasks_of
from fixtures.text import evidence_about
from stillwired.checkpoints.checkpoint import Checkpoint
from stillwired.checkpoints.prepare import prepare
from stillwired.data.corpus import load_corpus
from stillwired.data.task_sizes import SIZES
from stillwired.engine.engine import Engine
from stillwired.instruments.function_vectors import TaskVectors
from stillwired.instruments.future_lens import FutureLens
from stillwired.instruments.logit_lens import LogitLens
from stillwired.instruments.survey import SurveyPlan, take_survey
from stillwired.instruments.task_readings import TaskReadings
from stillwired.instruments.text import TextReadings
from stillwired.judge import Evidence, Word
from stillwired.judge.verdicts import judge_cell
from stillwired.mutants.catalogue import TRIED, mutant_named
from stillwired.mutants.damage import Damage, damage_of
from stillwired.profiles import QUICK
from stillwired.records.survivors import read_survivors
from stillwired.settings import DEFAULT_MODEL, Settings
from stillwired.store.cache import Store

ROOT = Path(__file__).parent.parent
# They train prompts of their own: some minutes more.
LARGER = pytest.mark.skipif(
    "STILLWIRED_LARGER" not in os.environ,
    reason="a claim of the larger profiles; STILLWIRED_LARGER=1 tries it too",
)
# Whether the default model can do the composed tasks at all is open, so that nothing fails there.
TOO_HARD = ("function-vectors/vectors-add-up",)
FILES = sorted((ROOT / "claims").rglob("test_*.py"))


def every_claim():
    """Every test that carries a claim, with the claim."""
    for path in FILES:
        module = importlib.import_module(".".join(path.relative_to(ROOT).with_suffix("").parts))
        for _, function in inspect.getmembers(module, inspect.isfunction):
            for mark in getattr(function, "pytestmark", []):
                if mark.name == "claim":
                    yield mark.args[0], function


def can_fail():
    """Those that are judged, and not only reported."""
    for claim, function in every_claim():
        if not claim.reported:
            larger = any(mark.name == "standard" for mark in function.pytestmark)
            marks = [LARGER] if larger else []
            yield pytest.param(claim, function, id=function.__name__, marks=marks)


@pytest.fixture(scope="module")
def model():
    """The default model, its engine, and the cache."""
    store = Store(Store.default_root())
    checkpoint = Checkpoint(prepare(DEFAULT_MODEL, store))
    loaded: list[Engine] = []

    def engine():
        if not loaded:
            loaded.append(Engine(checkpoint))
        return loaded[0]

    return checkpoint, engine, store


@pytest.fixture(scope="module")
def sound(model):
    """Undamaged readings of the text."""
    checkpoint, engine, store = model
    corpus, plan = load_corpus(store), SurveyPlan(QUICK, QUICK.depths, seed=0)

    def survey():
        return take_survey(engine, checkpoint, corpus, plan, store, lambda _: None)

    return TextReadings(checkpoint, engine, corpus, plan, survey, store)


@pytest.fixture(scope="module")
def sound_vectors(model):
    """Undamaged function vectors."""
    checkpoint, engine, store = model
    sizes, chosen = SIZES["quick"], tasks_of(Settings())
    return TaskVectors(TaskReadings(checkpoint, engine, chosen, sizes, store))


def judged(claim, function, text, damage):
    """Run a claim's test on some readings; judge its primary cell with all that stands beside."""
    text = damage.text(text)
    lens, logit_lens = damage.future_lens(FutureLens(text)), damage.logit_lens(LogitLens(text))
    evidence, handed = evidence_about(text, lens, logit_lens), []

    def judge_readers(*, ability=None, null=None, planted=None, beside=None, facts=None, **arms):
        shown = {**evidence.ability, **(ability or {})}
        needed = {needs.ability: shown[needs.ability] for needs in claim.applies}
        handed.append(Evidence(arms, null or {}, needed, evidence.checks, planted or {}))

    given = {
        "future_lens": lens,
        "logit_lens": logit_lens,
        "judge_readers": judge_readers,
        **claim.primary,
    }
    function(**{name: given[name] for name in inspect.signature(function).parameters})
    # A learning curve that still climbs caps a claim at INCONCLUSIVE before it can fail. It tells
    # of too little text, not of the mechanism, so it is left out here.
    lasting = tuple(needs for needs in claim.applies if needs.otherwise == "not applicable")
    found = replace(handed[0], ability={n.ability: handed[0].ability[n.ability] for n in lasting})
    return judge_cell(replace(claim, applies=lasting), found, claim.primary)


def judged_vectors(claim, function, sound, damage):
    """Run a claim's test on some vectors; judge its primary cell with its ability."""
    vectors, handed = FunctionVectors(damage.task_vectors(sound), damage=damage), []

    def judge_vectors(*, null=None, planted=None, beside=None, facts=None, **arms):
        ability = {needs.ability: vectors.ability[needs.ability] for needs in claim.applies}
        handed.append(Evidence(arms, null or {}, ability, planted=planted or {}))

    given = {"function_vectors": vectors, "judge_vectors": judge_vectors, **claim.primary}
    function(**{name: given[name] for name in inspect.signature(function).parameters})
    return judge_cell(claim, handed[0], claim.primary)


@pytest.mark.parametrize(("claim", "function"), list(can_fail()))
def test_the_named_damage_makes_the_claim_fail(claim, function, request):
    of_vectors = "function_vectors" in inspect.signature(function).parameters
    sound = request.getfixturevalue("sound_vectors" if of_vectors else "sound")
    judge = judged_vectors if of_vectors else judged
    whole = judge(claim, function, sound, Damage())
    unclear = [c.detail for c in whole.checks if c.kind == "ability" and not c.passed]
    if claim.id in TOO_HARD and unclear:
        pytest.skip(f"the default model does not tell: {unclear[0]}")
    broken = judge(claim, function, sound, damage_of(mutant_named(claim.mutant)))
    assert broken.verdict is Word.FAILS, broken.reason
    if whole.verdict is Word.INCONCLUSIVE:
        return  # the damage has decided what was open
    # Where this model fails the claim anyway, the damage must still have made the difference:
    # a part that held now fails, or the effect lies clearly below what it was.
    pairs = list(zip(whole.parts, broken.parts, strict=True))
    lost = [b.name for a, b in pairs if a.word is Word.HOLDS and b.word is Word.FAILS]
    worse = [b.name for a, b in pairs if b.word is Word.FAILS and b.high < a.low]
    assert lost or worse, f"{whole.reason}; damaged: {broken.reason}"


def test_every_claim_is_tried():
    declared = sum(path.read_text().count("@pytest.mark.claim(") for path in FILES)
    assert len(list(every_claim())) == declared > len(list(can_fail())) > 0


@pytest.mark.parametrize(
    "path", sorted((ROOT / "ci" / "mutants").glob("*.json")), ids=lambda path: path.stem
)
def test_what_is_known_to_survive_is_there_to_be_tried(path):
    known = read_survivors(path)
    assert known.claims.keys() <= {claim.id for claim, _ in every_claim() if not claim.reported}
    assert known.mutants.keys() <= {mutant.name for mutant in TRIED}
