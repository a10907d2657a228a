"""Where heads look: at the answers of a prompt's shots, and at what followed a token before.

Todd, Li, Sen Sharma, Mueller, Wallace, Bau (2024), "Function vectors in large language models":
the heads that carry a task look, from the last token of a prompt, at the outputs of its
demonstrations. Olsson et al. (2022), "In-context learning and induction heads": induction heads
look at what followed the current token when it came before, which random tokens repeated in the
same order show apart from any meaning.

A head that has nothing to look for rests on the first token, the sink, so shares of attention
are shares of what is left of it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from stillwired.engine.attention_weights import AttentionReading, attention_weights
from stillwired.engine.engine import Engine, Progress
from stillwired.errors import UsageError
from stillwired.instruments.interventions import Head
from stillwired.instruments.questions import Question


class OnAnswers(NamedTuple):
    """Shares of attention on answers, from 0 to 1.

    Attributes:
        own: What heads look at [questions, heads].
        dealt: The same with each head's weights dealt out anew among the positions behind the
            first, so that they sit on answers only by chance [questions, heads]. What is to be
            expected is the answers' share of the positions.
    """

    own: NDArray[np.float64]
    dealt: NDArray[np.float64]


def attention_on_answers(
    engine: Engine,
    questions: Sequence[Question],
    heads: Sequence[Head],
    rng: np.random.Generator,
    *,
    progress: Progress | None = None,
) -> OnAnswers:
    """Share of each head's attention from the last token that falls on the shots' answers.

    Args:
        engine: What runs the passes.
        questions: Prompts with shots.
        heads: Which heads.
        rng: Deals out the weights of the control.
        progress: Called after every batch with tokens done and tokens in all.

    Returns:
        Shares, as `share_on_answers`.

    Raises:
        UsageError: If there is no head or no question, or a question shows no answers; or as
            `attention_weights`.
        MissingComponentError: As `attention_weights`.
        EngineError: As `attention_weights`.
        AnatomyError: If there is no such head.
    """
    for question in questions:
        _require_answers(question)
    # One source of chance for each question: batches come in another order.
    chances = rng.spawn(len(questions))
    shape = (len(questions), len(heads))
    found = OnAnswers(np.zeros(shape), np.zeros(shape))
    prompts = [question.tokens for question in questions]
    for reading in _readings(engine, prompts, heads, -1, progress):
        weights = _of_heads(reading, heads)
        for row, of_row in zip(reading.rows, weights, strict=True):
            answers = questions[row].answers
            found.own[row] = share_on_answers(of_row, answers)
            found.dealt[row] = share_on_answers(of_row, answers, chances[row])
    return found


def share_on_answers(
    weights: NDArray[np.float64],
    answers: Sequence[int],
    rng: np.random.Generator | None = None,
) -> NDArray[np.float64]:
    """Share of attention on some positions, of all attention behind the first position.

    Args:
        weights: Attention from one token [heads, positions].
        answers: Positions, counted from the left; none of them the first.
        rng: Permutes the positions behind the first, head by head.

    Returns:
        Shares [heads]; 0 for a head that looks at the first position and at nothing else.
    """
    rest = weights[:, 1:]
    if rng is not None:
        rest = rng.permuted(rest, axis=1)
    on_answers = rest[:, np.unique(answers) - 1].sum(axis=1)
    whole = rest.sum(axis=1)
    shares = np.zeros(len(weights))
    np.divide(on_answers, whole, out=shares, where=whole > 0)
    return shares


def attention_pattern(
    engine: Engine, question: Question, heads: Sequence[Head]
) -> NDArray[np.float64]:
    """Where heads look from the last token of a question.

    Returns:
        Weights [heads, positions], the first position included; they sum to 1.

    Raises:
        UsageError: If there is no head; or as `attention_weights`.
        MissingComponentError: As `attention_weights`.
        EngineError: As `attention_weights`.
        AnatomyError: If there is no such head.
    """
    (reading,) = _readings(engine, [question.tokens], heads, -1)
    pattern: NDArray[np.float64] = _of_heads(reading, heads)[0]
    return pattern


def prefix_matching(
    engine: Engine,
    heads: Sequence[Head],
    rng: np.random.Generator,
    *,
    prefix: Sequence[int],
    length: int = 25,
    rows: int = 8,
) -> NDArray[np.float64]:
    """How much each head is an induction head: its prefix-matching score.

    Random tokens are shown twice in the same order. The score is the mean attention from each
    token of the second showing to the token that followed it in the first. Olsson et al. show 25
    tokens four times, without the most and the least frequent ones, and average over all
    earlier showings; two showings leave one place to look at.

    Args:
        engine: What runs the passes.
        heads: Which heads.
        rng: Draws the tokens.
        prefix: What the tokenizer puts before a text (`Checkpoint.prefix`), often nothing.
        length: Tokens that are repeated.
        rows: Sequences.

    Returns:
        Scores from 0 to 1 [rows, heads]. A head whose window is shorter than `length` scores 0.

    Raises:
        UsageError: If there is no head or no row, or not that many tokens to draw; or as
            `attention_weights`.
        MissingComponentError: As `attention_weights`.
        EngineError: As `attention_weights`.
        AnatomyError: If there is no such head.
    """
    drawn = draw_tokens(
        engine.checkpoint.tokenizer, engine.anatomy.vocabulary, rng, length, rows
    ).tolist()
    sequences = [[*prefix, *shown, *shown] for shown in drawn]
    scores = np.zeros((rows, len(heads)))
    for reading in _readings(engine, sequences, heads, None):
        scores[list(reading.rows)] = match_score(_of_heads(reading, heads), len(prefix), length)
    return scores


def match_score(weights: NDArray[np.float64], start: int, length: int) -> NDArray[np.float64]:
    """Mean attention from a second showing to what followed each token in the first.

    What followed the last token of the first showing is the second showing itself.

    Args:
        weights: Attention [..., queries, keys].
        start: Position where the first showing begins.
        length: Tokens of a showing.

    Returns:
        Scores [...].
    """
    first = start + np.arange(length)
    scores: NDArray[np.float64] = weights[..., first + length, first + 1].mean(axis=-1)
    return scores


def draw_tokens(
    tokenizer: Any, vocabulary: int, rng: np.random.Generator, length: int, rows: int
) -> NDArray[np.int64]:
    """Draw rows of distinct tokens, none of them special.

    Args:
        tokenizer: A transformers tokenizer.
        vocabulary: Rows of the model's embedding; token ids are below it.
        rng: Draws.
        length: Tokens of a row.
        rows: Rows.

    Returns:
        Token ids [rows, length].

    Raises:
        UsageError: If `length` or `rows` leaves nothing to repeat, or there are too few tokens.
    """
    if length < 2 or rows < 1:
        raise UsageError(
            f"{rows} rows of {length} tokens show no repetition. Ask for at least 1 row of 2."
        )
    special = set(tokenizer.all_special_ids)
    special |= {id_ for id_, token in tokenizer.added_tokens_decoder.items() if token.special}
    ids = sorted(
        id_ for id_ in set(tokenizer.get_vocab().values()) - special if 0 <= id_ < vocabulary
    )
    if len(ids) < length:
        raise UsageError(
            f"The tokenizer has {len(ids)} ordinary tokens, and {length} distinct ones are asked "
            "for. Repeat fewer."
        )
    return np.stack([rng.choice(np.array(ids), length, replace=False) for _ in range(rows)])


def _require_answers(question: Question) -> None:
    inside = [place for place in question.answers if 0 < place < len(question.tokens)]
    if not inside or len(inside) < len(question.answers):
        raise UsageError(
            f"The question {question.example!r} shows no answers behind its first token, so no "
            "head can look at them. Ask with shots."
        )


def _readings(
    engine: Engine,
    prompts: Sequence[Sequence[int]],
    heads: Sequence[Head],
    position: int | None,
    progress: Progress | None = None,
) -> Iterator[AttentionReading]:
    """Read the layers that some heads are in."""
    if not heads or not prompts:
        raise UsageError("There is nothing to measure. Give at least one head and one prompt.")
    for _, number in heads:
        engine.anatomy.columns(number)
    layers = [layer for layer, _ in heads]
    return attention_weights(engine, prompts, layers, position, progress=progress)


def _of_heads(reading: AttentionReading, heads: Sequence[Head]) -> NDArray[np.float64]:
    """Weights of some heads [rows, heads, ...]."""
    picked = [reading[layer][:, number].to("cpu", torch.float64) for layer, number in heads]
    return torch.stack(picked, dim=1).numpy()
