from __future__ import annotations

import gc
import weakref
from dataclasses import replace

import pytest
import torch

from stillwired.checkpoints.anatomy import Anatomy
from stillwired.engine import tracing
from stillwired.engine.edits import Edit
from stillwired.engine.engine import Engine
from stillwired.engine.sites import (
    Site,
    attention,
    convolution,
    embedding,
    final,
    gate,
    gated,
    head,
    logits,
    mixer,
    mlp,
    residual,
    state,
)
from stillwired.errors import AnatomyError, EngineError, MissingComponentError
from tests.engine.oracle import oracle
from tests.engine.tiny import (
    CONFIGS,
    HEADS,
    LAYERS,
    VOCABULARY,
    WIDTH,
    TinyRegime,
    prompts,
    tiny_model,
)


def every_site(anatomy: Anatomy, position: int | None) -> list[Site]:
    sites = [embedding(position), final(position), logits(position)]
    for layer in range(LAYERS):
        for component in anatomy.components(layer):
            if component == "head":
                sites += [head(layer, number, position) for number in range(HEADS)]
            else:
                sites.append(Site(component, layer, position=position))
    return sites


def every_head(layer: int) -> list[Site]:
    return [head(layer, number) for number in range(HEADS)]


LONGROPE = {
    "rope_type": "longrope",
    "rope_theta": 10000.0,
    "short_factor": [1.0] * 4,
    "long_factor": [4.0] * 4,
    "original_max_position_embeddings": 8,
}


def config_with(name: str, **changes: object):
    """A configuration with some keys changed, as the constructor would take them."""

    def build():
        config = CONFIGS[name]()
        return type(config)(**{**config.to_dict(), **changes})

    return build


def only(readings):
    (reading,) = readings
    return reading


def assert_exact(reading, expected):
    """Equal to the last bit: the same kernels ran on the same batch."""
    for site, states in expected.items():
        assert torch.equal(reading[site], states[reading.rows]), str(site)


# Reading


@pytest.mark.parametrize("position", [None, -1, -3])
def test_reads_equal_plain_hooks_exactly(engine_of, family, position):
    engine = engine_of(family)
    tokens = prompts(7, 7, 7)
    sites = every_site(engine.anatomy, position)
    # The oracle unembeds every position, the engine only as far as is asked for; the same
    # product over fewer rows may differ in its last bit, so logits are compared apart.
    exact = [site for site in sites if site.component != "logits"]
    expected = oracle(family, tiny_model(family), engine.anatomy.head_dim, tokens, sites)
    reading = only(engine.read(tokens, sites))
    assert_exact(reading, {site: expected[site] for site in exact})
    tolerance = 0.0 if position is None else 5e-6
    torch.testing.assert_close(
        reading[logits(position)], expected[logits(position)], atol=tolerance, rtol=0.0
    )


def test_a_site_read_alone_equals_the_site_read_among_others(engine_of, family):
    engine = engine_of(family)
    tokens = prompts(6, 6)
    sites = every_site(engine.anatomy, -2) + every_site(engine.anatomy, None)
    union = only(engine.read(tokens, sites))
    for site in sites[::5]:
        assert torch.equal(only(engine.read(tokens, [site]))[site], union[site]), str(site)


def test_prompts_of_one_length_run_together_and_know_their_rows(engine_of):
    engine = engine_of("llama")
    tokens = prompts(3, 5, 3, 5, 5)
    readings = list(engine.read(tokens, [residual(1)], batch_tokens=10))
    assert [reading.rows for reading in readings] == [[1, 3], [4], [0, 2]]
    assert [reading.lengths for reading in readings] == [[5, 5], [5], [3, 3]]
    for reading in readings:
        for index, row in enumerate(reading.rows):
            alone = only(engine.read([tokens[row]], [residual(1)]))[residual(1)][0]
            torch.testing.assert_close(reading[residual(1)][index], alone, atol=1e-5, rtol=0)


def test_nothing_is_computed_that_nobody_reads(engine_of):
    engine = engine_of("llama")
    model = engine.checkpoint.model
    calls: list[str] = []
    handles = [
        module.register_forward_pre_hook(lambda *_, name=name: calls.append(name))
        for name, module in (
            ("block 2", model.model.layers[2]),
            ("norm", model.model.norm),
            ("unembedding", model.lm_head),
        )
    ]
    try:
        list(engine.read(prompts(4), [residual(1)]))
        assert calls == []
        list(engine.read(prompts(4), [residual(2)]))
        assert calls == ["block 2"]
        list(engine.read(prompts(4), [final()]))
        assert calls == ["block 2", "block 2", "norm"]
    finally:
        for handle in handles:
            handle.remove()


