"""What heads look at, counted by hand and against plain passes."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from transformers import GPT2Config, GPT2LMHeadModel

from stillwired.checkpoints.checkpoint import Checkpoint
from stillwired.data.tasks import Row
from stillwired.engine.engine import Engine
from stillwired.errors import AnatomyError, UsageError
from stillwired.instruments.head_attention import (
    attention_on_answers,
    attention_pattern,
    draw_tokens,
    match_score,
    prefix_matching,
    share_on_answers,
)
from stillwired.instruments.questions import Question
from tests.instruments.conftest import made_checkpoint

HEADS = [(5, 1), (0, 3), (5, 0)]
SHOWN = 7


@pytest.fixture(autouse=True)
def one_thread():
    """Tiny products gain nothing from threads, and lose much where others compute too."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def question(length: int, answers: tuple[int, ...], seed: int = 0) -> Question:
    drawn = np.random.default_rng(seed).integers(2, 102, length - 1)
    return Question(
        example=f"made: {length}, {answers}",
        cluster="a | b",
        tokens=(0, *(int(token) for token in drawn)),
        query=(3,),
        answer=2,
        pieces=1,
        copies=False,
        answers=answers,
        row=Row("a", "b"),
    )


# Two lengths, the longer not first: readings do not come in this order.
QUESTIONS = [
    question(9, (3, 6), 1),
    question(12, (2, 3, 7, 8), 2),
    question(9, (1, 8), 3),
]


def plain_weights(checkpoint: Checkpoint, tokens: tuple[int, ...], layer: int, number: int):
    with torch.no_grad():
        out = checkpoint.model(torch.tensor([tokens]), output_attentions=True)
    return out.attentions[layer][0, number].double().numpy()


@pytest.fixture(scope="module")
def uniform() -> Engine:
    """Without queries every head looks at all positions alike."""
    made = made_checkpoint()
    with torch.no_grad():
        for block in made.model.model.layers:
            block.self_attn.q_proj.weight.zero_()
    return Engine(Checkpoint.of_model(made.model, made.tokenizer, name="uniform"))


# Attention on answers


def test_the_share_is_that_of_a_plain_pass(checkpoint, engine):
    shares = attention_on_answers(engine, QUESTIONS, HEADS, np.random.default_rng(0)).own
    for row, asked in enumerate(QUESTIONS):
        for column, (layer, number) in enumerate(HEADS):
            last = plain_weights(checkpoint, asked.tokens, layer, number)[-1]
            expected = sum(last[place] for place in asked.answers) / sum(last[1:])
            assert shares[row, column] == pytest.approx(expected, rel=1e-5)


def test_heads_that_look_everywhere_alike_give_answers_their_share_of_positions(uniform):
    found = attention_on_answers(uniform, QUESTIONS, HEADS, np.random.default_rng(0))
    expected = np.array([[2 / 8], [4 / 11], [2 / 8]])
    np.testing.assert_allclose(found.own, np.repeat(expected, 3, axis=1), rtol=1e-6)
    np.testing.assert_allclose(found.dealt, found.own, rtol=1e-6)


def test_the_sink_counts_for_nothing():
    weights = np.array([[0.9, 0.05, 0.03, 0.02], [0.0, 0.5, 0.3, 0.2]])
    np.testing.assert_allclose(share_on_answers(weights, (2,)), [0.3, 0.3])
    np.testing.assert_allclose(share_on_answers(weights, (1, 3)), [0.7, 0.7])
    np.testing.assert_allclose(share_on_answers(weights, (3, 2, 1)), [1.0, 1.0])


def test_a_head_that_looks_at_the_sink_alone_looks_at_no_answer():
    weights = np.array([[1.0, 0.0, 0.0], [0.5, 0.5, 0.0]])
    for rng in (None, np.random.default_rng(0)):
        assert share_on_answers(weights, (1, 2), rng).tolist() == [0.0, 1.0]
    assert share_on_answers(weights, (1,)).tolist() == [0.0, 1.0]


