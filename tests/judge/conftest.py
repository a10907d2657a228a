from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

import numpy as np
import pytest

from stillwired.judge import Claim, Difference, Evidence, Outcome, Paper

PAPER = Paper("future-lens", "Future Lens", "Pal et al.", "CoNLL 2023", "2311.04897")


@pytest.fixture(scope="session")
def simulation():
    """The simulation module, which is a script as well."""
    name = "stillwired_judge_simulation"
    if name not in sys.modules:
        spec = importlib.util.spec_from_file_location(
            name, Path(__file__).with_name("simulation.py")
        )
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        sys.modules[name] = module  # dataclasses look their module up
        spec.loader.exec_module(module)
    return sys.modules[name]


def _claim(**changes):
    declared = {
        "id": "future-lens/linear-beats-bigram",
        "version": 1,
        "says": "A linear map reads the token after next better than a table of token pairs.",
        "source": PAPER.at("Figure 4 and Table 2"),
        "published": "0.292 against 0.201 (GPT-J-6B, N=1)",
        "expects": (Difference("linear", "bigram", at_least=0.02),),
        "margin": 0.02,
        "mutant": "maps fitted to the states of other documents",
    }
    return Claim(**{**declared, **changes})


def _outcome(name, scores, per_cluster=8, prefix="doc"):
    rows = np.arange(len(scores))
    clusters = np.array([f"{prefix}{row // per_cluster}" for row in rows])
    examples = np.array([f"{prefix}{row // per_cluster}:{row % per_cluster}" for row in rows])
    return Outcome(name, examples, clusters, np.asarray(scores, dtype=float))


def _noisy(mean, sd=0.1, clusters=40, per_cluster=8, seed=0):
    """Free scores whose mean over rows is exactly ``mean``."""
    noise = np.random.default_rng(seed).normal(size=clusters * per_cluster)
    return mean + sd * (noise - noise.mean())


def _evidence(plus=0.2, minus=0.0, clusters=40, **more):
    """Arms linear and bigram with these means and a shared, small noise."""
    arms = {
        "linear": _outcome("linear", _noisy(plus, clusters=clusters, seed=1)),
        "bigram": _outcome("bigram", _noisy(minus, clusters=clusters, seed=2)),
    }
    return Evidence({**arms, **more.pop("arms", {})}, **more)


@pytest.fixture(scope="session")
def claim():
    """Builds a claim of one difference; keywords change its declaration."""
    return _claim


@pytest.fixture(scope="session")
def outcome():
    """Builds an outcome from scores, eight rows to a cluster."""
    return _outcome


@pytest.fixture(scope="session")
def noisy():
    """Draws scores with an exact mean."""
    return _noisy


@pytest.fixture(scope="session")
def evidence():
    """Builds evidence for the claim of one difference."""
    return _evidence
