"""The engine on GPUs: on a real one where there is one, and as far as that can be pretended.

Pretended ones show that nothing meets on two devices, and give exactly what the CPU gives. A real
one has kernels of its own, so that its numbers are the CPU's up to rounding.
"""

from __future__ import annotations

import contextlib

import pytest
import torch
from accelerate import dispatch_model

from stillwired.engine.attention_weights import attention_weights
from stillwired.engine.cone import Cone
from stillwired.engine.edits import Edit
from stillwired.engine.engine import Engine
from stillwired.engine.sites import embedding, final, head, logits, residual
from tests.engine.pretend import FIRST, SECOND, Pretended, device_of, put, spread
from tests.engine.tiny import LAYERS, WIDTH, Tiny, TinyRegime, prompts, tiny

REAL = torch.cuda.is_available()
SITES = [embedding(), residual(0), residual(LAYERS - 1), final(), logits()]
FAMILIES = ["gpt2", "gptj", "gpt_neox", "opt", "bloom", "falcon", "llama", "gemma3", "mamba2"]
"""Families that differ in what stands around their blocks; experts run other kernels on a GPU."""


def placed(family, how):
    """A tiny model on the real device, on one pretended device or on two."""
    made = tiny(family)
    if how == "real":
        made.model.to(FIRST)
    elif how == "one":
        put(made.model, FIRST)
    else:
        spread(made.model, made.anatomy.within(0, ""))
    regime = TinyRegime(device=FIRST, attention=made.regime.attention)
    return Tiny(made.name, made.model, made.tokenizer, made.anatomy, regime)


@pytest.fixture(
    params=[
        "one",
        "two",
        pytest.param("real", marks=pytest.mark.skipif(not REAL, reason="no CUDA device here")),
    ]
)
def how(request):
    """Where the model lies, with the pretence that this takes."""
    with contextlib.nullcontext() if request.param == "real" else Pretended():
        yield request.param


def alike(ours, theirs, how):
    """Whether a tensor on a device, or brought from there, is that of the CPU."""
    if how == "real":
        return torch.allclose(ours.cpu(), theirs, rtol=1e-4, atol=1e-5)
    return torch.equal(ours.cpu(), theirs)


@pytest.fixture
def pretended():
    with Pretended():
        yield


@pytest.mark.usefixtures("pretended")
def test_what_is_pretended_does_not_mix():
    ones = torch.ones(2)
    there = ones.to(FIRST)
    assert device_of(there) == torch.device(FIRST) == there.device
    assert there.is_cuda
    assert (there + torch.tensor(1.0)).device == there.device
    assert there[torch.tensor([0])].device == there.device
    for wrong in (lambda: ones + there, lambda: there.to(SECOND) @ there):
        with pytest.raises(RuntimeError, match="at least two"):
            wrong()
    with pytest.raises(TypeError, match="to numpy"):
        there.numpy()
    assert there.cpu().numpy().tolist() == [1.0, 1.0]


@pytest.mark.parametrize("family", FAMILIES)
def test_readings_are_those_of_the_cpu_and_lie_on_one_device(family, how):
    given = prompts(7, 9, 7)
    here, there = Engine(tiny(family)), Engine(placed(family, how))
    for ours, theirs in zip(there.self_check, here.self_check, strict=True):
        off = 1e-5 if how == "real" else 0
        assert ours.max_difference == pytest.approx(theirs.max_difference, rel=0, abs=off)
    for ours, theirs in zip(there.read(given, SITES), here.read(given, SITES), strict=True):
        assert len({ours[site].device for site in SITES}) == 1
        for site in SITES:
            assert ours[site].device.type == "cuda"
            assert alike(ours[site], theirs[site], how)


@pytest.mark.parametrize("family", ["gpt2", "bloom", "falcon_alibi", "llama", "gemma3"])
def test_sweeps_and_their_gradients_are_those_of_the_cpu(family, how):
    prompt = prompts(9)[0]
    given = [prompt] * 6
    sites = [residual(LAYERS - 1, -1), logits(-1)]

    def sweep(engine, value):
        value = value.clone().requires_grad_()
        edits = [
            *(Edit(head(layer, 0, -1), "scale", 0.5, [layer]) for layer in range(LAYERS)),
            Edit(residual(0, -1), "add", value, [3, 4, 5]),
        ]
        plan = Cone(engine).plan(given, edits, sites)
        assert plan.reason is None
        (reading,) = plan.run(grad=True)
        reading[logits(-1)].softmax(-1)[:, 3].sum().backward()
        return [reading[site].detach().cpu() for site in sites], value.grad.cpu()

    value = torch.linspace(-1, 1, WIDTH)
    ours, theirs = (sweep(Engine(made), value) for made in (placed(family, how), tiny(family)))
    assert all(alike(a, b, how) for a, b in zip(ours[0], theirs[0], strict=True))
    assert alike(ours[1], theirs[1], how)


def test_attention_weights_are_those_of_the_cpu(how):
    given = prompts(7)
    ours, theirs = (
        next(attention_weights(Engine(made), given, range(LAYERS)))
        for made in (placed("llama", how), tiny("llama"))
    )
    assert len({ours[layer].device for layer in range(LAYERS)}) == 1
    assert all(alike(ours[layer], theirs[layer], how) for layer in range(LAYERS))


def test_padded_prompts_and_edits_of_whole_prompts_are_those_of_the_cpu(how):
    given = prompts(5, 9)
    edits = [Edit(residual(1), "add", torch.ones(2, WIDTH)), Edit(residual(2), "scale", 0.5, [1])]
    ours, theirs = (
        next(Engine(made).edit(given, edits, SITES, pad=True))
        for made in (placed("llama", how), tiny("llama"))
    )
    assert all(alike(ours[site], theirs[site], how) for site in SITES)


def test_unembedding_goes_where_the_weights_are(how):
    engine, plain = Engine(placed("llama", how)), Engine(tiny("llama"))
    states = torch.linspace(-1, 1, 2 * WIDTH).view(2, WIDTH)
    for of in (
        lambda e: e.unembed(e.final_norm(states)),
        lambda e: e.unembedding_of(torch.tensor([3, 5]))(states),
    ):
        assert alike(of(engine), of(plain), how)


def test_accelerates_own_hooks_change_nothing():
    # What is real here is accelerate, under nnsight and the cone; there is but one device.
    made = tiny("llama")
    dispatch_model(made.model, {"": "cpu"}, force_hooks=True)
    assert hasattr(made.model.get_submodule(made.anatomy.within(1, "")), "_hf_hook")
    engine, plain = Engine(made), Engine(tiny("llama"))
    given = prompts(9, 9)
    edits = [Edit(residual(0, -1), "add", torch.ones(WIDTH), [1])]
    for run in (Engine.edit, lambda e, *call: Cone(e).plan(*call).run()):
        (ours,), (theirs,) = (run(e, given, edits, [logits(-1)]) for e in (engine, plain))
        assert torch.equal(ours[logits(-1)], theirs[logits(-1)])
