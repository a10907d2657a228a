"""How much the contrasts of fitted claims vary when what they rest on is fitted again.

For Future Lens, prompts are trained again from other first vectors and in another order. For
function vectors, clean and shuffled prompts are drawn again, and with them means, heads, their
number and the depths of insertion. Judged rows and everything else stay the same. The standard
deviation over the restarts belongs into a comparison of two checkpoints, which are fitted apart:
documents or word pairs alone would make it too sure.

    python benchmarks/refit_variance.py future-lens claims/future_lens/refits.json
    python benchmarks/refit_variance.py function-vectors claims/function_vectors/refits.json

Restarts that are in the cache are not fitted again. Claims are tried at the parameters of the quick
profile; those about single tasks at their primary one, which stands in for the others. The file
names what is fitted and was not measured: what only larger profiles judge, and what a claim did not
compare yet. ``--unmeasured`` brings these names up to date, and measures nothing.
"""

from __future__ import annotations

import argparse
import importlib
import inspect
import itertools
import json
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any
from unittest.mock import MagicMock

import numpy as np

from stillwired.checkpoints.checkpoint import Checkpoint
from stillwired.checkpoints.prepare import prepare
from stillwired.data.corpus import load_corpus
from stillwired.data.task_sizes import SIZES
from stillwired.engine.engine import Engine
from stillwired.instruments.function_vectors import TaskVectors
from stillwired.instruments.future_lens import FutureLens
from stillwired.instruments.prompt_recipes import RECIPES
from stillwired.instruments.survey import SurveyPlan, take_survey
from stillwired.instruments.task_readings import TaskReadings
from stillwired.instruments.text import TextReadings
from stillwired.judge import Claim, Steps
from stillwired.judge.contrasts import parts_of
from stillwired.profiles import QUICK
from stillwired.settings import DEFAULT_MODEL, Settings
from stillwired.store.cache import Store

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT))

from fixtures.function_vectors import FunctionVectors, tasks_of  # noqa: E402 - found by the line above

Params = dict[str, Any]
Cell = tuple[Claim, Any, Params]
Found = Mapping[str, Mapping[str, Mapping[str, Any]]]
"""By claim and by parameters, as text, what is known of every part."""


def tests_of(paper: str, *, quick: bool) -> Iterator[tuple[Claim, Any, Sequence[Any]]]:
    """Yield the claims that the quick profile judges, or all of them, with tests and marks."""
    for path in sorted((ROOT / "claims" / paper).glob("test_*.py")):
        module = importlib.import_module(f"claims.{paper}.{path.stem}")
        for _, function in inspect.getmembers(module, inspect.isfunction):
            marks = getattr(function, "pytestmark", [])
            by_name = {mark.name: mark for mark in marks}
            if "claim" in by_name and not (quick and "standard" in by_name):
                yield by_name["claim"].args[0], function, marks


def prompt_cells() -> Iterator[Cell]:
    """Yield every cell of the claims about Future Lens that rest on a trained prompt somewhere."""
    for claim, function, marks in tests_of("future_lens", quick=True):
        cells = list(_cells(marks, quick=True))
        if any(rests_on_a_prompt(claim, function, params) for params in cells):
            yield from ((claim, function, params) for params in cells)


def vector_cells() -> Iterator[Cell]:
    """Yield the primary cell of every claim about function vectors that is judged."""
    for claim, function, _ in tests_of("function_vectors", quick=True):
        if not claim.reported:
            yield claim, function, dict(claim.primary)


def fitted_prompts() -> Iterator[tuple[Claim, Params]]:
    """Yield every cell about Future Lens, of any profile, that rests on a trained prompt."""
    for claim, function, marks in tests_of("future_lens", quick=False):
        for params in _cells(marks, quick=False):
            if rests_on_a_prompt(claim, function, params):
                yield claim, params


def fitted_vectors() -> Iterator[tuple[Claim, Params]]:
    """Yield every claim about function vectors; all of its cells rest on them."""
    for claim, _, _ in tests_of("function_vectors", quick=False):
        yield claim, {}


def unmeasured(fitted: Iterable[tuple[Claim, Params]], found: Found) -> dict[str, list[Params]]:
    """Return what is fitted, may be compared, and was not measured: by claim, parameters.

    Args:
        fitted: Cells; one without parameters stands for every cell of its claim.
        found: What was measured.
    """
    lacking: dict[str, list[Params]] = {}
    for claim, params in fitted:
        # Steps and families have a part for each member, everything else has one.
        fewest = len([one for one in claim.expects if not isinstance(one, Steps)])
        measured = any(
            _named(params) <= set(where.split(", ")) and len(parts) >= fewest
            for where, parts in found.get(claim.id, {}).items()
        )
        if not (measured or claim.reported):
            lacking.setdefault(claim.id, []).append(params)
    return lacking


