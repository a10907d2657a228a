"""Decoding a vector and rebuilding it from what it decodes to, on tiny models of some families."""

from __future__ import annotations

import math

import pytest
import torch
from torch.nn.functional import cosine_similarity, layer_norm

from stillwired.engine.engine import Engine
from stillwired.errors import UsageError
from stillwired.instruments.vocabulary_decoding import decoded, rebuilt
from tests.engine.tiny import VOCABULARY, WIDTH, tiny

# A norm with a bias and a tied unembedding; an unembedding with a bias; no norm bias; two caps.
FAMILIES = ("gpt2", "gptj", "llama", "gemma2", "gemma3")


@pytest.fixture(scope="module")
def engines():
    return {family: Engine(tiny(family)) for family in FAMILIES}


@pytest.fixture(params=FAMILIES)
def engine(request, engines):
    return engines[request.param]


def made(seed=0, length=3.0):
    vector = torch.randn(WIDTH, generator=torch.Generator().manual_seed(100 + seed))
    return vector / vector.norm() * length


def logits_by_hand(engine, vector):
    """Norm, unembedding and cap, written out for each family."""
    model, name = engine.checkpoint.model, engine.checkpoint.name
    if name in ("gpt2", "gptj"):
        norm = model.transformer.ln_f
        normed = layer_norm(vector, (WIDTH,), norm.weight, norm.bias, norm.eps)
        bias = model.lm_head.bias if name == "gptj" else 0.0
        return normed @ model.lm_head.weight.T + bias
    norm = model.model.norm
    eps = norm.eps if name.startswith("gemma") else norm.variance_epsilon
    weight = 1.0 + norm.weight if name.startswith("gemma") else norm.weight
    normed = vector / (vector.square().mean() + eps).sqrt() * weight
    logits = normed @ model.lm_head.weight.T
    return 2.0 * torch.tanh(logits / 2.0) if name.startswith("gemma") else logits


def over(engine, vector, tokens):
    return logits_by_hand(engine, vector)[tokens].log_softmax(-1)


# Decoding


def test_families_differ_as_they_should(engines):
    assert engines["gpt2"].checkpoint.model.transformer.ln_f.bias.abs().max() > 0.1
    assert engines["gptj"].checkpoint.model.lm_head.bias.abs().max() > 0.1
    assert [engines[family].anatomy.softcap for family in FAMILIES] == [None, None, None, 2.0, 2.0]


def test_a_vector_decodes_through_the_models_own_modules(engine):
    vector = made()
    tokens, probabilities = decoded(engine, vector, 10)
    expected = logits_by_hand(engine, vector).softmax(-1)
    order = sorted(range(VOCABULARY), key=lambda token: -float(expected[token]))
    assert tokens.tolist() == order[:10]
    assert torch.allclose(probabilities, expected[tokens], atol=1e-6)
    everything, all_of_it = decoded(engine, vector, VOCABULARY)
    assert sorted(everything.tolist()) == list(range(VOCABULARY))
    assert float(all_of_it.sum()) == pytest.approx(1.0, abs=1e-5)


def test_of_equal_tokens_the_smaller_id_comes_first():
    checkpoint = tiny("llama")
    with torch.no_grad():
        checkpoint.model.lm_head.weight.copy_(checkpoint.model.lm_head.weight[:1].clone())
    tokens, probabilities = decoded(Engine(checkpoint), made(), 7)
    assert tokens.tolist() == list(range(7))
    assert torch.allclose(probabilities, torch.tensor(1 / VOCABULARY))


def test_what_is_no_vector_is_refused(engines):
    engine = engines["llama"]
    for call in (decoded, rebuilt):
        with pytest.raises(UsageError, match=r"shape \(2, 32\).*\(32,\)"):
            call(engine, torch.ones(2, WIDTH))
        with pytest.raises(UsageError, match="not finite"):
            call(engine, made() / 0)
        for count in (0, VOCABULARY + 1):
            with pytest.raises(UsageError, match=f"{count} tokens.*has {VOCABULARY}"):
                call(engine, made(), count)
    with pytest.raises(UsageError, match="vector is zero"):
        rebuilt(engine, torch.zeros(WIDTH), 10)
    with pytest.raises(UsageError, match=r"among='words'.*tokens, vocabulary"):
        rebuilt(engine, made(), 10, among="words")


# Gradients of the final norm


