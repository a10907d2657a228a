"""Which prompts run together, and the tensors that they run as."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from stillwired.errors import EngineError

PAD_TOKEN = 0
"""What stands left of a short prompt. It is masked, so any token of the vocabulary does."""


@dataclass(frozen=True)
class Batch:
    """Prompts that run in one forward pass.

    Attributes:
        rows: Indices into the prompts of the call, ascending within equal lengths.
        lengths: The prompts' lengths, row by row.
        tokens: Token ids [rows, positions].
        mask: True where a token belongs to its prompt [rows, positions]; None where all do.
    """

    rows: tuple[int, ...]
    lengths: tuple[int, ...]
    tokens: Tensor
    mask: Tensor | None

    @property
    def inputs(self) -> Mapping[str, Any]:
        """Arguments of the model's forward.

        Without padding only the token ids are given: the model numbers the positions and
        builds its masks itself. With padding both are explicit, and every prompt counts its
        positions from its own first token, which is what makes absolute positions right.
        """
        if self.mask is None:
            return {"input_ids": self.tokens, "use_cache": False}
        positions = (self.mask.long().cumsum(dim=1) - 1).clamp(min=0)
        return {
            "input_ids": self.tokens,
            "attention_mask": self.mask.long(),
            "position_ids": positions,
            "use_cache": False,
        }


def check_prompts(prompts: Sequence[Sequence[int]], vocabulary: int, context: int) -> None:
    """Refuse prompts that the model cannot run.

    Raises:
        EngineError: If there is no prompt, or one is empty, longer than the model has
            positions for, or holds an id outside of the vocabulary.
    """
    if not prompts:
        raise EngineError("There are no prompts to run. Give at least one list of token ids.")
    for row, prompt in enumerate(prompts):
        if len(prompt) == 0:
            raise EngineError(f"Prompt {row} is empty. Every prompt needs at least one token.")
        if len(prompt) > context:
            raise EngineError(
                f"Prompt {row} has {len(prompt)} tokens, the model has positions for {context}. "
                "Cut it, or split it into several prompts."
            )
        if min(prompt) < 0 or max(prompt) >= vocabulary:
            raise EngineError(
                f"Prompt {row} holds a token id outside of 0 … {vocabulary - 1}. "
                "It was made by another tokenizer than this checkpoint's."
            )


def plan(lengths: Sequence[int], batch_tokens: int, *, pad: bool = False) -> list[tuple[int, ...]]:
    """Split rows into batches of at most `batch_tokens` tokens, longest prompts first.

    A prompt longer than `batch_tokens` runs alone. The plan depends on the lengths and on
    `batch_tokens` only, so that the same call always runs the same batches.

    Args:
        lengths: Length of every prompt, in tokens.
        batch_tokens: Upper bound of rows x positions in one batch.
        pad: Mix lengths and pad; otherwise a batch holds prompts of one length.

    Returns:
        Indices into `lengths`, batch by batch; every index exactly once.
    """
    if batch_tokens < 1:
        raise EngineError(f"A batch of {batch_tokens} tokens holds nothing. Ask for at least 1.")
    if pad:
        groups = [sorted(range(len(lengths)), key=lambda row: (-lengths[row], row))]
    else:
        by_length: dict[int, list[int]] = defaultdict(list)
        for row, length in enumerate(lengths):
            by_length[length].append(row)
        groups = [by_length[length] for length in sorted(by_length, reverse=True)]
    batches: list[tuple[int, ...]] = []
    for group in groups:
        start = 0
        while start < len(group):
            size = max(1, batch_tokens // lengths[group[start]])
            batches.append(tuple(group[start : start + size]))
            start += size
    return batches


def assemble(prompts: Sequence[Sequence[int]], rows: tuple[int, ...]) -> Batch:
    """Build the tensors of one batch, padded on the left where lengths differ."""
    lengths = tuple(len(prompts[row]) for row in rows)
    longest = max(lengths)
    tokens = torch.full((len(rows), longest), PAD_TOKEN, dtype=torch.long)
    for index, row in enumerate(rows):
        tokens[index, longest - lengths[index] :] = torch.as_tensor(prompts[row], dtype=torch.long)
    if min(lengths) == longest:
        return Batch(rows, lengths, tokens, None)
    starts = longest - torch.tensor(lengths)
    return Batch(rows, lengths, tokens, torch.arange(longest) >= starts[:, None])
