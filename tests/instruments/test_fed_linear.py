"""A linear map of state and fed tokens against a ridge regression by hand."""

from __future__ import annotations

import numpy as np
import pytest

from stillwired.instruments import fed_linear as module
from stillwired.instruments.fed_linear import FedLinear, moments_of
from stillwired.instruments.future_lens import FutureLens
from stillwired.instruments.linear_map import RIDGES, train_on_kl
from stillwired.instruments.text import TextReadings
from stillwired.store.cache import Store
from tests.instruments.conftest import WIDTH


@pytest.fixture
def untrained(apart_from, monkeypatch):
    monkeypatch.setattr(module, "train_on_kl", lambda start, *_, **__: start)
    return FutureLens(apart_from)


def told(text, split, block, ahead):
    table = text.checkpoint.model.model.embed_tokens.weight.detach().numpy()
    states = np.array(text.survey.states(split, block), dtype=np.float64)
    fed = [table[text.rows(split).following[:, k]] for k in range(ahead)]
    return np.concatenate([states, *fed], axis=1)


@pytest.mark.parametrize(("ahead", "share"), [(0, 1.0), (1, 1.0), (3, 1.0), (1, 0.5)])
@pytest.mark.parametrize("place", [0, 2])
def test_guesses_equal_a_ridge_by_hand(
    untrained, text, surprisals, ahead, share, place, monkeypatch
):
    monkeypatch.setattr(module, "CHUNK", 250)
    depth, rows = text.depths[place], int(600 * share)
    x, choose, judge = (told(text, s, depth.block, ahead) for s in ("fit", "choose", "judge"))
    assert x.shape == (600, WIDTH * (1 + ahead))
    y = np.array(text.survey.final_states("fit", ahead), dtype=np.float64)
    x, y = x[:rows], y[:rows]
    mean, scale = x.mean(0), x.std(0)
    z, candidates = (x - mean) / scale, []
    for ridge in RIDGES:
        inner = z.T @ z / len(z) + ridge * np.eye(z.shape[1])
        weights = np.linalg.solve(inner, z.T @ (y - y.mean(0)) / len(z))
        error = ((choose - mean) / scale) @ weights + y.mean(0)
        error = np.mean((error - text.survey.final_states("choose", ahead)) ** 2)
        candidates.append((error, ridge, weights))
    weights = min(candidates, key=lambda found: found[0])[2]

    def predicted(states):
        return (((states - mean) / scale) @ weights + y.mean(0)).astype(np.float32)

    guesses = surprisals(predicted(judge), normed=True).argmin(1)
    expected = guesses == text.rows("judge").targets[:, ahead]
    ours = untrained.fair_linear(ahead, depth, share=share)
    # Sums in float32: a near tie may fall the other way.
    assert np.sum(ours.scores != expected) <= 1
    said = text.rows("choose").targets[:, ahead]
    scores = surprisals(predicted(choose), normed=True)[np.arange(len(said)), said]
    kept = FedLinear(untrained.text)._solve(ahead, depth.block, share)
    assert kept["choose_surprisal"] == pytest.approx(scores.mean(), rel=1e-3)
    assert ours.factors["block"] == depth.block


def test_half_of_the_rows_are_trained_on_as_well(text, tmp_path, monkeypatch):
    readings = TextReadings(
        text.checkpoint, text.engine, text.corpus, text.plan, lambda: text.survey, Store(tmp_path)
    )
    seen = {}

    def spied(start, fit, choose, *more, **options):
        seen[len(seen)] = fit[0], len(fit[1]), len(more[0])
        return start

    monkeypatch.setattr(module, "train_on_kl", spied)
    block = text.depths[1].block
    for share in (1.0, 0.5):
        FedLinear(readings)._fit(1, block, share)
    wanted = told(text, "fit", block, 1)
    for call, rows in enumerate((600, 300)):
        inputs, finals, targets = seen[call]
        assert np.allclose(inputs, wanted[:rows], atol=1e-6)
        assert (finals, targets) == (rows, rows)


def test_the_chosen_depth_is_the_least_surprised(untrained, text):
    readers = FedLinear(untrained.text)
    surprisal = {d.block: readers._solve(1, d.block)["choose_surprisal"] for d in text.depths}
    best = min(surprisal, key=surprisal.__getitem__)
    assert untrained.fair_linear(1).factors["block"] == best


def test_only_the_map_of_the_chosen_depth_is_trained(text, tmp_path, monkeypatch):
    readings = TextReadings(
        text.checkpoint, text.engine, text.corpus, text.plan, lambda: text.survey, Store(tmp_path)
    )
    trained = []

    def spied(start, *_, **__):
        trained.append(start)
        return start

    monkeypatch.setattr(module, "train_on_kl", spied)
    readers = FedLinear(readings)
    depth = readers.chosen_depth(2)
    assert trained == []
    readers.guesses(2, depth)
    (start,) = trained
    assert np.array_equal(start.weights, readers._solve(2, depth.block)["weights"])


def test_training_is_kept_where_it_helps(untrained, text, tmp_path, surprisals):
    readings = TextReadings(
        text.checkpoint, text.engine, text.corpus, text.plan, lambda: text.survey, Store(tmp_path)
    )
    own = -surprisals(np.array(text.survey.final_states("choose", 1)), normed=True)
    divergence = {}
    for depth in text.depths:
        choose = told(text, "choose", depth.block, 1)
        for name, of in (("ridge", untrained.text), ("kept", readings)):
            with pytest.MonkeyPatch.context() as patch:
                if name == "kept":
                    patch.setattr(module, "train_on_kl", train_on_kl)
                kept = FedLinear(of)._fit(1, depth.block)
            predicted = ((choose - kept["mean"]) @ kept["weights"] + kept["offset"]).astype("f4")
            gap = surprisals(predicted, normed=True) + own
            divergence[name] = float((np.exp(own) * gap).sum(1).mean())
        assert kept["weights"].shape == (2 * WIDTH, WIDTH)
        assert (divergence["kept"] < divergence["ridge"]) == bool(kept["trained"])


def test_a_population_keeps_its_rows(untrained, text, monkeypatch):
    rows = untrained.text.rows("judge")
    following = rows.following.copy()
    following[::4, 0] = rows.targets[::4, 0]
    whole = untrained.fair_linear(1, text.depths[1])
    monkeypatch.setitem(vars(rows), "following", following)
    kept = untrained.fair_linear(1, text.depths[1], population="next-right")
    assert kept.examples.tolist() == rows.examples[rows.next_is_right].tolist()
    assert np.array_equal(kept.scores, whole.scores[rows.next_is_right])


def test_sums_do_not_depend_on_the_parts(text):
    rng = np.random.default_rng(0)
    x = (rng.normal(size=(300, 5)) + 100).astype(np.float32)
    y = rng.normal(size=(300, 3)).astype(np.float32)
    sums = moments_of([(x[:120], y[:120]), (x[120:], y[120:])], block=2, ahead=1)
    assert sums.n == 300
    centred_x, centred_y = x - x.mean(0, dtype=np.float64), y - y.mean(0, dtype=np.float64)
    expected = centred_x.T @ centred_y / 300
    assert np.abs(sums.centred_cross(2, 1) - expected).max() < 1e-5