def test_the_control_keeps_the_weights_and_loses_the_places():
    """Every head looks at the first answer; dealt out anew, at each position equally often."""
    weights = np.zeros((2000, 9))
    weights[:, 0], weights[:, 3] = 0.6, 0.4
    assert share_on_answers(weights, (3, 5)).tolist() == [1.0] * 2000
    control = share_on_answers(weights, (3, 5), np.random.default_rng(0))
    # All of a head's weight falls on an answer or none of it does: heads are dealt apart.
    assert set(control.tolist()) == {0.0, 1.0}
    assert control.mean() == pytest.approx(2 / 8, abs=0.04)
    # The given weights stay as they are.
    assert weights[:, 3].tolist() == [0.4] * 2000


def test_the_control_is_a_matter_of_the_seed(engine):
    def control(seed):
        return attention_on_answers(engine, QUESTIONS, HEADS, np.random.default_rng(seed)).dealt

    assert np.array_equal(control(1), control(1))
    assert not np.array_equal(control(1), control(2))
    # A question's chance does not depend on the batch that it runs in.
    rng = np.random.default_rng(1)
    alone = attention_on_answers(engine, QUESTIONS[:1], HEADS, rng).dealt
    np.testing.assert_allclose(control(1)[:1], alone, rtol=1e-4)


def test_a_pattern_is_the_last_row_of_a_plain_pass(checkpoint, engine):
    asked = QUESTIONS[1]
    pattern = attention_pattern(engine, asked, HEADS)
    for row, (layer, number) in zip(pattern, HEADS, strict=True):
        expected = plain_weights(checkpoint, asked.tokens, layer, number)[-1]
        np.testing.assert_allclose(row, expected, atol=1e-6)
    shares = attention_on_answers(engine, [asked], HEADS, np.random.default_rng(0)).own
    np.testing.assert_allclose(share_on_answers(pattern, asked.answers), shares[0], rtol=1e-5)


@pytest.mark.parametrize("answers", [(), (0, 3), (9,)])
def test_a_question_without_answers_to_look_at_is_refused(engine, answers):
    with pytest.raises(UsageError, match=r"'made: 9, .* shows no answers .* Ask with shots"):
        attention_on_answers(
            engine, [QUESTIONS[0], question(9, answers)], HEADS, np.random.default_rng(0)
        )


def test_nothing_to_measure_is_refused(engine):
    with pytest.raises(UsageError, match="at least one head"):
        attention_on_answers(engine, QUESTIONS, [], np.random.default_rng(0))
    with pytest.raises(UsageError, match="one prompt"):
        attention_on_answers(engine, [], HEADS, np.random.default_rng(0))
    with pytest.raises(AnatomyError, match="There is no head 4"):
        attention_pattern(engine, QUESTIONS[0], [(0, 4)])


# Prefix matching


def test_the_score_is_counted_token_by_token(checkpoint, engine):
    drawn = draw_tokens(checkpoint.tokenizer, 102, np.random.default_rng(5), SHOWN, 3)
    scores = prefix_matching(
        engine,
        HEADS,
        np.random.default_rng(5),
        prefix=checkpoint.prefix,
        length=SHOWN,
        rows=3,
    )
    assert checkpoint.prefix == [0]
    for row, shown in enumerate(drawn.tolist()):
        tokens = (0, *shown, *shown)
        for column, (layer, number) in enumerate(HEADS):
            weights = plain_weights(checkpoint, tokens, layer, number)
            seen = [
                weights[here, tokens.index(token) + 1]
                for here, token in enumerate(tokens)
                if token in tokens[:here]
            ]
            assert len(seen) == SHOWN
            assert scores[row, column] == pytest.approx(np.mean(seen), rel=1e-4)


@pytest.mark.parametrize("prefix", [[], [0]])
def test_heads_that_look_everywhere_alike_score_by_chance(uniform, prefix):
    rng = np.random.default_rng(0)
    scores = prefix_matching(uniform, HEADS, rng, prefix=prefix, length=SHOWN, rows=2)
    before = len(prefix) + SHOWN
    expected = np.mean([1 / (before + k + 1) for k in range(SHOWN)])
    np.testing.assert_allclose(scores, np.full((2, 3), expected), rtol=1e-6)


