"""A mixer's parts are those of the papers: the recurrences, written out token by token."""

from __future__ import annotations

import pytest
import torch
from torch.nn.functional import silu, softplus

from stillwired.engine.sites import convolution, gate, gated, residual, state
from tests.engine.tiny import prompts, tiny_model


def only(readings):
    (reading,) = readings
    return reading


@pytest.mark.parametrize(
    ("family", "path", "layer"),
    [("mamba", "backbone.layers.1.mixer", 1), ("jamba", "model.layers.2.mamba", 2)],
)
def test_convolution_and_gate_make_the_gated_state_as_in_mamba(engine_of, family, path, layer):
    """Algorithm 2 of Gu and Dao: h = exp(delta A) h + delta B x, y = C h + D x, y * silu(z)."""
    sites = [convolution(layer), gate(layer), gated(layer)]
    reading = only(engine_of(family).read(prompts(9), sites))
    x, z = reading[convolution(layer)][0], reading[gate(layer)][0]
    mixer = tiny_model(family).get_submodule(path)
    rank = mixer.time_step_rank
    step, B, C = mixer.x_proj(x).split([rank, 4, 4], dim=-1)
    if family == "jamba":
        step, B, C = mixer.dt_layernorm(step), mixer.b_layernorm(B), mixer.c_layernorm(C)
    delta, A = softplus(mixer.dt_proj(step)), -mixer.A_log.exp()
    h = torch.zeros(64, 4)
    for t in range(9):
        h = (delta[t, :, None] * A).exp() * h + delta[t, :, None] * B[t] * x[t, :, None]
        y = h @ C[t] + mixer.D * x[t]
        torch.testing.assert_close(
            reading[gated(layer)][0, t], y * silu(z[t]), atol=1e-5, rtol=1e-4
        )


def test_the_state_is_that_of_mamba_2_before_its_gate(engine_of):
    """Equation 1 of Dao and Gu with one decay a head, from the block's input on."""
    sites = [residual(0), gate(1), state(1), gated(1)]
    reading = only(engine_of("mamba2").read(prompts(9), sites))
    block = tiny_model("mamba2").backbone.layers[1]
    mixer = block.mixer
    projected = mixer.in_proj(block.norm(reading[residual(0)]))
    z, xBC, step = projected.split([64, 64 + 2 * 2 * 4, 8], dim=-1)
    assert torch.equal(z, reading[gate(1)])
    convolved = torch.zeros_like(xBC[0])
    for t in range(9):
        for back in range(min(t + 1, 4)):
            convolved[t] += mixer.conv1d.weight[:, 0, 3 - back] * xBC[0, t - back]
    x, B, C = silu(convolved + mixer.conv1d.bias).split([64, 8, 8], dim=-1)
    delta, decay = softplus(step[0] + mixer.dt_bias), -mixer.A_log.exp()
    h = torch.zeros(8, 8, 4)
    for t in range(9):
        heads = x[t].view(8, 8)
        # Four heads share a group's B and C.
        b, c = (part[t].view(2, 1, 4).expand(2, 4, 4).reshape(8, 1, 4) for part in (B, C))
        h = (delta[t] * decay).exp()[:, None, None] * h
        h = h + (delta[t, :, None] * heads)[..., None] * b
        y = (h * c).sum(dim=-1) + mixer.D[:, None] * heads
        torch.testing.assert_close(reading[state(1)][0, t], y.flatten(), atol=1e-5, rtol=1e-4)
    grouped = (reading[state(1)] * silu(z)).view(1, 9, 2, 32)
    normed = grouped * torch.rsqrt(grouped.pow(2).mean(dim=-1, keepdim=True) + 1e-5)
    torch.testing.assert_close(
        reading[gated(1)], normed.flatten(2) * mixer.norm.weight, atol=1e-5, rtol=1e-4
    )
