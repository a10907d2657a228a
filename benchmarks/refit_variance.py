"""How much the contrasts of fitted claims vary when what they rest on is fitted again.

For Future Lens, prompts are trained again from other first vectors and in another order. For
function vectors, clean and shuffled prompts are drawn again, and with them means, heads, their
number and the depths of insertion. Judged rows and everything else stay the same. The standard
deviation over the restarts belongs into a comparison of two checkpoints, which are fitted apart:
documents or word pairs alone would make it too sure.

    python benchmarks/refit_variance.py future-lens claims/future_lens/refits.json
    python benchmarks/refit_variance.py function-vectors claims/function_vectors/refits.json

Restarts that are in the cache are not fitted again. Claims are tried at the parameters of the quick
profile; those about single tasks at their primary one.
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
from stillwired.data.task_sizes import SIZES
from stillwired.engine.engine import Engine
from stillwired.instruments.function_vectors import TaskVectors
from stillwired.instruments.future_lens import FutureLens
from stillwired.instruments.prompt_training import RECIPES
from stillwired.instruments.survey import SurveyPlan, take_survey
from stillwired.instruments.task_readings import TaskReadings
from stillwired.instruments.text import TextReadings
from stillwired.judge import Claim
from stillwired.judge.contrasts import parts_of
from stillwired.profiles import QUICK
from stillwired.settings import DEFAULT_MODEL, Settings
from stillwired.store.cache import Store

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT))

from fixtures.function_vectors import FunctionVectors, tasks_of  # noqa: E402 - found by the line above

Cell = tuple[Claim, Any, dict[str, Any]]


def tests_of(paper: str) -> Iterator[tuple[Claim, Any, Sequence[Any]]]:
    """Yield the claims that the quick profile judges, with their tests and marks."""
    for path in sorted((ROOT / "claims" / paper).glob("test_*.py")):
        module = importlib.import_module(f"claims.{paper}.{path.stem}")
        for _, function in inspect.getmembers(module, inspect.isfunction):
            marks = getattr(function, "pytestmark", [])
            by_name = {mark.name: mark for mark in marks}
            if "claim" in by_name and "standard" not in by_name:
                yield by_name["claim"].args[0], function, marks


def prompt_cells() -> Iterator[Cell]:
    """Yield every cell of Future Lens whose test asks for a learned prompt."""
    for claim, function, marks in tests_of("future_lens"):
        asks = inspect.getsource(function)
        if "future_lens.learned" not in asks and "future_lens.names" not in asks:
            continue
        given = [mark for mark in marks if mark.name == "parametrize"]
        names = [mark.args[0] for mark in given]
        for values in itertools.product(*(_quick(mark.args[1]) for mark in given)):
            yield claim, function, dict(zip(names, values, strict=True))


def vector_cells() -> Iterator[Cell]:
    """Yield the primary cell of every claim about function vectors that is judged."""
    for claim, function, _ in tests_of("function_vectors"):
        if not claim.reported:
            yield claim, function, dict(claim.primary)


def _quick(values: Sequence[Any]) -> list[Any]:
    """Drop parameters that only the larger profiles run, and the wrapping of the others."""
    kept = []
    for value in values:
        marks = getattr(value, "marks", ())
        if not any(mark.name == "standard" for mark in marks):
            kept.append(value.values[0] if marks else value)
    return kept


def estimates(claim: Claim, function: Any, given: Mapping[str, Any]) -> dict[str, float]:
    """Run a claim's test and return the estimate of every part.

    Args:
        claim: The claim.
        function: Its test.
        given: The fixtures and parameters that it may ask for, without those that judge.
    """
    handed: dict[str, Any] = {}

    def judge(
        *,
        ability: Any = None,
        null: Any = None,
        planted: Any = None,
        beside: Any = None,
        facts: Any = None,
        **arms: Any,
    ) -> None:
        handed.update(arms)

    known = {**given, "judge_readers": judge, "judge_vectors": judge}
    function(**{name: known[name] for name in inspect.signature(function).parameters})
    return {part.name: float(part.scores.mean()) for part in parts_of(claim, handed)}


class FutureLensAgain:
    """Prompts that are trained again."""

    def __init__(self, checkpoint: Checkpoint, engine: Engine, store: Store) -> None:
        corpus, plan = load_corpus(store), SurveyPlan(QUICK, QUICK.depths, seed=0)
        survey = take_survey(lambda: engine, checkpoint, corpus, plan, store, print)
        self.text = TextReadings(checkpoint, lambda: engine, corpus, plan, lambda: survey, store)

    def cells(self) -> Iterator[Cell]:
        """Yield what is estimated."""
        return prompt_cells()

    def fixtures(self, restart: int) -> dict[str, Any]:
        """Return the readers of one restart."""
        recipe = replace(RECIPES["quick"], restart=restart)
        return {"future_lens": FutureLens(self.text, recipe)}


class FunctionVectorsAgain:
    """Heads and vectors that are found again."""

    def __init__(self, checkpoint: Checkpoint, engine: Engine, store: Store) -> None:
        sizes, chosen = SIZES["quick"], tasks_of(Settings())
        self.readings = TaskReadings(checkpoint, lambda: engine, chosen, sizes, store, say=print)

    def cells(self) -> Iterator[Cell]:
        """Yield what is estimated."""
        return vector_cells()

    def fixtures(self, restart: int) -> dict[str, Any]:
        """Return the vectors of one restart."""
        vectors = TaskVectors(self.readings.again(restart))
        return {"function_vectors": FunctionVectors(vectors)}


PAPERS = {"future-lens": FutureLensAgain, "function-vectors": FunctionVectorsAgain}


def main() -> None:
    """Measure, and write one file."""
    about = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    about.add_argument("paper", choices=PAPERS)
    about.add_argument("out", type=Path)
    about.add_argument("--restarts", type=int, default=5)
    asked = about.parse_args()
    store = Store(Store.default_root())
    checkpoint = Checkpoint(prepare(DEFAULT_MODEL, store))
    again = PAPERS[asked.paper](checkpoint, Engine(checkpoint), store)

    found: dict[str, dict[str, dict[str, list[float]]]] = {}
    for restart in range(asked.restarts):
        fixtures = again.fixtures(restart)
        for claim, function, params in again.cells():
            where = ", ".join(f"{name}={value}" for name, value in params.items()) or "-"
            parts = found.setdefault(claim.id, {}).setdefault(where, {})
            for name, estimate in estimates(claim, function, {**fixtures, **params}).items():
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