def test_only_the_positions_asked_for_are_unembedded(engine_of):
    engine = engine_of("gemma3")
    widths: list[int] = []
    handle = engine.checkpoint.model.lm_head.register_forward_hook(
        lambda module, args, output: widths.append(output.shape[1])
    )
    try:
        list(engine.read(prompts(6), [logits(-1)]))
        list(engine.read(prompts(6), [logits(-1), logits(-3)]))
        list(engine.read(prompts(6), [logits(-1), logits()]))
    finally:
        handle.remove()
    assert widths == [1, 3, 6]


def test_plain_calls_reproduce_the_models_logits(engine_of, family):
    engine = engine_of(family)
    reading = only(engine.read(prompts(6, 6), [residual(LAYERS - 1), final(), logits()]))
    assert torch.equal(engine.final_norm(reading[residual(LAYERS - 1)]), reading[final()])
    assert torch.equal(engine.unembed(reading[final()]), reading[logits()])


def test_eager_and_sdpa_agree(fresh, engine_of, family):
    if set(engine_of(family).anatomy.family.kernels) != {"eager", "sdpa"}:
        pytest.skip("the family runs with one kernel only")
    tokens = prompts(9, 9)
    anatomy = engine_of(family).anatomy
    sites = [site for site in every_site(anatomy, None) if site.component != "logits"]
    eager = only(engine_of(family).read(tokens, sites))
    sdpa = only(Engine(fresh(family, attention="sdpa")).read(tokens, sites))
    for site in sites:
        torch.testing.assert_close(eager[site], sdpa[site], atol=2e-5, rtol=1e-5)


def test_readings_can_be_fitted_on(engine_of):
    reading = only(engine_of("llama").read(prompts(5, 5), [residual(1)]))
    weight = torch.zeros(WIDTH, WIDTH, requires_grad=True)
    (reading[residual(1)] @ weight).sum().backward()
    assert weight.grad is not None
    assert bool(weight.grad.abs().sum() > 0)
    assert not reading[residual(1)].requires_grad


# Padding


@pytest.mark.parametrize("kernel", ["eager", "sdpa"])
def test_padded_prompts_read_as_they_do_alone(fresh, engine_of, family, kernel):
    if kernel not in engine_of(family).anatomy.family.kernels:
        pytest.skip("the family does not run with this kernel")
    engine = Engine(fresh(family, attention=kernel))
    tokens = prompts(9, 2, 5, 9, 1)
    sites = every_site(engine.anatomy, None) + every_site(engine.anatomy, -1)
    reading = only(engine.read(tokens, sites, pad=True))
    assert sorted(reading.rows) == [0, 1, 2, 3, 4]
    for index, row in enumerate(reading.rows):
        alone = only(engine.read([tokens[row]], sites))
        length = reading.lengths[index]
        assert length == len(tokens[row])
        for site in sites:
            found = reading[site][index]
            if site.position is None:
                assert bool((found[:-length] == 0).all())
                found = found[-length:]
            torch.testing.assert_close(found, alone[site][0], atol=5e-5, rtol=1e-5)


def test_padding_without_position_ids_would_be_seen(engine_of):
    """The comparison above can fail: absolute positions shifted by the padding do differ."""
    engine = engine_of("gpt2")
    short = prompts(9, 3)[1]
    alone = only(engine.read([short], [final(-1)]))[final(-1)][0]
    with torch.no_grad():
        shifted = engine.checkpoint.model.transformer(
            torch.tensor([[0] * 6 + short]),
            attention_mask=torch.tensor([[0] * 6 + [1] * 3]),
            position_ids=torch.arange(9)[None],
        ).last_hidden_state[0, -1]
    assert float((alone - shifted).abs().max()) > 1e-2


UNPADDED = [
    ("mamba", {"use_bias": True}, "projection has a bias"),
    ("mamba2", {"use_bias": True}, "projection has a bias"),
    ("jamba", {"mamba_proj_bias": True}, "projection has a bias"),
    ("phi3", {"rope_parameters": LONGROPE, "original_max_position_embeddings": 8}, "longest"),
]


