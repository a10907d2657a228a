"""Made-up outcomes of function vectors, and records that hold them."""

from __future__ import annotations

import math

import numpy as np

from stillwired.judge import Claim, Difference, Needs, Outcome, Paper
from stillwired.options import RunOptions
from stillwired.records.evidence import describe, outcome_id
from stillwired.records.finish import finish
from stillwired.records.run import RunFolder
from stillwired.records.session import Judge, Run, cell_of
from stillwired.settings import Settings

PAPER = Paper("function-vectors", "Function Vectors", "A. Author", "Venue 2024").at("Section 3")
FORMS = ("qa", "input-output", "arrow")
DEPTHS = tuple(f"depth{k / 10:.2f}" for k in range(11))
QUESTIONS = 40
RATES = {
    "present-past": 0.9,
    "singular-plural": 0.85,
    "capitalize": 0.95,
    "country-capital": 0.5,
    "english-french": 0.3,
    "antonym": 0.45,
    "verb-ing": 0.8,
}
"""Hits of each task's vector at its best depth."""


def hits(name, rate, rows=QUESTIONS, **factors):
    """Hits on word pairs: the first ones, as many as the rate says."""
    pairs = [f"pair {k}" for k in range(rows)]
    scores = (np.arange(rows) < round(rate * rows)).astype(float)
    return Outcome(name, pairs, pairs, scores, factors)


def curve(task, rate):
    """Hits by depth: a summit at 0.3, and a cliff at 0.6."""
    found = {}
    for k, label in enumerate(DEPTHS):
        depth = k / 10
        height = rate * (math.exp(-(((depth - 0.3) / 0.28) ** 2)) if depth < 0.65 else 0.03)
        found[label] = hits(f"{task}: own vector, {label}", height, depth=label)
    return found


def pairs_of(task, form, rate):
    """Hits by the format that a vector is from: fewer where it is another one."""
    return {
        of: hits(f"{task}: {form} from {of}", rate * (1 if of == form else 0.6 + 0.05 * k))
        for k, of in enumerate(FORMS)
    }


def cell(claim, params, word="HOLDS", **blocks):
    """A judged cell as a record has it, and its outcomes by id."""
    by_id = {}

    def ids(arm):
        if isinstance(arm, dict):
            return {label: ids(member) for label, member in arm.items()}
        by_id[outcome_id(arm)] = arm
        return outcome_id(arm)

    evidence = {
        block: {name: ids(arm) for name, arm in arms.items()} for block, arms in blocks.items()
    }
    told = {"claim": claim, "params": params, "verdict": word, "evidence": evidence}
    return told, by_id


def depth_cell(task, rate, word="HOLDS"):
    beside = {"by depth": curve(task, rate), "without": hits(f"{task}: nothing", 0.05)}
    return cell("function-vectors/peak-then-cliff", {"task": task}, word, arms={}, beside=beside)


def template_cell(task, form, rate, word="HOLDS"):
    arms = {
        "from_other_formats": hits(f"{task}: {form} from others", 0.6 * rate),
        "without": hits(f"{task}: {form}, nothing", 0.1),
    }
    return cell(
        "function-vectors/transfers-across-templates",
        {"form": form, "task": task},
        word,
        arms=arms,
        beside={"vector from": pairs_of(task, form, rate)},
    )


def record_of(*cells, figures=None, layers=11):
    """The part of a record that pictures are drawn from, and its outcomes by id."""
    outcomes = {name: outcome for _, by_id in cells for name, outcome in by_id.items()}
    record = {
        "checkpoint": {"name": "tiny", "layers": layers},
        "profile": "quick",
        "verdicts": [verdict for verdict, _ in cells],
        "outcomes": {name: describe(outcome) for name, outcome in outcomes.items()},
        "figures": figures or {},
    }
    return record, outcomes


