"""Cone execution against the full forward, on every family."""

from __future__ import annotations

import gc
import weakref
from dataclasses import replace
from types import SimpleNamespace

import pytest
import torch
from torch import Tensor

from stillwired.checkpoints.regime import suit_experts
from stillwired.engine import pack_walk
from stillwired.engine.cone import TOLERANCES, Cone, fitting_cells
from stillwired.engine.edits import Edit
from stillwired.engine.engine import Engine
from stillwired.engine.sites import (
    Site,
    attention,
    embedding,
    final,
    head,
    logits,
    mlp,
    residual,
)
from stillwired.errors import EngineError, MismatchError
from tests.engine.tiny import HEADS, LAYERS, VOCABULARY, WIDTH, TinyRegime, prompts

LENGTH = 9
CLOSE = 1e-5
"""Relative to a state's length, or to that of all probabilities."""
READ = [logits(-1), final(-2), residual(1, -1), attention(1, -2), mlp(0, -3), head(2, 0, -1)]


def values(seed: int = 3):
    generator = torch.Generator().manual_seed(seed)
    return lambda *shape: torch.randn(*shape, generator=generator)


def rows_of(readings, sites) -> dict[int, dict[Site, Tensor]]:
    return {
        row: {site: reading[site][index] for site in sites}
        for reading in readings
        for index, row in enumerate(reading.rows)
    }


def furthest(cone, tokens, edits, sites) -> float:
    """Run a sweep both ways; return the largest difference of a probability or a state."""
    plan = cone.plan(tokens, edits, sites)
    assert plan.reason is None, plan.reason
    ours = rows_of(plan.run(), sites)
    full = rows_of(cone.engine.edit(tokens, edits, sites), sites)
    assert set(ours) == set(full) == set(range(len(tokens)))
    worst = 0.0
    for row, expected in full.items():
        for site, state in expected.items():
            found = ours[row][site]
            if site.component == "logits":
                found, state = found.softmax(-1), state.softmax(-1)
            worst = max(worst, float((found - state).norm() / state.norm()))
    return worst


@pytest.fixture
def cone_of(engine_of):
    """Cones of tiny models; families that only allow the full forward are left out."""

    def build(family: str, **options: object) -> Cone:
        engine = engine_of(family)
        if engine.anatomy.family.cone is not None:
            pytest.skip(f"full forward only: {engine.anatomy.family.cone}")
        return Cone(engine, **options)  # type: ignore[arg-type]

    return build


def sweep(cone: Cone, positions=(-1, -3, -LENGTH)) -> tuple[list[list[int]], list[Edit]]:
    """One prompt, edited at one site for each row: every component, layer and some positions."""
    value, anatomy = values(), cone.engine.anatomy
    sites: list[Site] = []
    for position in positions:
        sites.append(embedding(position))
        for layer in range(LAYERS):
            sites += [attention(layer, position), mlp(layer, position), residual(layer, position)]
            sites += [head(layer, which, position) for which in range(HEADS)]
    edits = [
        Edit(
            site,
            ("replace", "add", "scale")[row % 3],
            value(WIDTH if site.head is None else anatomy.head_dim),
            rows=[row],
        )
        for row, site in enumerate(sites)
    ]
    return [prompts(LENGTH)[0]] * len(sites), edits


def test_a_sweep_over_every_site_equals_the_full_forward(cone_of, family):
    cone = cone_of(family)
    tokens, edits = sweep(cone)
    assert furthest(cone, tokens, edits, READ) < CLOSE
    assert cone.checked == 1
    assert cone.worst < 1e-5


def test_several_positions_and_prompts_at_once_equal_the_full_forward(cone_of, family):
    """Two trunks in one pack, rows with several edits each, and edits of whole prompts."""
    cone, value = cone_of(family), values()
    tokens = [prompts(LENGTH)[0]] * 4 + [prompts(6, seed=2)[0]] * 4 + prompts(7, seed=5)
    edits = [
        Edit(residual(0, -2), "add", value(WIDTH), rows=[0, 5]),
        Edit(head(1, 1, -4), "replace", value(2, cone.engine.anatomy.head_dim), rows=[0, 1]),
        Edit(mlp(1, -1), "scale", value(WIDTH), rows=[0, 2, 6]),
        Edit(residual(1), "scale", 1.5, rows=[3, 7]),
        Edit(attention(0, -5), "add", value(2, WIDTH), rows=[4, 6]),
        Edit(residual(0, -2), "scale", -1.0, rows=[5]),
        Edit(final(-2), "add", value(WIDTH), rows=[1, 8]),
        Edit(final(-1), "scale", value(WIDTH), rows=[1]),
    ]
    assert furthest(cone, tokens, edits, READ) < CLOSE