@pytest.mark.parametrize(("name", "changes", "message"), UNPADDED)
def test_padding_is_refused_where_it_changes_readings(fresh, monkeypatch, name, changes, message):
    monkeypatch.setitem(CONFIGS, "changed", config_with(name, **changes))
    engine = Engine(fresh("changed"))
    tokens = prompts(9, 4)
    with pytest.raises(EngineError, match=f"do not read as they do alone: .*{message}"):
        engine.read(tokens, [final(-1)], pad=True)
    alone = only(engine.read(tokens[1:], [final(-1)]))[final(-1)][0]
    assert torch.equal(
        next(r for r in engine.read(tokens, [final(-1)]) if r.rows == [1])[final(-1)][0], alone
    )
    # The refusal is not for nothing.
    with torch.no_grad():
        padded = engine.checkpoint.model(
            torch.tensor([tokens[0], [0] * 5 + tokens[1]]),
            attention_mask=torch.tensor([[1] * 9, [0] * 5 + [1] * 4]),
            position_ids=torch.tensor([[*range(9)], [0] * 5 + [*range(4)]]),
            use_cache=False,
        ).logits[1, -1]
    assert float((padded - engine.unembed(alone)).abs().max()) > 1e-3


# Editing


def edits_of(anatomy: Anatomy) -> list[Edit]:
    """One edit of every kind; where a layer has a mixer, its parts stand in for attention's."""
    generator = torch.Generator().manual_seed(3)
    attends = [anatomy.kind(layer) == "attention" for layer in range(LAYERS)]
    narrow, wide = (head(0, 1, -1), head(0, 3)) if attends[0] else (gate(0, -1), gated(0))
    branch = attention(1, -2) if attends[1] else mixer(1, -2)
    other = next(name for name in ("mlp", "state", "gate") if name in anatomy.components(1))

    def value(*shape: int) -> torch.Tensor:
        return torch.randn(*shape, generator=generator)

    return [
        Edit(embedding(-2), "add", value(WIDTH), rows=[1]),
        Edit(narrow, "replace", value(3, anatomy.width_of(narrow.component))),
        Edit(wide, "scale", 0.5, rows=[2, 0]),
        Edit(branch, "add", value(2, WIDTH), rows=[2, 1]),
        Edit(Site(other, 1), "replace", 0.0, rows=[0]),
        Edit(residual(1, -1), "scale", value(WIDTH)),
        Edit(residual(1, -1), "add", value(WIDTH), rows=[1]),
        Edit(residual(2), "scale", value(WIDTH), rows=[0, 1]),
        Edit(final(-1), "add", value(WIDTH), rows=[2]),
    ]


def test_edits_equal_plain_hooks_exactly(engine_of, family):
    engine = engine_of(family)
    tokens = prompts(6, 6, 6)
    edits = edits_of(engine.anatomy)
    sites = every_site(engine.anatomy, None)
    expected = oracle(family, tiny_model(family), engine.anatomy.head_dim, tokens, sites, edits)
    assert_exact(only(engine.edit(tokens, edits, sites)), expected)


@pytest.mark.parametrize("number", range(9))
def test_every_edit_alone_equals_plain_hooks_exactly(engine_of, family, number):
    engine = engine_of(family)
    tokens = prompts(6, 6, 6)
    edit = edits_of(engine.anatomy)[number]
    model = tiny_model(family)
    sites = [edit.site, final(), logits()]
    expected = oracle(family, model, engine.anatomy.head_dim, tokens, sites, [edit])
    untouched = oracle(family, model, engine.anatomy.head_dim, tokens, sites)
    reading = only(engine.edit(tokens, [edit], sites))
    assert_exact(reading, expected)
    rows = range(3) if edit.rows is None else edit.rows
    # Experts compute the tokens of all rows in one product, whose shape shows in the last bits.
    rounding = 1e-5 if family in ("mixtral", "jamba") else 0.0
    for row in range(3):
        moved = (reading[logits()][row] - untouched[logits()][row]).abs().max()
        assert bool(moved > rounding) == (row in rows)