def head_map(layers=30, heads=9, chosen=6, seed=0):
    """Effects near 0, of some heads in the middle well above it."""
    rng = np.random.default_rng(seed)
    effects = rng.normal(0, 0.002, (layers, heads))
    for k in range(chosen):
        layer = int(np.clip(rng.normal(0.42, 0.14), 0, 0.99) * layers)
        effects[layer, rng.integers(heads)] = 0.08 * 0.75**k + 0.004
    order = np.argsort(-effects, axis=None)[:chosen]
    best = [[int(k) // heads, int(k) % heads] for k in order]
    return {"effects": effects.round(6).tolist(), "heads": best, "tasks": list(RATES)}


VERBS = (
    ("begin", "began"),
    ("break", "broke"),
    ("choose", "chose"),
    ("draw", "drew"),
    ("fall", "fell"),
    ("grow", "grew"),
    ("hide", "hid"),
    ("know", "knew"),
    ("ride", "rode"),
    ("sing", "sang"),
)


def pattern(heads=((9, 4), (12, 1), (10, 7), (15, 3)), shots=VERBS, query="swim"):
    """Where heads look on a prompt of ten shots: at answers, each a little less than the last."""
    tokens, answers = [], []
    for given, wanted in shots:
        tokens += ["Q", ":", f" {given}", "\n", "A", ":", f" {wanted}", "\n\n"]
        answers.append(len(tokens) - 2)
    tokens += ["Q", ":", f" {query}", "\n", "A", ":"]
    rng = np.random.default_rng(1)
    weights = []
    for k, _ in enumerate(heads):
        raw = rng.gamma(0.5, 0.02, len(tokens))
        raw[answers] += rng.gamma(2.0, 0.4 / (k + 1), len(answers))
        raw[0] = 0
        sink = 0.2 + 0.15 * k
        raw *= (1 - sink) / raw.sum()
        raw[0] = sink
        weights.append([round(float(weight), 4) for weight in raw])
    return {"heads": [list(head) for head in heads], "tokens": tokens, "weights": weights}


def attention_cell(task):
    arms = {
        "top_heads": hits(f"{task}: top heads", 0.6, rows=30),
        "random_heads": hits(f"{task}: random heads", 0.1, rows=30),
    }
    return cell("function-vectors/heads-look-at-answers", {"task": task}, arms=arms)


CLAIMS = {
    name: Claim(
        id=f"function-vectors/{name}",
        version=1,
        says="It works.",
        source=PAPER,
        published="0.5",
        expects=(Difference(plus, minus, at_least=0.1),),
        margin=0.1,
        mutant="shuffled",
        applies=(Needs("right in context", at_least=0.3),),
    )
    for name, plus, minus in (
        ("peak-then-cliff", "early_to_middle", "late"),
        ("transfers-across-templates", "from_other_formats", "without"),
        ("heads-look-at-answers", "top_heads", "random_heads"),
    )
}


def write(path, tasks=("antonym", "present-past", "verb-ing"), unable=(), figures=True):
    """Write a record of a run that measured some tasks, of which some cannot be done."""
    run = Run(RunOptions(Settings(), path), RunFolder(path.with_suffix(".run"), "t"), print)
    run.folder.note("checkpoint", "m", {"name": "m", "layers": 11})
    able = {"right in context": hits("able", 0.9)}

    def judge(name, evidence, **params):
        given = {"checkpoint_spec": "m", **params}
        one = Judge(run, "test", cell_of(CLAIMS[name], given, "test", order=judge.count))
        judge.count += 1
        task = params["task"]
        ability = {"right in context": hits("unable", 0.0)} if task in unable else able
        one(ability=ability, **evidence)

    judge.count = 0
    for task in tasks:
        rate, by_depth = RATES[task], curve(task, RATES[task])
        beside = {"by depth": by_depth, "without": hits(f"{task}: nothing", 0.05)}
        arms = {"early_to_middle": by_depth["depth0.30"], "late": by_depth["depth0.90"]}
        judge("peak-then-cliff", {**arms, "beside": beside}, task=task)
        for form in FORMS:
            arms = {
                "from_other_formats": hits(f"{task}: {form} from others", 0.6 * rate),
                "without": hits(f"{task}: {form}, nothing", 0.1),
            }
            evidence = {**arms, "beside": {"vector from": pairs_of(task, form, rate)}}
            judge("transfers-across-templates", evidence, task=task, form=form)
        arms = {
            "top_heads": hits(f"{task}: top heads", 0.6, rows=30),
            "random_heads": hits(f"{task}: random heads", 0.1, rows=30),
        }
        judge("heads-look-at-answers", arms, task=task)
        if figures:
            run.note_figure(f"attention, {task}", pattern())
    if figures:
        run.note_figure("head map", head_map())
    finish(run)
    return path
