"""What is asked of a lens, and what that means for one model: its tokens, its layers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from stillwired.checkpoints.checkpoint import Checkpoint
from stillwired.errors import UsageError
from stillwired.instruments.depths import resolve_depth
from stillwired.profiles import QUICK, Profile

ALL_LAYERS = 48
"""Models of up to this many blocks are read at each of them."""

SOME_LAYERS = 24
"""Blocks that are read of deeper models."""

FURTHEST_AHEAD = 16
"""Longest free run: what a state says that far ahead is the model talking to itself."""


@dataclass(frozen=True)
class Task:
    """What is asked of a lens.

    Attributes:
        text: The text that is read.
        logit: Whether the logit lens reads it.
        layers: Relative depths (float) or block numbers (int); empty as in `layers_of`.
        ahead: The largest N of the free run.
        depth: Where the prompt is trained.
        profile: How much text it is trained on.
        seed: The suite's seed, of its training.
    """

    text: str
    logit: bool = False
    layers: tuple[float | int, ...] = ()
    ahead: int = 3
    depth: float | int = 0.5
    profile: Profile = QUICK
    seed: int = 0

    def __post_init__(self) -> None:
        if not 0 <= self.ahead <= FURTHEST_AHEAD:
            raise UsageError(
                f"A state is read for 0 to {FURTHEST_AHEAD} tokens ahead, not for {self.ahead}."
            )
        if self.seed < 0:
            raise UsageError(f"The seed {self.seed} is negative. Give a whole number from 0 on.")


def tokens_of(checkpoint: Checkpoint, text: str) -> list[int]:
    """Tokenise a text as the model reads it, with what the tokenizer puts before it.

    Raises:
        UsageError: If there is nothing to read, or more than the model has positions for.
    """
    try:
        text.encode()
    except UnicodeEncodeError:
        raise UsageError("The text is not valid UTF-8. Give it in UTF-8.") from None
    (tokens,) = checkpoint.encode([text]) if text else ([],)
    if not tokens:
        raise UsageError("The text is empty, so there is no token to read. Give some text.")
    whole = [*checkpoint.prefix, *tokens]
    context = checkpoint.anatomy.context
    if context is not None and len(whole) > context:
        raise UsageError(
            f"The text has {len(whole):,} tokens, and {checkpoint.name} has positions for "
            f"{context:,}. Give a shorter text."
        )
    return whole


def layers_of(asked: Sequence[float | int], blocks: int) -> tuple[int, ...]:
    """Choose the blocks that are read.

    Args:
        asked: Relative depths (float) or block numbers (int). Nothing means all blocks, or
            24 evenly spread ones, the first and the last among them, of more than 48.
        blocks: Blocks of the model.

    Raises:
        UsageError: If there is no such block.
    """
    if asked:
        return tuple(sorted({resolve_depth(depth, blocks).block for depth in asked}))
    if blocks <= ALL_LAYERS:
        return tuple(range(blocks))
    return tuple(round(k * (blocks - 1) / (SOME_LAYERS - 1)) for k in range(SOME_LAYERS))