def test_edits_follow_their_prompts_through_batches_and_padding(engine_of):
    engine = engine_of("llama")
    tokens = prompts(6, 4, 6, 4, 2)
    value = torch.randn(3, WIDTH, generator=torch.Generator().manual_seed(5))
    edits = [
        Edit(residual(0, -2), "add", value, rows=[3, 0, 4]),
        Edit(mlp(2), "scale", -1.0, rows=[1, 4]),
    ]
    expected = {}
    for row, tokens_of_row in enumerate(tokens):
        own = [
            Edit(edit.site, edit.how, edit.value[edit.rows.index(row)][None], None)
            if isinstance(edit.value, torch.Tensor)
            else Edit(edit.site, edit.how, edit.value)
            for edit in edits
            if row in edit.rows
        ]
        run = engine.edit([tokens_of_row], own, [final(-1)]) if own else None
        expected[row] = only(run or engine.read([tokens_of_row], [final(-1)]))[final(-1)][0]
    for options in ({"batch_tokens": 8}, {}, {"pad": True}, {"pad": True, "batch_tokens": 12}):
        seen = set()
        for reading in engine.edit(tokens, edits, [final(-1)], **options):
            for index, row in enumerate(reading.rows):
                seen.add(row)
                torch.testing.assert_close(
                    reading[final(-1)][index], expected[row], atol=1e-5, rtol=1e-5
                )
        assert seen == {0, 1, 2, 3, 4}


NOTHING = [
    Edit(residual(1), "add", 0.0),
    Edit(residual(1, -1), "scale", 1.0, rows=[1]),
    Edit(head(2, 0), "add", torch.zeros(8)),
    Edit(embedding(-1), "scale", torch.ones(WIDTH), rows=[0]),
]


@pytest.mark.parametrize("edit", NOTHING, ids=str)
def test_an_edit_that_changes_nothing_raises(engine_of, edit):
    with pytest.raises(EngineError, match="changed nothing in prompts"):
        list(engine_of("llama").edit(prompts(5, 5), [edit], [logits(-1)]))


def test_replacing_a_site_by_itself_raises(engine_of):
    engine = engine_of("gpt2")
    tokens = prompts(5, 5)
    site = attention(1, -1)
    same = only(engine.read(tokens, [site]))[site]
    list(engine.edit(tokens, [Edit(site, "replace", same + 1e-3)], [logits(-1)]))
    with pytest.raises(EngineError, match="changed nothing in prompts 0, 1"):
        list(engine.edit(tokens, [Edit(site, "replace", same)], [logits(-1)]))


def test_the_row_that_did_not_change_is_named(engine_of):
    value = torch.ones(2, WIDTH)
    value[1] = 0.0
    edit = Edit(residual(0, -1), "add", value, rows=[0, 2])
    with pytest.raises(EngineError, match=r"changed nothing in prompts 2:"):
        list(engine_of("llama").edit(prompts(4, 4, 4), [edit], [final(-1)]))


def test_edits_that_undo_each_other_raise(engine_of):
    edits = [Edit(residual(0), "scale", 2.0), Edit(residual(0), "scale", 0.5)]
    with pytest.raises(EngineError, match="changed nothing"):
        list(engine_of("llama").edit(prompts(4), edits, [final(-1)]))


def test_a_write_that_never_arrives_raises(engine_of, monkeypatch):
    """The site itself is compared, not the copy that was changed."""
    monkeypatch.setattr(tracing, "write_place", lambda envoy, place, state: None)
    with pytest.raises(EngineError, match="changed nothing in prompts 0"):
        list(engine_of("llama").edit(prompts(4), [Edit(residual(0), "add", 1.0)], [final(-1)]))


# What must raise


def test_a_site_out_of_order_raises(fresh):
    engine = Engine(fresh("llama"))
    family = replace(engine.anatomy.family, attention_added="mlp", mlp_added="self_attn")
    family = replace(family, attention="self_attn", attention_out="tuple")
    engine.anatomy = replace(engine.anatomy, family=family)
    list(engine.read(prompts(4), [attention(0)]))
    with pytest.raises(EngineError, match=r"had passed or never reaches.*layers\.0\.self_attn"):
        list(engine.read(prompts(4), [attention(0), mlp(0)]))
    # The engine is usable afterwards.
    list(engine.read(prompts(4), [residual(0)]))


def test_states_that_are_not_finite_raise_where_they_are_read(fresh):
    checkpoint = fresh("gpt2")
    engine = Engine(checkpoint)
    checkpoint.model.transformer.h[1].mlp.c_fc.bias[0] = float("nan")
    tokens = prompts(4, 4)
    list(engine.read(tokens, [residual(0), attention(1)]))
    for site in (mlp(1), residual(2, -1), logits(-1)):
        with pytest.raises(EngineError, match="are not finite in prompts 0, 1"):
            list(engine.read(tokens, [site]))