def head_that_looks_back(steps: int) -> Engine:
    """A head that looks a fixed number of positions back, whatever stands there."""
    size = 64
    config = GPT2Config(
        vocab_size=102, n_positions=size, n_embd=size, n_layer=1, n_head=1, bos_token_id=0,
        eos_token_id=0, attn_implementation="eager",
    )  # fmt: skip
    model = GPT2LMHeadModel(config).eval()
    with torch.no_grad():
        model.transformer.wte.weight.zero_()
        model.transformer.wpe.weight.copy_(torch.eye(size))
        inner = model.transformer.h[0].attn.c_attn
        inner.bias.zero_()
        # Position p asks for p - steps; the norm before makes one entry of each stand out.
        inner.weight[:, :size] = 10 * torch.eye(size).roll(-steps, dims=1)
        inner.weight[:, size : 2 * size] = 10 * torch.eye(size)
    return Engine(Checkpoint.of_model(model, made_checkpoint().tokenizer, name="looks back"))


@pytest.mark.parametrize(("steps", "score"), [(SHOWN - 1, 1.0), (SHOWN, 0.0), (1, 0.0)])
def test_only_what_followed_the_token_counts(steps, score):
    """Not the token's own first place, nor the token before."""
    engine = head_that_looks_back(steps)
    rng = np.random.default_rng(0)
    scores = prefix_matching(engine, [(0, 0)], rng, prefix=[], length=SHOWN, rows=2)
    np.testing.assert_allclose(scores, np.full((2, 1), score), atol=1e-6)


def test_a_pattern_made_by_hand_scores_what_it_should():
    # <bos> a b c a b c
    weights = np.zeros((1, 2, 7, 7))
    weights[0, 0, 4, 2] = 1.0  # a looks at b
    weights[0, 0, 5, 3] = 0.5  # b looks half at c
    weights[0, 0, 6, 4] = 0.3  # c looks at the second a, which followed it
    weights[0, 1, 4, 1] = weights[0, 1, 5, 2] = weights[0, 1, 6, 3] = 1.0
    np.testing.assert_allclose(match_score(weights, 1, 3), [[0.6, 0.0]])


# Tokens


def test_tokens_are_distinct_ordinary_and_drawn_by_the_seed(checkpoint):
    def drawn(seed, vocabulary=102):
        rng = np.random.default_rng(seed)
        return draw_tokens(checkpoint.tokenizer, vocabulary, rng, 25, 40)

    tokens = drawn(0)
    assert tokens.shape == (40, 25)
    assert all(len(set(row)) == 25 for row in tokens.tolist())
    # Two of the 102 are special, and every other one is drawn at some time.
    assert set(tokens.ravel().tolist()) == set(range(2, 102))
    assert np.array_equal(tokens, drawn(0))
    assert not np.array_equal(tokens, drawn(1))
    assert len({tuple(row) for row in tokens.tolist()}) == 40
    # Ids that the model has no row for are left out.
    assert set(drawn(0, 60).ravel().tolist()) == set(range(2, 60))


def test_special_tokens_that_were_added_are_left_out():
    tokenizer = made_checkpoint().tokenizer
    tokenizer.add_special_tokens({"additional_special_tokens": ["<turn>"]})
    added = tokenizer.convert_tokens_to_ids("<turn>")
    assert added == 102
    tokens = draw_tokens(tokenizer, 200, np.random.default_rng(0), 25, 40)
    assert set(tokens.ravel().tolist()) == set(range(2, 102))


@pytest.mark.parametrize(
    ("length", "rows", "match"),
    [(101, 1, "has 100 ordinary tokens"), (1, 1, "no repetition"), (5, 0, "no repetition")],
)
def test_what_cannot_be_repeated_is_refused(engine, length, rows, match):
    rng = np.random.default_rng(0)
    with pytest.raises(UsageError, match=match):
        prefix_matching(engine, HEADS, rng, prefix=[0], length=length, rows=rows)
