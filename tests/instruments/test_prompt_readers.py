"""Prompts that read states, against one plain forward pass for every row."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from stillwired.engine.cone import Cone
from stillwired.errors import EngineError, UsageError
from stillwired.instruments import prompt_readers
from stillwired.instruments.prompt_readers import (
    FIXED_PROMPTS,
    GENERIC_PROMPTS,
    START,
    Fronted,
    Prompt,
    last_block_identity,
    plan_prompts,
    read_prompt,
    swapped_rows,
)
from tests.instruments.conftest import BLOCKS, WIDTH

ROWS = 9
TIGHT = 2e-5
"""Nats: float32 sums in another order."""


@pytest.fixture(scope="module")
def cone(engine):
    return Cone(engine)


@pytest.fixture(scope="module")
def vectors():
    return 0.5 * torch.randn(6, WIDTH, generator=torch.Generator().manual_seed(5))


def prompt_of(kind, checkpoint, vectors):
    return Prompt.of(vectors) if kind == "learned" else Prompt.fixed(checkpoint, "w3 w1 w4 w1 w5")


def rows_of(text, block, count=ROWS):
    rows = text.rows("judge")
    return np.array(text.survey.states("judge", block)[:count]), rows.following[:count]


def plain(checkpoint, prompt, block, state, fed):
    """Log-probabilities of one row from the prompt's last position on, by hooks [N + 1, tokens]."""
    model = checkpoint.model
    at, handles = len(prompt.tokens) - 1, []

    def transplant(_module, _given, out):
        hidden = (out[0] if isinstance(out, tuple) else out).clone()
        hidden[0, at] = torch.from_numpy(state)
        return (hidden, *out[1:]) if isinstance(out, tuple) else hidden

    def feed(_module, _given, out):
        return torch.cat([prompt.vectors[None], out[:, at + 1 :]], dim=1)

    if state is not None:
        handles.append(model.model.layers[block].register_forward_hook(transplant))
    if prompt.vectors is not None:
        handles.append(model.model.embed_tokens.register_forward_hook(feed))
    try:
        with torch.no_grad():
            logits = model(torch.tensor([[*prompt.tokens, *fed.tolist()]])).logits[0, at:]
    finally:
        for handle in handles:
            handle.remove()
    return logits.double().log_softmax(-1).numpy()


@pytest.mark.parametrize("kind", ["fixed", "learned"])
@pytest.mark.parametrize("furthest", [0, 1, 2, 3])
@pytest.mark.parametrize("block", [1, 4, 7])
def test_readings_equal_one_plain_pass_for_each_row(
    checkpoint, cone, text, vectors, kind, block, furthest
):
    prompt = prompt_of(kind, checkpoint, vectors)
    states, following = rows_of(text, block)
    fed, asked = following[:, :furthest], text.rows("judge").targets[:ROWS, : furthest + 1]
    spoken = read_prompt(cone, prompt, block, states, fed, asked)
    expected = np.stack(
        [plain(checkpoint, prompt, block, *row) for row in zip(states, fed, strict=True)]
    )
    assert spoken.tokens.shape == (ROWS, furthest + 1)
    assert np.array_equal(spoken.tokens, expected.argmax(-1))
    assert np.abs(np.exp(expected.max(-1)) - spoken.probabilities).max() < TIGHT
    # By value: where two tokens are nearly equal, either may come first.
    ten = np.take_along_axis(expected, spoken.likeliest, -1)
    assert np.abs(ten - np.sort(expected, -1)[..., :-11:-1]).max() < TIGHT
    scores = np.take_along_axis(expected, asked[..., None], -1)[..., 0]
    assert np.abs(scores - spoken.scores).max() < TIGHT


def test_what_is_read_of_a_row_does_not_depend_on_how_far_is_fed(checkpoint, cone, text, vectors):
    states, following = rows_of(text, 4)
    for kind in ("fixed", "learned"):
        prompt = prompt_of(kind, checkpoint, vectors)
        far = read_prompt(cone, prompt, 4, states, following[:, :3])
        near = read_prompt(cone, prompt, 4, states, following[:, :1])
        assert np.array_equal(far.tokens[:, :2], near.tokens)
        assert np.abs(far.probabilities[:, :2] - near.probabilities).max() < TIGHT
        assert np.isnan(far.scores).all()