def _named(params: Params) -> set[str]:
    return {f"{name}={value}" for name, value in params.items()}


def _cells(marks: Sequence[Any], *, quick: bool) -> Iterator[Params]:
    """Yield the parameters of every cell of a test."""
    given = [mark for mark in marks if mark.name == "parametrize"]
    names = [mark.args[0] for mark in given]
    for values in itertools.product(*(_values(mark.args[1], quick) for mark in given)):
        yield dict(zip(names, values, strict=True))


def _values(values: Sequence[Any], quick: bool) -> list[Any]:
    """Unwrap parameters, without those that only the larger profiles run if ``quick``."""
    kept = []
    for value in values:
        marks = getattr(value, "marks", ())
        if not (quick and any(mark.name == "standard" for mark in marks)):
            kept.append(value.values[0] if marks else value)
    return kept


def rests_on_a_prompt(claim: Claim, function: Any, params: Params) -> bool:
    """Whether what a claim compares in a cell comes from a prompt that is trained.

    Its test is run on readers that read nothing, so that it may ask for one in any way.
    """
    lens, prompt = MagicMock(), object()
    for reader in (lens.learned, lens.no_state, lens.names.learned, lens.names.elsewhere):
        reader.return_value = prompt
    lens.with_reader.side_effect = partial(FutureLens.with_reader, lens)
    lens.over.side_effect = lambda _, read: {"somewhere": read(MagicMock())}
    arms = handed(function, {"future_lens": lens, **params})
    compared = (arms[name] for expectation in claim.expects for name in expectation.arms)
    return any(prompt in (arm.values() if isinstance(arm, Mapping) else [arm]) for arm in compared)


def handed(function: Any, given: Mapping[str, Any]) -> dict[str, Any]:
    """Run a claim's test and return the arms that it hands to the judge.

    Args:
        function: The test.
        given: The fixtures and parameters that it may ask for, without those that judge.
    """
    handed_over: dict[str, Any] = {}

    def judge(
        *,
        ability: Any = None,
        null: Any = None,
        planted: Any = None,
        beside: Any = None,
        facts: Any = None,
        **arms: Any,
    ) -> None:
        handed_over.update(arms)

    known = {**given, "judge_readers": judge, "judge_vectors": judge}
    function(**{name: known[name] for name in inspect.signature(function).parameters})
    return handed_over


def estimates(claim: Claim, function: Any, given: Mapping[str, Any]) -> dict[str, float]:
    """Run a claim's test and return the estimate of every part.

    Args:
        claim: The claim.
        function: Its test.
        given: As for `handed`.
    """
    parts = parts_of(claim, handed(function, given))
    return {part.name: float(part.scores.mean()) for part in parts}


class FutureLensAgain:
    """Prompts that are trained again."""

    def __init__(self, checkpoint: Checkpoint, engine: Engine, store: Store) -> None:
        corpus, plan = load_corpus(store), SurveyPlan(QUICK, QUICK.depths, seed=0)
        survey = take_survey(lambda: engine, checkpoint, corpus, plan, store, print)
        self.text = TextReadings(checkpoint, lambda: engine, corpus, plan, lambda: survey, store)

    def cells(self) -> Iterator[Cell]:
        """Yield what is estimated."""
        return prompt_cells()

    @staticmethod
    def fitted() -> Iterator[tuple[Claim, Params]]:
        """Yield what there is to estimate in any profile."""
        return fitted_prompts()

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

    @staticmethod
    def fitted() -> Iterator[tuple[Claim, Params]]:
        """Yield what there is to estimate in any profile."""
        return fitted_vectors()

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
    about.add_argument(
        "--unmeasured", action="store_true", help="measure nothing, and name anew what is not"
    )
    asked = about.parse_args()
    fitted = list(PAPERS[asked.paper].fitted())
    if asked.unmeasured:
        page = json.loads(asked.out.read_text(encoding="utf-8"))
        asked.out.write_text(_text(page | {"unmeasured": unmeasured(fitted, page["claims"])}))
        return
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
        asked.out.write_text(_page(checkpoint, restart + 1, found, unmeasured(fitted, found)))


def _page(
    checkpoint: Checkpoint,
    restarts: int,
    found: Mapping[str, Any],
    lacking: Mapping[str, list[Params]],
) -> str:
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
        "unmeasured": lacking,
    }
    return _text(kept)


def _text(page: Mapping[str, Any]) -> str:
    return json.dumps(page, indent=1, ensure_ascii=False) + "\n"


if __name__ == "__main__":
    main()
