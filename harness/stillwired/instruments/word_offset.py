"""Word arithmetic: a task done by adding one offset to the embedding of its input.

The rival of function vectors on cyclic tasks. Todd, Li, Sen Sharma, Mueller, Wallace, Bau (2024),
"Function vectors in large language models" (arXiv 2310.15213): a task that leads from each word
back to itself, such as the opposite of the opposite, cannot be one constant offset between words.

The offset is the mean difference between the embeddings of answer and input over fitted pairs.
The rival is a generous one:

- It is told which tokens are input and answer, for every fitted pair at once. A function vector
  is taken from prompts that leave both to the model.
- An answer counts by its first token, so it never has to finish a word.
- A query's own tokens cannot be guessed. Without that rule, which analogies of words are always
  scored by, the nearest token to a word plus a small offset is nearly always the word itself.

That last rule is also all that it can live on where pairs go both ways: their differences cancel,
the offset is zero, and what is guessed is the token nearest to the query. Where opposites are
close neighbours that can be right, and it is the table's doing, not the offset's.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.functional import normalize

from stillwired.clock import FITS, spending
from stillwired.engine.engine import Engine
from stillwired.errors import UsageError

SPACES = ("embedding", "logits")

_TABLE_ROWS = 16_384
_QUERIES = 64


@spending(FITS)
def offset_guesses(
    engine: Engine,
    pairs_fit: Sequence[tuple[Sequence[int], int]],
    queries: Sequence[Sequence[int]],
    space: str,
) -> NDArray[np.int64]:
    """Guess the answers of queries from one offset between words.

    A word of several tokens is the mean of their embeddings; an answer is its first token.
    Embeddings are rows of the model's table, without what a family does to them on their way
    into the first block.

    Args:
        engine: Whose embeddings, final norm and unembedding are used.
        pairs_fit: Tokens of an input and first token of its answer.
        queries: Tokens of the inputs that are asked for.
        space: ``embedding`` guesses the token whose embedding has the smallest angle to query
            plus offset, ``logits`` the one that final norm and unembedding make most likely.

    Returns:
        A token for each query, [queries]; of equally good ones the smallest id.

    Raises:
        UsageError: If there is no pair to fit, a word has no tokens, a token is none of the
            model's, or there is no such space.
    """
    if space not in SPACES:
        raise UsageError(f"There is no space {space!r}. Choose one of: {', '.join(SPACES)}.")
    if not pairs_fit:
        raise UsageError("An offset needs pairs to be fitted on. Give at least one.")
    table = engine.embeddings
    answers = [[answer] for _, answer in pairs_fit]
    offset = (_words(table, answers) - _words(table, [word for word, _ in pairs_fit])).mean(0)
    if not queries:
        return np.empty(0, dtype=np.int64)
    aimed = _words(table, queries) + offset
    if space == "embedding":
        found = _nearest(table, aimed, queries)
    else:
        found = _likeliest(engine, aimed, queries)
    return np.asarray(found.cpu().numpy(), dtype=np.int64)


def _words(table: Tensor, words: Sequence[Sequence[int]]) -> Tensor:
    """Return the mean embedding of each word's tokens [words, width], in float32."""
    for word in words:
        if not word or min(word) < 0 or max(word) >= len(table):
            raise UsageError(
                f"The tokens {list(word)} are no word of this model. Give one token id or more, "
                f"each from 0 to {len(table) - 1}."
            )
    return torch.stack([table[list(word)].float().mean(0) for word in words])


def _nearest(table: Tensor, aimed: Tensor, own: Sequence[Sequence[int]]) -> Tensor:
    """Return the token with the smallest angle to each point [points], but none of its own."""
    points = normalize(aimed, dim=-1)
    best = torch.full((len(points),), -torch.inf, device=points.device)
    tokens = torch.zeros(len(points), dtype=torch.int64, device=points.device)
    for start in range(0, len(table), _TABLE_ROWS):
        part = normalize(table[start : start + _TABLE_ROWS].float(), dim=-1)
        scores, where = _without(points @ part.T, own, start).max(-1)
        tokens = torch.where(scores > best, where + start, tokens)
        best = torch.maximum(scores, best)
    return tokens


def _likeliest(engine: Engine, aimed: Tensor, own: Sequence[Sequence[int]]) -> Tensor:
    """Return the token that each state [states, width] makes likeliest, but none of its own."""
    parts = []
    for start in range(0, len(aimed), _QUERIES):
        logits = engine.unembed(engine.final_norm(aimed[start : start + _QUERIES])).float()
        parts.append(_without(logits, own[start : start + _QUERIES], 0).argmax(-1))
    return torch.cat(parts)


def _without(scores: Tensor, own: Sequence[Sequence[int]], first: int) -> Tensor:
    """Rule each row's own tokens out, in scores [rows, tokens] that begin with token `first`."""
    for row, tokens in enumerate(own):
        here = [token - first for token in tokens if first <= token < first + scores.shape[1]]
        scores[row, here] = -torch.inf
    return scores