def test_without_a_state_the_prompt_runs_as_it_is(checkpoint, cone, text, vectors):
    _, following = rows_of(text, 4)
    for kind in ("fixed", "learned"):
        for furthest in (0, 2):
            prompt = prompt_of(kind, checkpoint, vectors)
            spoken = read_prompt(cone, prompt, 4, None, following[:, :furthest])
            expected = np.stack(
                [plain(checkpoint, prompt, 4, None, row) for row in following[:, :furthest]]
            )
            assert np.array_equal(spoken.tokens, expected.argmax(-1))


def test_rows_come_in_their_own_order_from_packs_and_from_full_passes(
    checkpoint, engine, text, vectors, monkeypatch
):
    states, following = rows_of(text, 4, 80)
    fed = following[:, :2]
    asked = text.rows("judge").targets[:, :3]
    prompt, small = Prompt.of(vectors), Cone(engine, pack_cells=24)
    rows = Fronted(prompt, 4, states, fed)
    plan = plan_prompts(small, [rows], [prompt_readers.final(-1)])
    assert plan.reason is None
    assert len(plan.packs) > 5
    monkeypatch.setattr(prompt_readers, "ROWS", 7)
    packed = read_prompt(small, prompt, 4, states, fed, asked)
    monkeypatch.setattr(prompt_readers, "ROWS", 128)
    full = Cone(engine)
    full.refusal = "to compare"
    told = []
    whole = read_prompt(full, prompt, 4, states, fed, asked, lambda *done: told.append(done))
    assert told[-1][0] == told[-1][1]
    assert np.array_equal(packed.tokens, whole.tokens)
    assert np.abs(packed.scores - whole.scores).max() < TIGHT
    assert small.checked
    assert small.worst < 1e-4


def test_several_prompts_read_their_rows_in_one_go(checkpoint, cone, text, vectors):
    """Vectors, other vectors without states, and words, each in front of rows of its own."""
    fronted = []
    for block, kind, rows in ((1, "learned", 5), (BLOCKS - 1, "none", 4), (4, "fixed", 6)):
        states, following = rows_of(text, block, rows)
        prompt = prompt_of("fixed" if kind == "fixed" else "learned", checkpoint, vectors)
        if kind == "none":
            prompt, states = Prompt.of(-vectors), None
        fronted.append(Fronted(prompt, block, states, following[:, :2]))
    site, found = prompt_readers.final(-1), {}
    for reading in plan_prompts(cone, fronted, [site]).run():
        found |= dict(zip(reading.rows, reading[site].numpy(), strict=True))
    expected = []
    for alone in fronted:
        rows = {}
        for reading in plan_prompts(cone, [alone], [site]).run():
            rows |= dict(zip(reading.rows, reading[site].numpy(), strict=True))
        expected += [rows[row] for row in range(len(rows))]
    assert sorted(found) == list(range(15))
    for row, state in enumerate(expected):
        assert np.allclose(found[row], state, atol=1e-4)


def test_no_rows_are_nothing_to_read(checkpoint, cone):
    empty = np.zeros((0, 2), np.int64)
    spoken = read_prompt(cone, Prompt((3,)), 4, np.zeros((0, WIDTH), np.float32), empty)
    assert spoken.tokens.shape == (0, 3)


def test_a_state_that_is_not_finite_is_an_error(cone, text, vectors):
    states, following = rows_of(text, 4)
    states[2, 3] = np.nan
    with pytest.raises(EngineError, match="not finite"):
        read_prompt(cone, Prompt.of(vectors), 4, states, following[:, :1])


# The last block.


@pytest.mark.parametrize("kind", ["fixed", "learned"])
def test_at_the_last_block_other_states_change_no_later_reading(
    checkpoint, engine, cone, text, vectors, kind
):
    prompt = prompt_of(kind, checkpoint, vectors)
    states, following = rows_of(text, BLOCKS - 1)
    others = np.roll(states, 1, axis=0)
    assert last_block_identity(engine, prompt, states, others, following[:, :3]) == 0.0
    one, other, none = (
        read_prompt(cone, prompt, BLOCKS - 1, given, following[:, :3])
        for given in (states, others, None)
    )
    assert np.array_equal(one.probabilities[:, 1:], other.probabilities[:, 1:])
    assert np.array_equal(one.tokens[:, 1:], none.tokens[:, 1:])
    # N = 0 is the state itself, through the model's own last step.
    assert np.array_equal(one.tokens[:, 0], text.rows("judge").targets[:ROWS, 0])
    assert not np.array_equal(one.probabilities[:, 0], other.probabilities[:, 0])