def test_gradients_of_the_norm_are_those_of_the_formula(engine):
    ours, theirs = (made().requires_grad_() for _ in range(2))
    tokens = torch.tensor([3, 50, 7])
    read = engine.unembedding_of(tokens)
    normed = engine.final_norm(ours, grad=True)
    (found,) = torch.autograd.grad(read(normed).log_softmax(-1)[1], ours)
    (expected,) = torch.autograd.grad(over(engine, theirs, tokens)[1], theirs)
    assert float(expected.norm()) > 1e-3
    assert torch.allclose(found, expected, atol=1e-6)
    assert torch.equal(normed.detach(), engine.final_norm(ours))
    assert not engine.final_norm(ours).requires_grad


# Rebuilding


@pytest.mark.parametrize("among", ["tokens", "vocabulary"])
def test_a_rebuilt_vector_decodes_alike_and_is_another(engine, among):
    vector = made()
    tokens, probabilities = decoded(engine, vector, 10)
    found = rebuilt(engine, vector, 10, steps=400, among=among)
    wanted = probabilities / probabilities.sum()
    with torch.no_grad():
        given = over(engine, found.vector, tokens)
        left = float((wanted * (wanted.log() - given)).sum())
        random = over(engine, made(seed=1), tokens)
        unfitted = float((wanted * (wanted.log() - random)).sum())
        share = float(logits_by_hand(engine, found.vector).softmax(-1)[tokens].sum())
    assert found.divergence == pytest.approx(left, abs=1e-5)
    assert found.divergence < 0.02 < 0.1 < unfitted
    assert found.share == pytest.approx(share, abs=1e-5)
    assert float(found.vector.norm()) == pytest.approx(3.0, rel=1e-5)
    # Ten tokens leave most of 32 directions open.
    assert float(cosine_similarity(found.vector, vector, dim=0)) < 0.9


def test_the_whole_vocabulary_draws_probability_to_the_tokens(engines):
    vector = made()
    narrow, whole = (
        rebuilt(engines["llama"], vector, 10, steps=300, among=among)
        for among in ("tokens", "vocabulary")
    )
    own = float(decoded(engines["llama"], vector, 10)[1].sum())
    # Over the tokens alone the two agree, and other tokens are likelier than all of them.
    assert narrow.divergence < 0.02
    assert narrow.share < own < whole.share


def test_more_tokens_than_directions_pin_the_vector_down(engines):
    vector = made()
    found = rebuilt(engines["llama"], vector, VOCABULARY, steps=1000)
    assert 0.0 <= found.divergence < 1e-3
    assert found.share == pytest.approx(1.0, abs=1e-6)
    assert float(cosine_similarity(found.vector, vector, dim=0)) > 0.99


def test_the_seed_decides(engines):
    engine, vector = engines["gemma3"], made()
    once, again, other = (
        rebuilt(engine, vector, 10, steps=50, seed=seed).vector for seed in (0, 0, 1)
    )
    assert torch.equal(once, again)
    assert float(cosine_similarity(once, other, dim=0)) < 0.9


def test_steps_are_those_of_adam_from_a_random_start(engines):
    engine, vector = engines["gpt2"], made()
    tokens, probabilities = decoded(engine, vector, 10)
    wanted = probabilities / probabilities.sum()
    own = torch.randn(WIDTH, generator=torch.Generator().manual_seed(5)).requires_grad_()
    optimiser = torch.optim.Adam([own], lr=0.5)
    for _ in range(5):
        optimiser.zero_grad()
        (-(wanted * over(engine, own, tokens)).sum()).backward()
        optimiser.step()
    expected = own.detach() / own.detach().norm() * 3.0
    found = rebuilt(engine, vector, 10, steps=5, seed=5).vector
    assert torch.allclose(found, expected, atol=1e-4)


def test_nothing_is_left_behind(engines):
    engine = engines["llama"]
    model = engine.checkpoint.model
    vector = made().requires_grad_()
    model.requires_grad_(True)
    try:
        with torch.no_grad():
            found = rebuilt(engine, vector, 10, steps=3)
        assert all(parameter.grad is None for parameter in model.parameters())
    finally:
        model.requires_grad_(False)
    assert vector.grad is None
    assert not found.vector.requires_grad
    assert math.isfinite(found.divergence)


def test_a_vector_of_another_precision_and_no_steps(engines):
    vector = made().double()
    found = rebuilt(engines["llama"], vector, 10, steps=0)
    start = torch.randn(WIDTH, generator=torch.Generator().manual_seed(0))
    assert found.vector.dtype == torch.float32
    assert torch.allclose(found.vector, start / start.norm() * 3.0, atol=1e-6)
