"""What is kept of repeated fits: five of them for every fitted claim, and figures that follow."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from benchmarks.refit_variance import prompt_cells, vector_cells
from stillwired.judge import Steps

CLAIMS = Path(__file__).parent.parent / "claims"
KEPT = {"future_lens": prompt_cells, "function_vectors": vector_cells}


@pytest.fixture(params=KEPT)
def kept(request):
    """A file, and the cells that it is about."""
    path = CLAIMS / request.param / "refits.json"
    return json.loads(path.read_text(encoding="utf-8")), list(KEPT[request.param]())


def test_every_fitted_claim_was_fitted_five_times(kept):
    page, cells = kept
    assert page["restarts"] >= 5
    assert {claim.id for claim, _, _ in cells} == set(page["claims"])
    for claim, _, params in cells:
        where = ", ".join(f"{name}={value}" for name, value in params.items()) or "-"
        parts = page["claims"][claim.id][where]
        # One part for each expectation at least, steps and families have more.
        assert len(parts) >= len([e for e in claim.expects if not isinstance(e, Steps)])
        for part in parts.values():
            assert len(part["estimates"]) == page["restarts"]
            assert part["sd"] == pytest.approx(np.std(part["estimates"], ddof=1), abs=2e-5)


def test_restarts_fit_again(kept):
    page, _ = kept
    spread = [
        part["sd"] for cell in page["claims"].values() for w in cell.values() for part in w.values()
    ]
    assert max(spread) > 0.001
