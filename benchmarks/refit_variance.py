"""How much the contrasts of trained claims vary when the prompts are trained again.

Draws of first vectors and of the order of states are repeated; text, rows and everything else stay
the same. The standard deviation over the restarts belongs into a comparison of two checkpoints,
whose prompts are trained apart: documents alone would make it too sure.

    python benchmarks/refit_variance.py claims/future_lens/refits.json

Restarts that are in the cache are not trained again. Every claim whose test asks for a learned
prompt is tried, at the parameters of the quick profile.
"""

from __future__ import annotations

import argparse
import importlib
import inspect
import itertools
import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from stillwired.checkpoints.checkpoint import Checkpoint
from stillwired.checkpoints.prepare import prepare
from stillwired.data.corpus import load_corpus
from stillwired.engine.engine import Engine
from stillwired.instruments.future_lens import FutureLens
from stillwired.instruments.prompt_training import RECIPES
from stillwired.instruments.survey import SurveyPlan, take_survey
from stillwired.instruments.text import TextReadings
from stillwired.judge import Claim
from stillwired.judge.contrasts import parts_of
from stillwired.profiles import QUICK
from stillwired.settings import DEFAULT_MODEL
from stillwired.store.cache import Store

ROOT = Path(__file__).parent.parent


def cells() -> Iterator[tuple[Claim, Any, dict[str, Any]]]:
    """Yield every claim of a prompt that the quick profile judges, with its test and parameters."""
    for path in sorted((ROOT / "claims" / "future_lens").glob("test_*.py")):
        if "future_lens.learned" not in path.read_text() and "names" not in path.name:
            continue
        module = importlib.import_module(f"claims.future_lens.{path.stem}")
        for _, function in inspect.getmembers(module, inspect.isfunction):
            marks = {mark.name: mark for mark in getattr(function, "pytestmark", [])}
            if "claim" not in marks or "standard" in marks:
                continue
            given = [m for m in getattr(function, "pytestmark", []) if m.name == "parametrize"]
            names = [mark.args[0] for mark in given]
            for values in itertools.product(*(_quick(mark.args[1]) for mark in given)):
                yield marks["claim"].args[0], function, dict(zip(names, values, strict=True))


def _quick(values: Sequence[Any]) -> list[Any]:
    """Drop parameters that only the larger profiles run, and the wrapping of the others."""
    kept = []
    for value in values:
        marks = getattr(value, "marks", ())
        if not any(mark.name == "standard" for mark in marks):
            kept.append(value.values[0] if marks else value)
    return kept


def estimates(
    claim: Claim, function: Any, params: Mapping[str, Any], lens: FutureLens
) -> dict[str, float]:
    """Run a claim's test and return the estimate of every part."""
    handed: dict[str, Any] = {}

    def judge_readers(
        *,
        ability: Any = None,
        null: Any = None,
        planted: Any = None,
        beside: Any = None,
        facts: Any = None,
        **arms: Any,
    ) -> None:
        handed.update(arms)

    given = {"future_lens": lens, "judge_readers": judge_readers, **params}
    function(**{name: given[name] for name in inspect.signature(function).parameters})
    return {part.name: float(part.scores.mean()) for part in parts_of(claim, handed)}


def main() -> None:
    """Measure, and write one file."""
    about = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    about.add_argument("out", type=Path)
    about.add_argument("--restarts", type=int, default=5)
    asked = about.parse_args()
    sys.path.insert(0, str(ROOT))
    store = Store(Store.default_root())
    checkpoint = Checkpoint(prepare(DEFAULT_MODEL, store))
    corpus, plan = load_corpus(store), SurveyPlan(QUICK, QUICK.depths, seed=0)
    engine = Engine(checkpoint)
    survey = take_survey(lambda: engine, checkpoint, corpus, plan, store, print)
    text = TextReadings(checkpoint, lambda: engine, corpus, plan, lambda: survey, store)

    found: dict[str, dict[str, dict[str, list[float]]]] = {}
    for restart in range(asked.restarts):
        lens = FutureLens(text, replace(RECIPES["quick"], restart=restart))
        for claim, function, params in cells():
            where = ", ".join(f"{name}={value}" for name, value in params.items()) or "-"
            parts = found.setdefault(claim.id, {}).setdefault(where, {})
            for name, estimate in estimates(claim, function, params, lens).items():
                parts.setdefault(name, []).append(estimate)
            print(f"restart {restart}: {claim.id} [{where}]", flush=True)
        # After every restart, so that a long measurement that is stopped has not been in vain.
        asked.out.write_text(_page(checkpoint, restart + 1, found))


def _page(checkpoint: Checkpoint, restarts: int, found: Mapping[str, Any]) -> str:
    claims = {
        claim: {
            where: {
                name: {
                    "sd": round(float(np.std(values, ddof=1)), 5) if restarts > 1 else None,
                    "estimates": [round(value, 5) for value in values],
                }
                for name, values in parts.items()
            }
            for where, parts in by_cell.items()
        }
        for claim, by_cell in found.items()
    }
    kept = {
        "checkpoint": checkpoint.name,
        "digest": checkpoint.digest,
        "profile": "quick",
        "restarts": restarts,
        "claims": claims,
    }
    return json.dumps(kept, indent=1, ensure_ascii=False) + "\n"


if __name__ == "__main__":
    main()
