"""Each damage to weights does what it says, on every family, and leaves the wiring as it is."""

from __future__ import annotations

import copy

import pytest
import torch

from stillwired.checkpoints.anatomy import anatomy_of
from stillwired.engine.edits import Edit
from stillwired.engine.engine import Engine
from stillwired.engine.sites import attention, head, logits, mlp, residual
from stillwired.errors import MissingComponentError
from stillwired.mutants.weights import CHANGES, noise, rounding, silencing
from tests.engine.tiny import CONFIGS, HEADS, LAYERS, Tiny, prompts, tiny, tiny_model

IDS = prompts(9, 9, 9)
MIDDLE = LAYERS // 2
FEW = ("gpt2", "llama", "gemma3", "jamba")


def damaged(family, change, **given):
    made = tiny(family, **given)
    change(made.model, made.anatomy)
    return made


def said(model):
    with torch.no_grad():
        return model(torch.tensor(IDS)).logits


def weights_of(model):
    return {name: weights.clone() for name, weights in model.named_parameters()}


def blocks_of(made):
    return [
        dict(made.model.get_submodule(path).named_parameters()) for path in made.anatomy.layer_paths
    ]


def read(made, site):
    (reading,) = Engine(made).read(IDS, [site])
    return reading[site]


@pytest.mark.parametrize("family", CONFIGS)
def test_every_damage_changes_what_is_said_and_no_identity(family):
    sound = said(tiny_model(family))
    for name, change in CHANGES.items():
        try:
            made = damaged(family, change)
        except MissingComponentError:
            # Without attention or an MLP there is nothing to damage there.
            assert "mamba" in family
            continue
        assert not torch.allclose(said(made.model), sound, atol=1e-6), name
        assert torch.isfinite(said(made.model)).all(), name
        if family in FEW:
            # Building an engine checks them all.
            assert all(identity.holds for identity in Engine(made).self_check), name


@pytest.mark.parametrize("change", CHANGES)
def test_a_damage_is_the_same_every_time(change):
    one, other = (weights_of(damaged("llama", CHANGES[change]).model) for _ in range(2))
    assert all(torch.equal(one[name], other[name]) for name in one)


@pytest.mark.parametrize("change", CHANGES)
def test_a_damage_fits_weights_of_less_precision(change):
    made = tiny("llama")
    made.model.to(torch.bfloat16)
    CHANGES[change](made.model, made.anatomy)
    assert {weights.dtype for weights in made.model.parameters()} == {torch.bfloat16}
    assert all(torch.isfinite(weights).all() for weights in made.model.parameters())


def test_random_weights_keep_mean_and_spread_of_each_tensor():
    model = tiny_model("llama")
    before = weights_of(model)
    CHANGES["random weights"](model, anatomy_of(model))
    for name, weights in model.named_parameters():
        if weights.numel() > 500:
            assert float(weights.std()) == pytest.approx(float(before[name].std()), rel=0.1)
            assert (
                abs(float(torch.corrcoef(torch.stack([weights, before[name]]).flatten(1))[0, 1]))
                < 0.1
            )


def test_only_the_middle_third_is_untrained():
    before, after = (
        blocks_of(tiny("llama")),
        blocks_of(damaged("llama", CHANGES["middle third untrained"])),
    )
    same = [all(torch.equal(a[n], b[n]) for n in a) for a, b in zip(before, after, strict=True)]
    assert same == [True, False, True]
    assert not any(torch.equal(before[1][name], after[1][name]) for name in before[1])


def test_a_tied_unembedding_is_untied_and_the_embedding_stays():
    sound = tiny("gemma3")
    assert sound.model.lm_head.weight is sound.model.get_input_embeddings().weight
    made = damaged("gemma3", CHANGES["unembedding untrained"])
    embedding = made.model.get_input_embeddings().weight
    assert torch.equal(embedding, sound.model.get_input_embeddings().weight)
    assert not torch.allclose(made.model.lm_head.weight, embedding)
    assert float(made.model.lm_head.weight.std()) == pytest.approx(float(embedding.std()), rel=0.1)
    last = residual(LAYERS - 1)
    assert torch.equal(read(made, last), read(sound, last))


@pytest.mark.parametrize("change", ["layers shuffled", "halves swapped"])
def test_blocks_exchange_their_weights_and_none_keeps_its_own(change):
    before, after = blocks_of(tiny("llama")), blocks_of(damaged("llama", CHANGES[change]))
    took = [
        [k for k, old in enumerate(before) if all(torch.equal(old[n], new[n]) for n in new)]
        for new in after
    ]
    assert sorted(k for one in took for k in one) == list(range(LAYERS))
    assert all(one != [k] for k, one in enumerate(took))
    if change == "halves swapped":
        assert took == [[2], [0], [1]]


def test_only_blocks_of_one_kind_exchange_weights():
    before, after = (
        blocks_of(tiny("jamba")),
        blocks_of(damaged("jamba", CHANGES["layers shuffled"])),
    )
    assert all(torch.equal(before[0][name], after[2][name]) for name in before[0])
    assert all(torch.equal(before[1][name], after[1][name]) for name in before[1])