def test_an_edit_that_overflows_raises(engine_of):
    edit = Edit(residual(0, -1), "scale", 3e38, rows=[1])
    with pytest.raises(EngineError, match="are not finite in prompts 1"):
        list(engine_of("llama").edit(prompts(4, 4), [edit], [residual(0), logits(-1)]))


MISSING = [
    ("llama", mixer(0), "Llama has no component 'mixer' in layer 0. The layer has: head, att"),
    ("llama", state(2), "Llama has no component 'state' in layer 2"),
    ("mamba", attention(1), "Mamba has no component 'attention' in layer 1. The layer has: gate"),
    ("mamba", head(0, 0), "Mamba has no component 'head' in layer 0"),
    ("mamba", mlp(0), "Mamba has no component 'mlp' in layer 0"),
    ("mamba", state(0), "'state' in layer 0 that can be read: the scan applies the gate"),
    ("mamba2", convolution(0), "'convolution' in layer 0 that can be read: it goes from one"),
    ("jamba", attention(0), "layer 0, which is a layer with a state-space mixer. The layer has"),
    ("jamba", head(2, 1), "no component 'head' in layer 2, which is a layer with a state-space"),
    ("jamba", mixer(1), "no component 'mixer' in layer 1, which is a layer with attention"),
]


@pytest.mark.parametrize(("family", "site", "message"), MISSING)
def test_what_a_layer_does_not_have_is_named_with_what_it_has(engine_of, family, site, message):
    engine = engine_of(family)
    with pytest.raises(MissingComponentError, match=message):
        engine.read(prompts(4), [site])
    with pytest.raises(MissingComponentError, match=message):
        engine.edit(prompts(4), [Edit(site, "add", 1.0)], [final(-1)])


def test_what_an_edit_would_not_reach_is_refused(engine_of):
    engine = engine_of("mamba")
    list(engine.read(prompts(4), [convolution(1)]))
    with pytest.raises(MissingComponentError, match=r"cannot be edited: .* would not reach"):
        engine.edit(prompts(4), [Edit(convolution(1), "add", 1.0)], [final(-1)])


@pytest.mark.parametrize(
    ("site", "error", "message"),
    [
        (residual(3), AnatomyError, "There is no layer 3: this Llama model has 3 blocks"),
        (head(0, 4), AnatomyError, "There is no head 4"),
        (residual(0, -5), EngineError, "Prompt 1 has 4 tokens"),
    ],
)
def test_sites_that_do_not_exist_raise_at_once(engine_of, site, error, message):
    with pytest.raises(error, match=message):
        engine_of("llama").read(prompts(6, 4), [site])


def test_an_edit_reaches_only_prompts_that_are_long_enough(engine_of):
    edit = Edit(residual(0, -5), "add", 1.0, rows=[0])
    list(engine_of("llama").edit(prompts(6, 4), [edit], [final(-1)]))
    with pytest.raises(EngineError, match="Prompt 1 has 4 tokens"):
        engine_of("llama").edit(prompts(6, 4), [replace(edit, rows=None)], [final(-1)])


def test_calls_without_content_raise(engine_of):
    engine = engine_of("llama")
    with pytest.raises(EngineError, match="nothing to read"):
        engine.read(prompts(4), [])
    with pytest.raises(EngineError, match="no edits"):
        engine.edit(prompts(4), [], [final()])
    with pytest.raises(EngineError, match="outside of"):
        engine.read([[VOCABULARY]], [final()])


@pytest.mark.parametrize(
    ("regime", "what"),
    [
        (TinyRegime(attention="sdpa"), "attention kernel"),
        (TinyRegime(dtype="bfloat16"), "dtype"),
        (TinyRegime(device="meta"), "device"),
    ],
)
def test_a_model_in_another_regime_is_refused(fresh, regime, what):
    with pytest.raises(EngineError, match=what):
        Engine(replace(fresh("llama"), regime=regime))


def test_a_kernel_that_the_family_does_not_run_with_is_refused(fresh):
    regime = TinyRegime(attention="flash_attention_2")
    with pytest.raises(AnatomyError, match="Choose one of: eager, sdpa"):
        Engine(replace(fresh("llama"), regime=regime))