def learned(cone: Cone, examples: int = 6, ahead: int = 2):
    """A trained prompt of five vectors in front of own tokens, a state handed in at its end."""
    value, length = values(), 5
    vectors = (0.5 * value(length, WIDTH)).requires_grad_()
    states = value(examples, WIDTH)
    tokens = [[7] * length + fed for fed in prompts(*[ahead] * examples, seed=4)]
    edits = [Edit(embedding(k - length - ahead), "replace", vectors[k]) for k in range(length)] + [
        Edit(residual(1, -ahead - 1), "replace", states)
    ]
    return vectors, tokens, edits


def fed_alike(cone: Cone, distinct: bool = False):
    """States in the middle of a shared prompt, then three tokens in which rows are often alike."""
    value, head = values(), prompts(5, seed=6)[0]
    tails = [[1, 2, 3], [1, 2, 3], [1, 2, 4], [1, 5, 3], [6, 2, 3], [1, 2, 3], [6, 2, 3]]
    if distinct:
        tails = [[10 + row, 2, 3] for row in range(len(tails))]
    tokens = [head + tail for tail in tails]
    edits = [
        Edit(residual(LAYERS - 2, -4), "replace", value(5, WIDTH), rows=[0, 1, 2, 3, 4]),
        # The last two meet theirs elsewhere: one below the others, one never.
        Edit(residual(0, -4), "add", value(WIDTH), rows=[5]),
    ]
    return tokens, edits


def test_rows_that_go_on_alike_equal_the_full_forward(cone_of, family):
    cone = cone_of(family)
    tokens, edits = fed_alike(cone)
    sites = [*READ, residual(0, -1), logits(-3), final(-1)]
    assert furthest(cone, tokens, edits, sites) < CLOSE
    apart = cone.plan(*fed_alike(cone, distinct=True), sites)
    assert cone.plan(tokens, edits, sites).cells < apart.cells


def test_gradients_of_a_trained_prompt_equal_those_of_the_full_forward(cone_of, family):
    cone = cone_of(family)
    gradients, losses = [], []
    for way in ("cone", "full"):
        vectors, tokens, edits = learned(cone)
        sites = [logits(-1), logits(-2)]
        plan = cone.plan(tokens, edits, sites)
        assert plan.reason is None
        run = plan if way == "cone" else replace(plan, packs=(), reason="asked for")
        loss = torch.zeros(())
        for reading in run.run(grad=True):
            for site in sites:
                wanted = torch.tensor(reading.rows) % VOCABULARY
                loss = loss + torch.nn.functional.cross_entropy(
                    reading[site], wanted, reduction="sum"
                )
        loss.backward()
        gradients.append(vectors.grad)
        losses.append(float(loss.detach()))
    assert losses[0] == pytest.approx(losses[1], rel=1e-5)
    assert float(gradients[1].norm()) > 1e-3
    assert float((gradients[0] - gradients[1]).norm() / gradients[1].norm()) < 1e-4


def test_a_trained_prompt_runs_once_for_all_examples(cone_of):
    cone = cone_of("llama")
    _, tokens, edits = learned(cone, examples=6, ahead=2)
    plan = cone.plan(tokens, edits, [logits(-1)])
    (pack,) = plan.packs
    (slot,) = pack.slots
    assert slot.group.trunk == 5
    assert slot.group.shared == tuple(range(5))
    # The prompt once; two tokens of each example everywhere; its end once the state is in.
    assert plan.cells == 5 * LAYERS + 6 * 2 * LAYERS + 6 * (LAYERS - 2)
    assert plan.full_cells == 6 * 7 * LAYERS


ROWS = (4, 5, 3)
"""Rows of three trained prompts: states into block 0, into block 1, and none."""


