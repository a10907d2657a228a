"""Linear maps recover what was planted, and nothing where nothing was."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from stillwired.instruments.linear_map import LinearMap, Training, solve_ridge, train_on_kl
from stillwired.instruments.moments import Moments, Whitened
from stillwired.instruments.vocabulary_map import VocabularyMap

WIDTH = 12


@pytest.fixture
def planted():
    """States of very unequal scale, and final states that are affine in them up to noise."""
    rng = np.random.default_rng(0)
    scale = 10.0 ** rng.uniform(-1, 3, WIDTH)
    x = (rng.normal(size=(4_000, WIDTH)) * scale + 5 * scale).astype(np.float32)
    truth = rng.normal(size=(WIDTH, WIDTH)) / scale[:, None]
    y = (x @ truth + 3 + 0.01 * rng.normal(size=(4_000, WIDTH))).astype(np.float32)
    return x, y, truth


def fitted(x, y):
    moments = Moments((7,), (0,))
    moments.add([torch.from_numpy(x)], [torch.from_numpy(y)])
    return moments, Whitened.of(moments, 7)


def test_ridge_recovers_a_planted_map(planted):
    x, y, truth = planted
    moments, whitened = fitted(x[:3000], y[:3000])
    found = solve_ridge(moments, whitened, 7, 0, (x[3000:], y[3000:]))
    scale = x.std(0)
    assert np.abs((found.weights - truth) * scale[:, None]).max() < 0.01
    assert np.abs(found.predict(x[3000:]) - y[3000:]).std() < 0.02


def test_ridge_equals_least_squares_on_the_stacked_system(planted):
    x, y, _ = planted
    moments, whitened = fitted(x, y)
    ridge = 0.5
    cross = moments.centred_cross(7, 0)
    centred = (x - x.mean(0)) / x.std(0)
    stacked = np.vstack([centred, np.sqrt(ridge * len(x)) * np.eye(WIDTH)])
    targets = np.vstack([y - y.mean(0), np.zeros((WIDTH, WIDTH))])
    plain = np.linalg.lstsq(stacked.astype(np.float64), targets.astype(np.float64), rcond=None)[0]
    ours = whitened.solve(cross, ridge) * x.std(0)[:, None]
    assert np.abs(ours - plain).max() < 1e-3


def test_ridge_is_stronger_where_there_is_only_noise():
    rng = np.random.default_rng(1)
    x = rng.normal(size=(60, WIDTH)).astype(np.float32)
    y = rng.normal(size=(60, WIDTH)).astype(np.float32)
    moments, whitened = fitted(x[:30], y[:30])
    assert solve_ridge(moments, whitened, 7, 0, (x[30:], y[30:])).ridge == 1.0


def test_moments_survive_the_disk(planted, tmp_path):
    x, y, _ = planted
    moments, _ = fitted(x, y)
    moments.save(tmp_path / "moments.npz")
    loaded = Moments.load(tmp_path / "moments.npz")
    assert loaded.blocks == (7,)
    assert loaded.n == len(x)
    assert np.array_equal(loaded.cross, moments.cross)


def vocabulary_task(rng, rows, noise):
    """States that say which of 5 tokens (out of 40) comes, more or less clearly."""
    names = np.array([3, 8, 9, 21, 39])
    classes = rng.integers(0, 5, rows)
    centres = np.random.default_rng(9).normal(size=(5, WIDTH)) * 4
    return (centres[classes] + noise * rng.normal(size=(rows, WIDTH))).astype(np.float32), names[
        classes
    ]


def test_vocabulary_map_guesses_planted_tokens_and_only_seen_ones():
    rng = np.random.default_rng(2)
    x, tokens = vocabulary_task(rng, 2_000, 1.0)
    asked, wanted = vocabulary_task(rng, 500, 1.0)
    _, whitened = fitted(x, x)
    guesses = VocabularyMap(whitened, x, tokens).guess(asked, 1e-2)
    assert np.mean(guesses == wanted) > 0.97
    assert set(guesses) <= set(tokens)


def test_vocabulary_map_equals_dense_one_hot_ridge():
    rng = np.random.default_rng(3)
    x, tokens = vocabulary_task(rng, 800, 6.0)
    asked, _ = vocabulary_task(rng, 400, 6.0)
    _, whitened = fitted(x, x)
    one_hot = np.eye(40)[tokens]
    centred = (x - x.mean(0)) / x.std(0)
    gram = centred.T @ centred / len(x) + 0.1 * np.eye(WIDTH)
    weights = np.linalg.solve(gram, centred.T @ (one_hot - one_hot.mean(0)) / len(x))
    dense = ((asked - x.mean(0)) / x.std(0)) @ weights + one_hot.mean(0)
    seen = np.unique(tokens)
    plain = seen[dense[:, seen].argmax(1)]
    assert np.mean(VocabularyMap(whitened, x, tokens).guess(asked, 0.1) == plain) > 0.995


def test_vocabulary_map_is_blind_where_states_say_nothing():
    rng = np.random.default_rng(4)
    x = rng.normal(size=(2_000, WIDTH)).astype(np.float32)
    tokens = rng.integers(0, 5, 2_000)
    _, whitened = fitted(x, x)
    asked, wanted = rng.normal(size=(1_000, WIDTH)).astype(np.float32), rng.integers(0, 5, 1_000)
    assert abs(np.mean(VocabularyMap(whitened, x, tokens).guess(asked, 0.1) == wanted) - 0.2) < 0.05


def plain_unembedding(weight):
    return lambda tokens: lambda states: states @ weight[tokens].T


@pytest.fixture
def teacher():
    """Final states whose many small directions do not matter to what is said."""
    rng = np.random.default_rng(5)
    unembedding = torch.from_numpy(rng.normal(size=(30, WIDTH)).astype(np.float32))
    unembedding[:, 3:] = 0
    x = rng.normal(size=(3_000, WIDTH)).astype(np.float32)
    y = np.tanh(x @ rng.normal(size=(WIDTH, WIDTH))).astype(np.float32) * 3
    said = (torch.from_numpy(y) @ unembedding.T).argmax(-1).numpy()
    return x, y, said, unembedding


def kl(found, x, y, unembedding):
    wanted = torch.softmax(torch.from_numpy(y) @ unembedding.T, -1)
    given = torch.log_softmax(torch.from_numpy(found.predict(x)) @ unembedding.T, -1)
    return float((wanted * (wanted.log() - given)).sum(-1).mean())


def train(start, teacher, recipe, seed=0):
    x, y, said, unembedding = teacher
    return train_on_kl(
        start,
        (x[:2000], y[:2000]),
        (x[2000:2500], y[2000:2500]),
        said[:2000],
        plain_unembedding(unembedding),
        recipe,
        seed,
    )


def ridge_start(teacher):
    x, y, _, _ = teacher
    moments, whitened = fitted(x[:2000], y[:2000])
    return solve_ridge(moments, whitened, 7, 0, (x[2000:2500], y[2000:2500]))


def test_training_lowers_the_divergence_on_rows_it_never_saw(teacher):
    start = ridge_start(teacher)
    better = train(start, teacher, Training(rows=2_000, epochs=8, batch=100))
    x, y, _, unembedding = teacher
    assert better.trained
    assert kl(better, x[2500:], y[2500:], unembedding) < kl(start, x[2500:], y[2500:], unembedding)


def test_training_that_does_harm_is_not_kept(teacher):
    start = ridge_start(teacher)
    assert train(start, teacher, Training(rows=2_000, rate=1e4)) is start


def test_training_is_reproducible(teacher):
    start = ridge_start(teacher)
    recipe = Training(rows=1_000, epochs=1)
    once, again = train(start, teacher, recipe), train(start, teacher, recipe)
    other = train(start, teacher, recipe, seed=1)
    assert np.array_equal(once.weights, again.weights)
    assert not np.array_equal(once.weights, other.weights)


def test_predicting_is_affine():
    found = LinearMap(
        mean=np.full(2, 1.0, np.float32),
        weights=np.array([[2.0, 0.0], [0.0, 3.0]], np.float32),
        offset=np.array([10.0, 20.0], np.float32),
        ridge=0.1,
    )
    assert found.predict(np.array([[1.0, 2.0]], np.float32)).tolist() == [[10.0, 23.0]]
