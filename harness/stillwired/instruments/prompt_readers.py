"""Prompts that read a hidden state: the model itself is asked what a state foresees.

Future Lens (Section 3, causal interventions with a fixed and with a learned prompt) takes the
output of block ``l`` at position ``t`` of a text and puts it in place of the output of the same
block ``l`` at the last position of a prompt. Everything above that cell then runs as it would.
What the model says there is the reading for ``N = 0``; for larger ``N`` the text's own tokens
``t + 1 … t + N`` are fed behind the prompt, and what the model says at the last of them is the
reading. A reader of ``N ≥ 1`` thus hears tokens that a linear map of one state does not.

Only the cells that a state or a fed token can reach are computed (`stillwired.engine.cone`): the
prompt itself runs once for each pack of rows.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from stillwired.checkpoints.checkpoint import Checkpoint
from stillwired.clock import PASSES, spending
from stillwired.engine.cone import Cone, Plan
from stillwired.engine.edits import Edit
from stillwired.engine.engine import Engine, Progress
from stillwired.engine.sites import Site, embedding, final, residual
from stillwired.errors import UsageError

START = "<|endoftext|>"
"""How the published prompts write the token that starts a text."""

FIXED_PROMPTS: Mapping[str, str] = MappingProxyType(
    {
        "tell me more": 'Hello! Could you please tell me more about "',
        "multi-tokens": 'The multi-tokens present here are "',
        "concepts": "The concepts in this hidden state listed are: (",
        "describing": f"{START} This state is describing about the following concept:",
    }
)
"""The four published prompts, by a short name of ours. The published curve averages them."""

GENERIC_PROMPTS: Mapping[str, str] = MappingProxyType(
    {
        "dot": ".",
        "bracket": "(",
        "colon": ":",
        "the": "The",
        "start": START,
        "next words": "The next words are",
        "text goes on": "The text goes on as follows:",
        "repeat": "Repeat after me:",
        "meaning": "This means",
    }
)
"""Prompts that say less or nothing about states: does it matter what a fixed prompt says?"""

LIKELIEST = 10
"""Tokens that are kept for precision at 1, 5 and 10."""

PLACEHOLDER = 0
"""Token that stands where a learned vector is fed; its own embedding is overwritten."""

EMBEDDINGS = 16_384
"""Rows of the embedding table that are computed with at a time."""

ROWS = 128
"""Final states that are unembedded at a time: rows x vocabulary is what takes memory."""


@dataclass(frozen=True, eq=False)
class Prompt:
    """What stands before the fed tokens; its last position receives the state.

    Attributes:
        tokens: Token ids.
        vectors: Vectors that the first block receives in place of the tokens' embeddings
            [tokens, width], or None where the tokens themselves are fed.
    """

    tokens: tuple[int, ...]
    vectors: Tensor | None = None

    def __post_init__(self) -> None:
        if not self.tokens:
            raise UsageError(
                "A prompt without a token has no position that could receive a state. Give a "
                "prompt of at least one token."
            )

    @classmethod
    def of(cls, vectors: Tensor) -> Prompt:
        """Make a prompt of learned vectors [tokens, width].

        They replace the first block's input. Where a family adds position embeddings to the
        tokens', or scales these, the vectors stand for the result.
        """
        return cls((PLACEHOLDER,) * len(vectors), vectors)

    @classmethod
    def fixed(cls, checkpoint: Checkpoint, text: str) -> Prompt:
        """Tokenise a text as a prompt of its own.

        The tokens that the tokenizer itself puts before a text come first. Where it puts none
        and the prompt begins with :data:`START`, that token is looked up in the vocabulary, or
        else the token that begins or ends a text stands for it; a tokenizer with none of them
        gets the prompt without.

        Raises:
            UsageError: If nothing is left of the prompt.
        """
        start, rest = list(checkpoint.prefix), text
        if text.startswith(START):
            rest = text.removeprefix(START)
            start = start or _start_of_text(checkpoint)
        (tokens,) = checkpoint.encode([rest]) if rest else ([],)
        return cls((*start, *tokens))


@dataclass(frozen=True, eq=False)
class Fronted:
    """Rows with a prompt in front of them.

    Attributes:
        prompt: The prompt.
        block: The block whose output at the prompt's last position is overwritten.
        states: What it is overwritten with [rows, width]; None leaves the prompt as it is.
        fed: Tokens that are fed behind the prompt [rows, N].
    """

    prompt: Prompt
    block: int
    states: NDArray[np.float32] | None
    fed: NDArray[np.int64]

    @property
    def prompts(self) -> list[tuple[int, ...]]:
        """The tokens of every row, those of the prompt first."""
        return [(*self.prompt.tokens, *row) for row in self.fed.tolist()]

    def edits(self, first: int = 0) -> list[Edit]:
        """Feed the vectors, alike for every row, and overwrite the block's output in each row.

        Args:
            first: Where these rows begin among all rows of a call.
        """
        rows, fed = range(first, first + len(self.fed)), self.fed.shape[1]
        length = len(self.prompt.tokens) + fed
        edits = []
        if self.prompt.vectors is not None:
            edits = [
                Edit(embedding(place - length), "replace", vector, rows=rows)
                for place, vector in enumerate(self.prompt.vectors)
            ]
        if self.states is not None:
            # A copy: states may be mapped from a file that must not be written to.
            given = torch.from_numpy(np.array(self.states, dtype=np.float32))
            edits.append(Edit(residual(self.block, -fed - 1), "replace", given, rows=rows))
        return edits


@dataclass(frozen=True)
class Spoken:
    """What the model says at the readings of some rows.

    Attributes:
        tokens: The likeliest token [rows, readings].
        probabilities: Its probability [rows, readings].
        likeliest: The likeliest tokens, falling [rows, readings, 10], fewer in a vocabulary of
            fewer; of equally likely ones any may come first.
        scores: Log-probability of the tokens that were asked for, in nats [rows, readings];
            NaN where none were.
    """

    tokens: NDArray[np.int64]
    probabilities: NDArray[np.float32]
    likeliest: NDArray[np.int64]
    scores: NDArray[np.float32]

    @classmethod
    def empty(cls, rows: int, readings: int, vocabulary: int) -> Spoken:
        """Make room for readings."""
        shape = (rows, readings)
        return cls(
            np.zeros(shape, np.int64),
            np.zeros(shape, np.float32),
            np.zeros((*shape, min(LIKELIEST, vocabulary)), np.int64),
            np.full(shape, np.nan, np.float32),
        )

    @spending(PASSES)
    def hear(
        self,
        engine: Engine,
        rows: NDArray[np.int64],
        reading: int,
        finals: Tensor,
        asked: NDArray[np.int64] | None,
    ) -> None:
        """Unembed final states, a few rows at a time, and note what they say.

        Args:
            engine: Unembeds.
            rows: The rows that the states belong to [states].
            reading: Which of the readings they are.
            finals: Final states after the norm [states, width].
            asked: Tokens of all rows whose log-probability is noted [rows, readings], or None.
        """
        for here, part in zip(_parts(rows), torch.split(finals, ROWS), strict=True):
            scores = torch.log_softmax(engine.unembed(part).float(), -1)
            best, tokens = scores.topk(self.likeliest.shape[-1], -1)
            self.likeliest[here, reading] = tokens.cpu().numpy()
            # Like the targets: of equally likely tokens, argmax takes the same one everywhere.
            self.tokens[here, reading] = scores.argmax(-1).cpu().numpy()
            self.probabilities[here, reading] = best[:, 0].exp().cpu().numpy()
            if asked is not None:
                wanted = torch.from_numpy(asked[here, reading, None]).to(scores.device)
                self.scores[here, reading] = scores.gather(1, wanted)[:, 0].cpu().numpy()

    def arrays(self) -> dict[str, NDArray[Any]]:
        """Return everything by name, for the cache."""
        return dict(vars(self))


def plan_prompts(cone: Cone, fronted: Sequence[Fronted], sites: Iterable[Site]) -> Plan:
    """Plan the passes of prompts in front of their rows, all in one go.

    Prompts share passes, so that a model's weights are read once for all of them, and each
    prompt still runs once for each pack of its rows.

    Args:
        cone: What runs them.
        fronted: Rows with their prompts. In the plan they are counted through, in this order.
        sites: What is read, with positions from the right: -1 is the last fed token, and
            ``-N - 1`` the prompt's last position.

    Raises:
        EngineError: As `Cone.plan`.
    """
    prompts: list[tuple[int, ...]] = []
    edits: list[Edit] = []
    for rows in fronted:
        edits += rows.edits(len(prompts))
        prompts += rows.prompts
    return cone.plan(prompts, edits, sites)


def read_prompt(
    cone: Cone,
    prompt: Prompt,
    block: int,
    states: NDArray[np.float32] | None,
    fed: NDArray[np.int64],
    asked: NDArray[np.int64] | None = None,
    progress: Progress | None = None,
    nearest: int = 0,
) -> Spoken:
    """Read what a prompt says of each state, for every N up to the number of fed tokens.

    One pass serves all N, because a position never sees the tokens behind it. Memory is one
    pack's final states, unembedded a few rows at a time.

    Args:
        cone: What runs the passes.
        prompt: The prompt.
        block: The block that is overwritten; it should be the one that the states come from.
        states: [rows, width]; other rows' states for a control, None for no state at all.
        fed: The text's tokens ``t + 1 … t + N`` [rows, N]; N may be 0.
        asked: Tokens whose log-probability is wanted [rows, readings], or None.
        progress: As in `Plan.run`.
        nearest: The smallest N that is read: unembedding others costs as much.

    Returns:
        Rows in the order in which they were given; the second axis is N, from `nearest` on.

    Raises:
        EngineError: As `Cone.plan` and `Plan.run`.
        MismatchError: As `Plan.run`.
    """
    furthest = fed.shape[1]
    sites = [final(ahead - furthest - 1) for ahead in range(nearest, furthest + 1)]
    spoken = Spoken.empty(len(fed), len(sites), cone.engine.anatomy.vocabulary)
    if not len(fed):
        return spoken
    plan = plan_prompts(cone, [Fronted(prompt, block, states, fed)], sites)
    runs = plan.run(progress=progress)
    while (reading := next(runs, None)) is not None:
        rows = np.array(reading.rows, dtype=np.int64)
        for number, site in enumerate(sites):
            spoken.hear(cone.engine, rows, number, reading[site], asked)
        # The next pack is computed before the name is bound again.
        del reading
    return spoken


def nearest_tokens(engine: Engine, prompt: Prompt) -> Prompt:
    """Turn learned vectors into the tokens whose embeddings point most nearly their way.

    Nearest by the angle, because vectors and embeddings differ in length.

    Args:
        engine: Knows the embeddings.
        prompt: A prompt of learned vectors.

    Raises:
        UsageError: If the prompt is one of tokens already.
    """
    if prompt.vectors is None:
        raise UsageError("The prompt consists of tokens already. Give one of learned vectors.")
    table = engine.embeddings
    vectors = torch.nn.functional.normalize(prompt.vectors.float(), dim=-1).to(table.device)
    best = torch.full((len(vectors),), -torch.inf, device=table.device)
    tokens = torch.zeros(len(vectors), dtype=torch.int64, device=table.device)
    for start in range(0, len(table), EMBEDDINGS):
        rows = torch.nn.functional.normalize(table[start : start + EMBEDDINGS].float(), dim=-1)
        found, where = (vectors @ rows.T).max(-1)
        tokens = torch.where(found > best, where + start, tokens)
        best = torch.maximum(found, best)
    return Prompt(tuple(tokens.tolist()))


def last_block_identity(
    engine: Engine,
    prompt: Prompt,
    states: NDArray[np.float32],
    others: NDArray[np.float32],
    fed: NDArray[np.int64],
) -> float:
    """Swap the states at the last block and compare what the model says at the fed tokens.

    No block attends to the last block's output, so a state that is put there cannot reach a
    later position: whatever N ≥ 1, nothing may change. It checks that the block that is
    overwritten is the one that is meant, and that it is overwritten at the right position. The
    full forward is used, because a cone would not run an edit that nobody can see.

    Args:
        engine: Reads and edits.
        prompt: The prompt.
        states: [rows, width].
        others: Other states [rows, width].
        fed: Tokens that are fed behind the prompt [rows, N], N at least 1.

    Returns:
        The largest difference of a log-probability, over all rows, N and tokens, in nats: 0, or
        what rounding explains.

    Raises:
        UsageError: If nothing is fed.
        EngineError: As `Engine.edit`, for instance because a state is what stood there anyway.
    """
    furthest = fed.shape[1]
    if not furthest:
        raise UsageError("At the last block only N ≥ 1 is blind to the state. Feed a token.")
    sites = [final(-back) for back in range(1, furthest + 1)]
    block, worst = engine.anatomy.layers - 1, 0.0
    both = [Fronted(prompt, block, given, fed) for given in (states, others)]
    runs = [engine.edit(rows.prompts, rows.edits(), sites) for rows in both]
    for one, other in zip(*runs, strict=True):
        for site in sites:
            pairs = zip(torch.split(one[site], ROWS), torch.split(other[site], ROWS), strict=True)
            for pair in pairs:
                a, b = (torch.log_softmax(engine.unembed(part).float(), -1) for part in pair)
                worst = max(worst, float((a - b).abs().max()))
    return worst


def swapped_rows(
    tokens: NDArray[np.int64], documents: NDArray[np.str_], rng: np.random.Generator
) -> NDArray[np.int64]:
    """Swap rows that share a token: what a state says beyond that token goes with it.

    A row's partner is another row, from another document unless more than half of the rows that
    share the token come from one document. A row that is alone with its token keeps its own.

    Args:
        tokens: The token of each row [rows].
        documents: The document of each row [rows].
        rng: Draws the partners.

    Returns:
        For each row, the row whose state it gets [rows]: a permutation.
    """
    order = np.arange(len(tokens))
    _, numbers = np.unique(documents, return_inverse=True)
    # Documents in drawn order, rows within them too: the next document is a random one.
    drawn = rng.permutation(numbers.max() + 1)[numbers]
    by_token = np.lexsort((rng.permutation(len(tokens)), drawn, tokens))
    for rows in np.split(by_token, np.flatnonzero(np.diff(tokens[by_token])) + 1):
        if len(rows) > 1:
            # Rows of a document stand together: a step as long as the longest run leaves it.
            longest = int(np.unique(drawn[rows], return_counts=True)[1].max())
            order[rows] = np.roll(rows, longest if longest < len(rows) else 1)
    return order


def _start_of_text(checkpoint: Checkpoint) -> list[int]:
    """The token that :data:`START` means to this tokenizer, or nothing."""
    tokenizer = checkpoint.tokenizer
    candidates = (
        tokenizer.get_vocab().get(START),
        tokenizer.bos_token_id,
        tokenizer.eos_token_id,
    )
    known = [t for t in candidates if t is not None and t < checkpoint.prepared.vocabulary]
    return known[:1]


def _parts(rows: NDArray[np.int64]) -> list[NDArray[np.int64]]:
    return [rows[start : start + ROWS] for start in range(0, len(rows), ROWS)]