def several_learned(cone: Cone, only: int | None = None):
    """Three trained prompts in front of rows of their own, or one of them by itself."""
    value, length, ahead = values(), 5, 2
    vectors = (0.5 * value(3, length, WIDTH)).requires_grad_()
    tokens: list[list[int]] = []
    edits: list[Edit] = []
    for which, count in enumerate(ROWS):
        states, fed = value(count, WIDTH), prompts(*[ahead] * count, seed=which)
        if only not in (None, which):
            continue
        rows = range(len(tokens), len(tokens) + count)
        edits += [
            Edit(embedding(k - length - ahead), "replace", vectors[which, k], rows=rows)
            for k in range(length)
        ]
        if which < 2:
            edits.append(Edit(residual(which, -ahead - 1), "replace", states, rows=rows))
        tokens += [[7] * length + of_row for of_row in fed]
    return vectors, tokens, edits


def learn(plan):
    """Add up a loss over all rows; return its value row by row."""
    sites, losses = [logits(-1), logits(-2)], {}
    for reading in plan.run(grad=True):
        found = sum(
            torch.nn.functional.cross_entropy(
                reading[site], torch.full((len(reading.rows),), 3), reduction="none"
            )
            for site in sites
        )
        found.sum().backward()
        losses |= dict(zip(reading.rows, found.tolist(), strict=True))
    return [losses[row] for row in range(len(losses))]


@pytest.mark.parametrize("most", [512, 16])
def test_several_trained_prompts_at_once_equal_each_alone_and_the_full_forward(
    cone_of, family, most
):
    cone = cone_of(family, pack_cells=most)
    read = [logits(-1), logits(-2)]
    vectors, tokens, edits = several_learned(cone)
    plan = cone.plan(tokens, edits, read)
    assert plan.reason is None
    assert (len(plan.packs) == 1) == (most == 512)
    losses = learn(plan)

    whole, tokens, edits = several_learned(cone)
    full = replace(cone.plan(tokens, edits, read), packs=(), reason="asked for")
    assert losses == pytest.approx(learn(full), rel=1e-5)

    apart, cells = [], 0
    for which in range(3):
        alone, tokens, edits = several_learned(cone, which)
        plan_alone = Cone(cone.engine).plan(tokens, edits, read)
        apart += learn(plan_alone)
        cells += plan_alone.cells
        for other in (alone, whole):
            expected = other.grad[which]
            assert float(expected.norm()) > 1e-3
            assert float((vectors.grad[which] - expected).norm() / expected.norm()) < 1e-4
    assert losses == pytest.approx(apart, rel=1e-5)
    # Every trunk once, as alone; a pack that is too small for all of one's rows repeats it.
    assert plan.cells == cells if most == 512 else plan.cells > cells


def test_each_of_several_trained_prompts_runs_once(cone_of):
    cone = cone_of("llama")
    _, tokens, edits = several_learned(cone)
    plan = cone.plan(tokens, edits, [logits(-1)])
    (pack,) = plan.packs
    assert [slot.group.trunk for slot in pack.slots] == [5, 5, 5]
    assert [len(slot.branches) for slot in pack.slots] == list(ROWS)
    trunks = 3 * 5 * LAYERS
    fed = sum(ROWS) * 2 * LAYERS
    ends = ROWS[0] * (LAYERS - 1) + ROWS[1] * (LAYERS - 2)
    assert plan.cells == trunks + fed + ends


def test_readings_without_gradients_hold_no_graph(cone_of):
    cone = cone_of("llama")
    _, tokens, edits = learned(cone)
    (reading,) = cone.plan(tokens, edits, [logits(-1)]).run()
    assert not reading[logits(-1)].requires_grad


@pytest.mark.parametrize("kernel", ["sdpa"])
def test_sdpa_is_exact_too(fresh, engine_of, family, kernel):
    known = engine_of(family).anatomy.family
    if known.cone is not None or kernel not in known.kernels:
        pytest.skip("the family does not run with this kernel")
    cone = Cone(Engine(fresh(family, attention=kernel)))
    tokens, edits = sweep(cone, positions=(-2,))
    assert furthest(cone, tokens, edits, READ) < 5e-6


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float64])
def test_other_precisions_keep_their_own_distance(fresh, engine_of, family, dtype):
    if engine_of(family).anatomy.family.cone is not None:
        pytest.skip("full forward only")
    checkpoint = fresh(family)
    checkpoint.model.to(dtype)
    suit_experts(checkpoint.model)
    regime = replace(checkpoint.regime, dtype=str(dtype).removeprefix("torch."))
    cone = Cone(Engine(replace(checkpoint, regime=regime)))
    tokens, edits = sweep(cone, positions=(-2,))
    assert furthest(cone, tokens, edits, [logits(-1)]) < TOLERANCES[dtype]


