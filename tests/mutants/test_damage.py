"""A damage as a run meets it: sound runs get back what they hand over, mutants do not."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace

import pytest
import torch

from stillwired.checkpoints.checkpoint import Checkpoint, Regime
from stillwired.checkpoints.prepare import prepare
from stillwired.errors import CheckpointError, UsageError
from stillwired.mutants.catalogue import MUTANTS, mutant_named
from stillwired.mutants.damage import Damage, DamagedCheckpoint, damage_of
from stillwired.mutants.prepared import PreparedMutant, salted, sound_part
from stillwired.mutants.weights import CARRIERS, rounding
from stillwired.store.cache import Store
from tests.checkpoints.conftest import make_llama, make_tokenizer

STAGES = ("text", "future_lens", "logit_lens", "task_vectors", "vector_outcomes", "head_outcomes")
FOUR_BITS, CARRYING = mutant_named("rounded to 4 bits"), mutant_named(CARRIERS)
START = mutant_named("a wrong start before every text")
INSTRUMENTS = [m for m in MUTANTS if m.damages == "instrument"]


@pytest.fixture(scope="module")
def prepared(tmp_path_factory):
    folder = tmp_path_factory.mktemp("saved") / "tiny"
    make_llama().save_pretrained(folder)
    make_tokenizer().save_pretrained(folder)
    return prepare(str(folder), Store(tmp_path_factory.mktemp("cache")))


@pytest.fixture
def sound(prepared):
    return Checkpoint(prepared)


def none():
    raise AssertionError("the heads that carry tasks were asked for")


def same(one, other):
    pairs = zip(one.model.state_dict().values(), other.model.state_dict().values(), strict=True)
    return all(torch.equal(a, b) for a, b in pairs)


def test_nothing_is_damaged_where_there_is_no_mutant(sound):
    damage, handed = damage_of(None), object()
    assert (damage.name, damage.checkpoint(sound, none)) == ("", sound)
    assert all(getattr(damage, stage)(handed) is handed for stage in STAGES)
    assert same(sound, Checkpoint(sound.prepared))


def test_every_mutant_overrides_what_it_breaks_and_nothing_else():
    """Weights are the checkpoint's; an instrument's damage takes at least one of the others."""
    for mutant in MUTANTS:
        damage = damage_of(mutant)
        assert damage.name == mutant.name
        own = {
            name
            for name in vars(Damage)
            if getattr(type(damage), name) is not getattr(Damage, name)
        }
        assert own - {"__module__", "__doc__"}
        if mutant.damages == "checkpoint":
            assert own & {"checkpoint", *STAGES} == {"checkpoint"}
        else:
            assert own & set(STAGES) or mutant == START


@pytest.mark.parametrize("mutant", INSTRUMENTS, ids=lambda mutant: mutant.slug)
def test_damaged_instruments_leave_the_checkpoint_alone(sound, mutant):
    damaged = damage_of(mutant).checkpoint(sound, none)
    if mutant == START:
        assert damaged.digest != sound.digest
        assert same(damaged, sound)
    else:
        assert damaged is sound


def test_a_damaged_checkpoint_has_a_digest_of_its_own_and_other_weights(sound):
    damaged = damage_of(FOUR_BITS).checkpoint(sound, none)
    assert damaged.name == "tiny~rounded-to-4-bits"
    assert damaged.digest == salted(sound.digest, FOUR_BITS) != sound.digest
    assert damaged.key != sound.key
    assert damaged.prepared.origin.endswith("; damaged: rounded to 4 bits")
    by_hand = Checkpoint(sound.prepared)
    rounding(4)(by_hand.model, by_hand.anatomy)
    assert same(damaged, by_hand)
    assert not same(damaged, sound)
    assert not any(weights.requires_grad for weights in damaged.model.parameters())


def test_digests_tell_mutants_their_heads_and_their_code_apart(monkeypatch):
    found = {salted("abc", mutant) for mutant in MUTANTS}
    assert len(found) == len(MUTANTS)
    silenced = [salted("abc", CARRYING, [(0, 1)]), salted("abc", CARRYING, [(0, 2)])]
    assert len({*silenced, salted("abc", CARRYING), salted("abd", CARRYING)}) == 4
    before = salted("abc", FOUR_BITS)
    monkeypatch.setattr("stillwired.mutants.prepared.code_digest", lambda module: module)
    assert salted("abc", FOUR_BITS) != before


def test_the_heads_that_carry_tasks_are_found_on_the_sound_checkpoint(sound):
    heads = [(0, 1), (1, 3)]
    damaged = damage_of(CARRYING).checkpoint(sound, lambda: heads)
    assert damaged.digest == salted(sound.digest, CARRYING, heads)
    assert damaged.digest != damage_of(CARRYING).checkpoint(sound, lambda: heads[:1]).digest
    for layer, block in enumerate(damaged.model.model.layers):
        written = block.self_attn.o_proj.weight.view(32, 4, 8)
        silent = [which for which in range(4) if not written[:, which].any()]
        assert [(layer, which) for which in silent] == [one for one in heads if one[0] == layer]


def test_files_that_change_meanwhile_are_told_from_the_damage(prepared):
    """What was prepared is what is loaded, damaged or not."""
    changed = replace(prepared, digest_again=lambda: "another")
    for mutant in (None, FOUR_BITS):
        with pytest.raises(CheckpointError, match="have changed"):
            damage_of(mutant).checkpoint(Checkpoint(changed), none).model  # noqa: B018


def test_a_remote_host_runs_its_own_weights(prepared):
    with pytest.raises(UsageError, match="Leave --claims-remote out"):
        DamagedCheckpoint(Checkpoint(prepared, Regime(remote="https://a.example")), FOUR_BITS)


def test_a_wrong_start_is_put_before_texts_that_have_none(sound, prepared, tmp_path):
    assert (sound.prefix, damage_of(START).checkpoint(sound, none).prefix) == ([], [0])
    folder = tmp_path / "started"
    make_llama().save_pretrained(folder)
    make_tokenizer(start="<start>").save_pretrained(folder)
    started = Checkpoint(prepare(str(folder), Store(tmp_path / "cache")))
    assert started.prefix
    assert damage_of(START).checkpoint(started, none).prefix == []


# What a run knows before anything is loaded


def test_a_prepared_mutant_tells_a_record_what_it_is(prepared):
    made = PreparedMutant(prepared, FOUR_BITS, "x/tiny~rounded-to-4-bits")
    assert (made.name, made.layers) == ("tiny~rounded-to-4-bits", prepared.layers)
    told, known = made.to_json(), prepared.to_json()
    assert told["digest"] == salted(prepared.digest, FOUR_BITS)
    assert told["spec"] == "x/tiny~rounded-to-4-bits"
    assert "damaged: rounded to 4 bits" in told["origin"]
    named = {"name", "spec", "digest", "origin"}
    assert {k: v for k, v in told.items() if k not in named} == {
        k: v for k, v in known.items() if k not in named
    }
    assert sound_part(made) is prepared
    assert sound_part(prepared) is prepared


def test_a_checkpoint_of_the_users_own_making_can_be_damaged_too():
    made = SimpleNamespace(name="mine", layers=3, to_json=lambda: {"name": "mine"})
    told = PreparedMutant(made, FOUR_BITS, "mine~rounded-to-4-bits").to_json()
    assert told["digest"] == salted("", FOUR_BITS)
    assert told["name"] == "mine~rounded-to-4-bits"