def test_eager_attention_adds_the_bias_of_falcon_twice(fresh, engine_of):
    """What the refusal is about: only sdpa is attention with ALiBi as the paper defines it."""
    tokens = prompts(7)
    model, heads = tiny_model("falcon_alibi"), HEADS
    reading = only(engine_of("falcon_alibi").read(tokens, [*every_head(0), embedding()]))
    with torch.no_grad():
        block = model.transformer.h[0]
        fused = block.self_attention.query_key_value(block.input_layernorm(reading[embedding()]))
        parts = fused.view(7, heads + 2, -1)
        key, value = parts[:, heads], parts[:, heads + 1]
        distances = torch.arange(7)[None] - torch.arange(7)[:, None]
        future = torch.full((7, 7), float("-inf")).triu(1)
    eager = fresh("falcon_alibi", attention="eager").model
    seen: list[torch.Tensor] = []
    eager.transformer.h[0].self_attention.dense.register_forward_pre_hook(
        lambda module, args: seen.append(args[0][0])
    )
    eager(torch.tensor(tokens), use_cache=False)
    for number, site in enumerate(every_head(0)):
        slope = 2.0 ** (-8 * (number + 1) / heads)
        scores = parts[:, number] @ key.T + slope * distances
        weights = (scores / key.shape[-1] ** 0.5 + future).softmax(dim=-1)
        torch.testing.assert_close(reading[site][0], weights @ value, atol=1e-5, rtol=1e-4)
        columns = slice(8 * number, 8 * number + 8)
        assert float((seen[0][:, columns] - weights @ value).abs().max()) > 1e-3
    with pytest.raises(AnatomyError, match=r"eager'.*adds the ALiBi bias twice.*one of: sdpa"):
        Engine(fresh("falcon_alibi", attention="eager"))


def test_the_tokenizer_is_left_as_it_was(fresh):
    checkpoint = fresh("llama")
    checkpoint.tokenizer.padding_side = "right"
    Engine(checkpoint)
    assert checkpoint.tokenizer.padding_side == "right"
    assert checkpoint.tokenizer.pad_token is None


def test_a_model_in_training_mode_is_refused(fresh):
    checkpoint = fresh("gpt2")
    checkpoint.model.train()
    with pytest.raises(EngineError, match="training mode"):
        Engine(checkpoint)


# Streaming


class Recorder:
    """Keeps nothing but what it can say about the batches that passed."""

    def __init__(self, *sites: Site) -> None:
        self.sites = frozenset(sites)
        self.rows: list[int] = []
        self.alive: list[int] = []
        self._seen: list[weakref.ref[torch.Tensor]] = []

    def take(self, reading) -> None:
        self.rows += reading.rows
        self._seen += [weakref.ref(reading[site]) for site in self.sites]
        self.alive.append(sum(reference() is not None for reference in self._seen))


def test_one_pass_feeds_every_consumer(engine_of):
    engine = engine_of("llama")
    passes: list[int] = []
    handle = engine.checkpoint.model.model.layers[0].register_forward_hook(
        lambda *_: passes.append(1)
    )
    consumers = [Recorder(residual(0)), Recorder(residual(0), mlp(2, -1)), Recorder(final())]
    progress: list[tuple[int, int]] = []
    try:
        engine.stream(
            prompts(*[8] * 10),
            consumers,
            batch_tokens=24,
            progress=lambda done, total: progress.append((done, total)),
        )
    finally:
        handle.remove()
    assert len(passes) == 4
    assert all(consumer.rows == list(range(10)) for consumer in consumers)
    assert progress == [(24, 80), (48, 80), (72, 80), (80, 80)]


@pytest.mark.parametrize("count", [4, 40])
def test_memory_does_not_grow_with_the_prompts(engine_of, count):
    """Only the batch in hand is alive, however many there are."""
    consumer = Recorder(residual(0), residual(1), head(2, 1), final(-1), logits())
    gc.collect()
    gc.disable()
    try:
        engine_of("gpt2").stream(prompts(*[8] * count), [consumer], batch_tokens=16)
    finally:
        gc.enable()
    assert consumer.alive == [5] * (count // 2)


def test_a_position_does_not_keep_the_other_positions_alive(engine_of):
    sites = [residual(1, -1), head(0, 2), head(0, 3, -1), attention(0, -2)]
    reading = only(engine_of("llama").read(prompts(8, 8, 8), sites))
    for site in sites:
        state = reading[site]
        assert state.untyped_storage().nbytes() == state.numel() * state.element_size()


def test_nnsight_leaves_other_objects_alone():
    assert not hasattr(object(), "save")