def test_without_the_mask_the_difference_would_be_seen(cone_of, monkeypatch):
    """The comparisons above can fail: prompts that see each other differ by far."""
    cone = cone_of("llama")
    tokens, edits = sweep(cone)

    def everything(layout, size, block, window, device):
        return layout.positions[:size, None] >= layout.positions[None, :size]

    monkeypatch.setattr(pack_walk, "may_attend", everything)
    with pytest.raises(MismatchError, match="reads otherwise at"):
        furthest(cone, tokens, edits, [logits(-1)])


@pytest.mark.parametrize("most", [1, 12, 40, 10_000])
def test_the_row_budget_changes_nothing_but_the_packs(cone_of, most):
    cone = cone_of("gemma3", pack_cells=most)
    tokens, edits = sweep(cone, positions=(-1, -2))
    plan = cone.plan(tokens, edits, READ)
    if plan.reason is None:
        assert max(len(pack.tokens) for pack in plan.packs) <= max(most, 2 * LENGTH)
        assert furthest(cone, tokens, edits, READ) < CLOSE
    else:
        assert most == 1  # trunks would run again for every row


def test_a_plan_says_what_it_costs_before_it_runs(cone_of):
    cone = cone_of("llama")
    tokens, edits = sweep(cone, positions=(-1,))
    plan = cone.plan(tokens, edits, [logits(-1)])
    assert plan.full_cells == len(tokens) * LENGTH * LAYERS
    assert f"{plan.cells} cells (full forward: {plan.full_cells})" in str(plan)
    calls: list[int] = []
    for layer in cone.engine.checkpoint.model.model.layers:
        layer.self_attn.register_forward_hook(
            lambda module, args, out: calls.append(out[0].shape[1])
        )
    seen: list[tuple[int, int]] = []
    cone.checked = 1  # no recomputing, so that only the sweep's own cells are counted
    cone._cells_checked = 10**9
    try:
        list(plan.run(progress=lambda done, total: seen.append((done, total))))
    finally:
        for layer in cone.engine.checkpoint.model.model.layers:
            layer.self_attn._forward_hooks.clear()
    assert sum(calls) == plan.cells
    assert seen == [(plan.cells, plan.cells)]


def test_rows_enter_at_their_own_layer(cone_of):
    cone = cone_of("llama")
    edits = [Edit(residual(layer, -1), "add", 1.0, rows=[layer]) for layer in range(LAYERS)]
    plan = cone.plan([prompts(LENGTH)[0]] * LAYERS, edits, [logits(-1)])
    (pack,) = plan.packs
    assert [pack.size(level) - LENGTH for level in range(LAYERS + 1)] == [0, 1, 2, 3]


def test_an_edit_that_no_reading_can_see_is_not_run(cone_of):
    cone = cone_of("llama")
    edits = [
        Edit(residual(LAYERS - 1, -2), "add", 1.0, rows=[0]),
        Edit(residual(0, -1), "add", 1.0, rows=[1]),
        Edit(residual(0, -2), "add", 1.0, rows=[2]),
    ]
    tokens = [prompts(LENGTH)[0]] * 3
    plan = cone.plan(tokens, edits, [logits(-1)])
    (pack,) = plan.packs
    assert [len(branch.positions) for branch in pack.slots[0].branches] == [0, 1, 2]
    assert furthest(cone, tokens, edits, [logits(-1)]) < CLOSE


def test_where_nothing_is_shared_the_full_forward_is_used(cone_of):
    cone = cone_of("llama")
    tokens = prompts(8, 8, 8, seed=9)
    edits = [Edit(residual(0, -1), "add", 1.0)]
    plan = cone.plan(tokens, edits, [logits(-1)])
    assert "prompts share too little" in str(plan)
    plan = cone.plan(tokens, edits, [logits()])
    assert plan.reason == "every position is read"
    (reading,) = plan.run()
    assert reading[logits()].shape == (3, 8, VOCABULARY)