@pytest.mark.parametrize(
    "family",
    ["gpt2", "llama", "opt", "bloom", "falcon", "olmo2", "gemma2", "mixtral", "mamba", "jamba"],
)
def test_a_skipped_layer_hands_on_what_it_gets(family):
    made = damaged(family, CHANGES["middle layer skipped"])
    assert torch.equal(read(made, residual(MIDDLE)), read(made, residual(MIDDLE - 1)))
    assert not torch.allclose(read(made, residual(MIDDLE)), read(made, residual(MIDDLE + 1)))


@pytest.mark.parametrize("family", ["gpt2", "llama", "gemma3"])
def test_one_branch_is_silent_and_the_other_is_not(family):
    quiet = damaged(family, CHANGES["no attention in the middle third"])
    assert not read(quiet, attention(MIDDLE)).any()
    assert read(quiet, mlp(MIDDLE)).any()
    assert read(quiet, attention(MIDDLE - 1)).any()
    quiet = damaged(family, CHANGES["no mlp in the middle third"])
    assert not read(quiet, mlp(MIDDLE)).any()
    assert read(quiet, attention(MIDDLE)).any()


@pytest.mark.parametrize("family", ["gpt2", "llama", "qwen3"])
def test_silenced_heads_are_heads_that_are_scaled_to_zero(family):
    heads = [(0, 1), (2, 3)]
    made, sound = damaged(family, silencing(heads)), tiny(family)
    edits = [Edit(head(*one), "scale", 0.0) for one in heads]
    (reading,) = Engine(sound).edit(IDS, edits, [logits()])
    assert torch.allclose(read(made, logits()), reading[logits()], atol=1e-5)
    assert not torch.allclose(said(made.model), said(sound.model), atol=1e-3)


@pytest.mark.parametrize("family", ["gpt2", "llama"])
def test_every_head_writes_what_another_one_would(family):
    """Handing each projection the heads in that order undoes the damage."""
    made, sound = damaged(family, CHANGES["heads shuffled within layers"]), tiny(family)
    for layer in range(LAYERS):
        path = made.anatomy.within(layer, made.anatomy.family.projection)
        old, new = (m.model.get_submodule(path).weight for m in (sound, made))
        if family == "gpt2":
            old, new = old.T, new.T
        columns = [made.anatomy.columns(which) for which in range(HEADS)]
        order = [
            next(k for k in range(HEADS) if torch.equal(old[:, columns[k]], new[:, one]))
            for one in columns
        ]
        assert sorted(order) == list(range(HEADS))
        assert all(order[which] != which for which in range(HEADS))


@pytest.mark.parametrize("family", ["llama", "gpt2"])
@pytest.mark.parametrize("bits", [2, 3, 4])
def test_rounding_leaves_each_output_row_a_few_levels(family, bits):
    sound, made = tiny(family), damaged(family, rounding(bits))
    path = made.anatomy.within(0, made.anatomy.family.projection)
    old, new = (m.model.get_submodule(path).weight for m in (sound, made))
    if family == "gpt2":
        old, new = old.T, new.T
    for before, after in zip(old, new, strict=True):
        step = before.abs().max() / (2 ** (bits - 1) - 1)
        assert len(after.unique()) <= 2**bits - 1
        assert float((after - before).abs().max()) <= float(step) / 2 + 1e-6
        assert float(after.abs().max()) == pytest.approx(float(before.abs().max()))
    for name in ("get_input_embeddings", "get_output_embeddings"):
        assert torch.equal(getattr(made.model, name)().weight, getattr(sound.model, name)().weight)


def test_a_row_of_zeros_is_rounded_to_zeros():
    made = tiny("llama")
    weights = made.model.get_submodule(made.anatomy.within(0, "self_attn.o_proj")).weight
    weights[3] = 0
    rounding(4)(made.model, made.anatomy)
    assert not weights[3].any()


def test_more_bits_and_less_noise_do_less():
    sound = said(tiny_model("llama"))

    def moved(change):
        return float((said(damaged("llama", change).model) - sound).abs().mean())

    steps = [moved(rounding(bits)) for bits in (8, 4, 3, 2)]
    assert steps == sorted(steps)
    assert moved(noise(0.1)) < moved(noise(0.5))
    assert moved(CHANGES["rounded to bfloat16"]) < moved(rounding(4))


def test_noise_has_its_share_of_each_matrix_spread():
    sound, made = tiny("llama"), damaged("llama", noise(0.5))
    for before, after in zip(blocks_of(sound), blocks_of(made), strict=True):
        for name, weights in before.items():
            if weights.dim() < 2:
                assert torch.equal(after[name], weights)
                continue
            share = float((after[name] - weights).std() / weights.std())
            assert share == pytest.approx(0.5, rel=0.1)


def test_what_a_model_lacks_cannot_be_damaged():
    made = tiny("mamba")
    for change in ("no mlp in the middle third", "heads shuffled within layers"):
        with pytest.raises(MissingComponentError):
            CHANGES[change](made.model, made.anatomy)
    one_block = copy.deepcopy(CONFIGS["llama"]())
    one_block.num_hidden_layers = 1
    from transformers import AutoModelForCausalLM

    model = AutoModelForCausalLM.from_config(one_block, attn_implementation="eager")
    made = Tiny("one block", model, None, anatomy_of(model))
    with pytest.raises(MissingComponentError, match="No two of the 1 blocks"):
        CHANGES["layers shuffled"](made.model, made.anatomy)
