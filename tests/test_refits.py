"""What is kept of repeated fits: five of them for every fitted claim, and figures that follow."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from benchmarks.refit_variance import (
    fitted_prompts,
    fitted_vectors,
    prompt_cells,
    unmeasured,
    vector_cells,
)
from stillwired.judge import Claim, Difference, Level, Paper

CLAIMS = Path(__file__).parent.parent / "claims"
FITTED = {"future_lens": fitted_prompts, "function_vectors": fitted_vectors}


@pytest.fixture(params=FITTED)
def kept(request):
    """A file, and what is fitted among the claims beside it."""
    path = CLAIMS / request.param / "refits.json"
    return json.loads(path.read_text(encoding="utf-8")), list(FITTED[request.param]())


def test_every_fitted_claim_was_fitted_five_times_or_is_named(kept):
    page, fitted = kept
    assert page["restarts"] >= 5
    # After a change of claims, benchmarks/refit_variance.py --unmeasured brings this up to date.
    assert page["unmeasured"] == unmeasured(fitted, page["claims"])
    assert set(page["claims"]) <= {claim.id for claim, _ in fitted}
    parts = [
        p for cell in page["claims"].values() for where in cell.values() for p in where.values()
    ]
    for part in parts:
        assert len(part["estimates"]) == page["restarts"]
        assert part["sd"] == pytest.approx(np.std(part["estimates"], ddof=1), abs=2e-5)
    assert max(part["sd"] for part in parts) > 0.001


def test_prompts_are_found_however_a_test_asks_for_them():
    """By a reader's name, from a helper, for a family; but not what only stands beside."""
    fitted = [(claim.id.partition("/")[2], params) for claim, params in fitted_prompts()]
    readers = [params for name, params in fitted if name == "readers-find-the-present-token"]
    assert readers == [{"reader": "learned"}]
    names = {name for name, _ in fitted}
    assert {"learned-prompt-wins", "names-act-as-one", "one-prompt-for-all-layers"} <= names
    assert "prompt-length-matters-little" in names
    assert not names & {"bigram-floor", "linear-decays", "fixed-prompts-gain-from-fed-tokens"}


def test_a_claim_is_measured_in_all_cells_of_the_quick_profile_or_in_its_primary_one():
    """The cells without a prompt too, of which else the largest figure would be believed."""
    cells = [params for claim, _, params in prompt_cells() if "find-the-present" in claim.id]
    assert cells == [{"reader": reader} for reader in ("linear", "vocabulary", "learned")]
    vectors = [(claim, params) for claim, _, params in vector_cells()]
    assert all(params == claim.primary for claim, params in vectors)
    assert len(vectors) > 10


def test_what_was_not_measured_or_only_in_part_is_named():
    def claim(name, *expects, **more):
        source = Paper("p", "P", "A. Author", "Venue").at("Table 1")
        given = {"margin": 0.1, "mutant": "m", "version": 1, "says": "s", "published": "1"}
        return Claim(id=f"p/{name}", source=source, expects=expects, **given | more)

    wins = claim("wins", Difference("a", "b", at_least=0.1))
    two = claim("two", Difference("a", "b", at_least=0.1), Level("a", at_least=0.1))
    told = claim("told", Level("a", reported=True), margin=None, mutant=None)
    fitted = [(wins, {"n": 1}), (wins, {"n": 2}), (wins, {"n": 12}), (two, {}), (told, {})]
    found = {"p/wins": {"n=12, task=x": {"a − b": {}}}, "p/two": {"task=x": {"a − b": {}}}}
    assert unmeasured(fitted, found) == {"p/wins": [{"n": 1}, {"n": 2}], "p/two": [{}]}
    found["p/two"]["task=x"]["a"] = {}
    assert unmeasured(fitted, found) == {"p/wins": [{"n": 1}, {"n": 2}]}
    assert unmeasured(fitted, {})["p/two"] == [{}]