def test_a_family_that_refuses_says_why_and_runs_in_full(fresh, monkeypatch):
    checkpoint = fresh("llama")
    family = replace(checkpoint.anatomy.family, cone="it remembers")
    cone = Cone(Engine(replace(checkpoint, anatomy=replace(checkpoint.anatomy, family=family))))
    tokens, edits = sweep(cone, positions=(-1,))
    plan = cone.plan(tokens, edits, [logits(-1)])
    assert str(plan) == f"full forward, {plan.full_cells} cells: it remembers"
    seen: list[tuple[int, int]] = []
    ours = rows_of(plan.run(progress=lambda *done: seen.append(done)), [logits(-1)])
    full = rows_of(cone.engine.edit(tokens, edits, [logits(-1)]), [logits(-1)])
    assert all(torch.equal(ours[row][logits(-1)], full[row][logits(-1)]) for row in full)
    assert seen[-1] == (plan.full_cells, plan.full_cells)


NOTHING = [
    Edit(residual(1, -1), "scale", 1.0, rows=[1]),
    Edit(head(0, 1, -2), "add", 0.0, rows=[1]),
    Edit(embedding(-3), "scale", torch.ones(WIDTH)),
    Edit(final(-1), "add", 0.0),
]


@pytest.mark.parametrize("edit", NOTHING, ids=str)
def test_an_edit_that_changes_nothing_raises(cone_of, edit):
    cone = cone_of("llama")
    tokens = [prompts(LENGTH)[0]] * 4
    others = [Edit(residual(0, -1), "add", 1.0, rows=[row]) for row in range(4)]
    with pytest.raises(EngineError, match="changed nothing in prompts"):
        list(cone.plan(tokens, [*others, edit], [logits(-1), final(-1)]).run())


def test_the_prompt_that_did_not_change_is_named(cone_of):
    value = torch.ones(2, WIDTH)
    value[1] = 0.0
    edit = Edit(residual(0, -1), "add", value, rows=[0, 2])
    with pytest.raises(EngineError, match=r"changed nothing in prompts 2:"):
        list(cone_of("llama").plan([prompts(6)[0]] * 3, [edit], [final(-1)]).run())


def test_states_that_are_not_finite_raise(cone_of):
    edit = Edit(residual(0, -1), "scale", 3e38, rows=[1])
    with pytest.raises(EngineError, match="are not finite"):
        list(cone_of("llama").plan([prompts(6)[0]] * 3, [edit], [logits(-1)]).run())


def test_checks_go_on_as_long_as_they_cost_little(cone_of, monkeypatch):
    cone = cone_of("llama", pack_cells=20)
    tokens, edits = sweep(cone, positions=(-1,))
    for _ in range(3):
        list(cone.plan(tokens, edits, [logits(-1)]).run())
    assert cone.checked == 1
    monkeypatch.setattr("stillwired.engine.cone.CHECK_SHARE", 10.0)
    list(cone.plan(tokens, edits, [logits(-1)]).run())
    assert cone.checked > 2


@pytest.mark.parametrize("reason", [None, "asked for"])
def test_only_the_pack_in_hand_is_alive(cone_of, reason):
    cone = cone_of("llama", pack_cells=2 * LENGTH)
    tokens, edits = sweep(cone)
    plan = cone.plan(tokens, edits, [logits(-1)])
    assert len(plan.packs) > 3
    if reason is not None:
        plan = replace(plan, packs=(), reason=reason)
    seen: list[weakref.ref[Tensor]] = []
    runs = plan.run(batch_tokens=4 * LENGTH)
    gc.collect()
    gc.disable()
    try:
        while (reading := next(runs, None)) is not None:
            seen.append(weakref.ref(reading[logits(-1)]))
            del reading
            assert sum(reference() is not None for reference in seen) == 0
    finally:
        gc.enable()
    assert len(seen) > 3


def test_what_does_not_fit_together_raises_before_anything_runs(cone_of):
    cone = cone_of("llama")
    with pytest.raises(EngineError, match="has 4 tokens"):
        cone.plan(prompts(6, 4), [Edit(residual(0, -5), "add", 1.0)], [final(-1)])
    with pytest.raises(EngineError, match="nothing to read"):
        cone.plan(prompts(4), [], [])


@pytest.mark.parametrize(
    ("device", "width", "cells"),
    [("cpu", 64, 512), ("cuda:0", 64, 1024), ("cuda", 5120, 819), ("cuda", 16_384, 512)],
)
def test_packs_are_larger_on_a_gpu_unless_the_model_is_wide(device, width, cells):
    checkpoint = SimpleNamespace(regime=TinyRegime(device=device))
    engine = SimpleNamespace(checkpoint=checkpoint, anatomy=SimpleNamespace(width=width))
    assert fitting_cells(engine) == cells