def test_the_identity_notices_another_block(engine, text, vectors, monkeypatch):
    states, following = rows_of(text, 6)
    others, prompt = np.roll(states, 1, axis=0), Prompt.of(vectors)
    honest = prompt_readers.Fronted
    monkeypatch.setattr(
        prompt_readers, "Fronted", lambda prompt, block, *rest: honest(prompt, block - 1, *rest)
    )
    assert last_block_identity(engine, prompt, states, others, following[:, :1]) > 1e-3


def test_the_identity_needs_a_fed_token(engine, text, vectors):
    states, following = rows_of(text, 7)
    with pytest.raises(UsageError, match="Feed a token"):
        last_block_identity(engine, Prompt.of(vectors), states, states[::-1], following[:, :0])


# Prompts in words.


def test_the_published_prompts_are_four():
    assert len(FIXED_PROMPTS) == 4
    assert [text.startswith(START) for text in FIXED_PROMPTS.values()] == [False] * 3 + [True]
    assert {".", "("} <= set(GENERIC_PROMPTS.values())
    assert not set(FIXED_PROMPTS) & set(GENERIC_PROMPTS)


class Words:
    """A checkpoint as far as prompts need one: letters are tokens 10, 11, …"""

    def __init__(self, prefix=(), vocabulary=None, bos=None, eos=None):
        self.prefix = list(prefix)
        self.tokenizer = self
        self.prepared = self
        self.vocabulary = 100
        self.bos_token_id, self.eos_token_id = bos, eos
        self._known = vocabulary or {}

    def get_vocab(self):
        return self._known

    def encode(self, texts):
        return [[10 + ord(letter) - ord("a") for letter in text] for text in texts]


@pytest.mark.parametrize(
    ("checkpoint", "start"),
    [
        (Words(prefix=[7], vocabulary={START: 3}, bos=2), [7]),
        (Words(vocabulary={START: 3}, bos=2, eos=1), [3]),
        (Words(vocabulary={START: 100}, bos=2, eos=1), [2]),
        (Words(eos=1), [1]),
        (Words(), []),
    ],
)
def test_a_prompt_begins_as_texts_of_its_tokenizer_do(checkpoint, start):
    assert Prompt.fixed(checkpoint, f"{START}ab").tokens == (*start, 10, 11)
    assert Prompt.fixed(checkpoint, "ab").tokens == (*checkpoint.prefix, 10, 11)
    if start:
        assert Prompt.fixed(checkpoint, START).tokens == tuple(start)
    else:
        with pytest.raises(UsageError, match="without a token"):
            Prompt.fixed(checkpoint, START)


def test_a_prompt_of_the_tiny_model_starts_with_its_token(checkpoint):
    assert Prompt.fixed(checkpoint, "w3 w1").tokens == (0, 5, 3)
    assert Prompt.fixed(checkpoint, f"{START} w3").tokens == (0, 5)


# Swapped states.


def test_swapped_rows_share_their_token_and_come_from_other_documents():
    rng = np.random.default_rng(0)
    tokens = rng.integers(0, 30, 400)
    documents = np.array([f"d{k}" for k in np.arange(400) // 8])
    order = swapped_rows(tokens, documents, np.random.default_rng(1))
    assert sorted(order) == list(range(400))
    assert np.array_equal(tokens[order], tokens)
    assert not np.any(documents[order] == documents)
    again = swapped_rows(tokens, documents, np.random.default_rng(1))
    assert np.array_equal(again, order)
    assert not np.array_equal(swapped_rows(tokens, documents, np.random.default_rng(2)), order)


def test_a_row_that_is_alone_keeps_its_own():
    tokens = np.array([5, 6, 5, 7, 8, 8, 8])
    documents = np.array(["a", "a", "b", "b", "c", "c", "d"])
    order = swapped_rows(tokens, documents, np.random.default_rng(0))
    assert order[[0, 1, 2, 3]].tolist() == [2, 1, 0, 3]
    # Two of three rows come from one document: nobody keeps its own all the same.
    assert sorted(order[4:]) == [4, 5, 6]
    assert not np.any(order[4:] == [4, 5, 6])
