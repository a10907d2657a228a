"""Checks between a model's files and its use: nothing missing, nothing made up, nothing broken.

transformers fills weights that a file lacks with random numbers and only logs it. A verdict about
such a model would be about chance, so here it is an error.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from stillwired.errors import CheckpointError, UsageError

if TYPE_CHECKING:
    from torch import nn

# Families pad the embedding to a round number of rows; none in use leaves more than 2 % unused,
# while a tokenizer of another model is usually far off.
_LEAST_COVERED = 0.95
_SHOWN = 3


@contextlib.contextmanager
def quiet_progress() -> Iterator[None]:
    """Keep transformers from drawing progress bars; a run draws its own."""
    from transformers.utils import logging

    shown = logging.is_progress_bar_enabled()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        if shown:
            logging.enable_progress_bar()


@contextlib.contextmanager
def panics_told(what: str) -> Iterator[None]:
    """Turn a panic of the tokenizer's native code, which is no Exception, into an error.

    A pre-tokenizer's pattern can take exponentially long. Its engine gives up after ten million
    steps at one place, a fifth of a second, and panics.

    Args:
        what: The checkpoint, for the message.

    Raises:
        CheckpointError: If the block panics.
    """
    try:
        yield
    except BaseException as error:
        if type(error).__name__ != "PanicException":
            raise
        raise CheckpointError(
            f"The tokenizer of {what} gave up: {error}. Its tokenizer.json is damaged, or has a "
            "pattern that cannot be matched in reasonable time. Use the published tokenizer."
        ) from error


def check_loaded(info: Mapping[str, Any], what: str) -> None:
    """Check that the weights on disk and those of the model were the same set.

    Args:
        info: What ``from_pretrained(..., output_loading_info=True)`` returned.
        what: The checkpoint, for the message.

    Raises:
        CheckpointError: If weights are missing, left over, or of another shape.
    """
    troubles = (
        ("missing_keys", "are missing, and would have been random"),
        ("unexpected_keys", "belong to no part of the model"),
        ("mismatched_keys", "have another shape than the model"),
        ("error_msgs", "could not be loaded"),
    )
    for key, trouble in troubles:
        found = sorted(
            str(item if isinstance(item, str) else item[0]) for item in info.get(key) or ()
        )
        if found:
            raise CheckpointError(
                f"Weights of {what} {trouble}: {_some(found)}. Use a whole checkpoint of one "
                "architecture, and the config.json that came with it."
            )


def check_spread(model: Any, what: str) -> None:
    """Check that a model that was spread over devices lies on GPUs alone.

    Weights that wait on a disk or in the machine's memory are fetched for each pass, and are not
    there when a reader asks for the unembedding.

    Raises:
        UsageError: If some of it lies elsewhere.
    """
    away = sorted(
        path for path, place in model.hf_device_map.items() if str(place) in ("cpu", "disk")
    )
    if away:
        raise UsageError(
            f"{what} is too large for the GPUs: {_some(away)} would lie elsewhere. Use a smaller "
            "dtype, more GPUs, or a smaller checkpoint."
        )


def check_finite(model: nn.Module, what: str) -> None:
    """Check that every weight is a finite number.

    Raises:
        CheckpointError: If one is infinite or not a number; the message names its tensor.
    """
    import torch

    broken = []
    for name, parameter in model.named_parameters():
        if not parameter.is_floating_point():
            continue
        # A sum is several times faster than looking at each number, and a sum that is finite has
        # no broken part. One that is not may only have overflowed, so then each is looked at.
        total = parameter.detach().sum(dtype=torch.float32)
        if not torch.isfinite(total) and not torch.isfinite(parameter).all():
            broken.append(name)
    if broken:
        raise CheckpointError(
            f"Weights of {what} are infinite or not a number: {_some(broken)}. The checkpoint is "
            "damaged, or its dtype is too narrow for it: fetch it again, or use float32."
        )


def check_tokenizer(tokenizer: Any, rows: int, what: str) -> None:
    """Check that the tokenizer's ids are rows of the embedding.

    Special tokens may lie beyond it, as in text models cut out of multimodal ones: ordinary text
    never contains them.

    Args:
        tokenizer: A transformers tokenizer.
        rows: Rows of the embedding.
        what: The checkpoint, for the message.

    Raises:
        CheckpointError: If ordinary tokens have no row, or too many rows have no token.
    """
    special = set(tokenizer.all_special_ids) | {
        id_ for id_, token in tokenizer.added_tokens_decoder.items() if token.special
    }
    ids = set(tokenizer.get_vocab().values())
    highest = max(ids - special, default=-1)
    covered = sum(id_ < rows for id_ in ids)
    if highest >= rows or covered < _LEAST_COVERED * rows:
        raise CheckpointError(
            f"The tokenizer of {what} does not match its embedding: {len(ids)} tokens with ids up "
            f"to {max(ids, default=-1)}, and {rows} rows. Save the tokenizer that the model was "
            "trained with beside the weights."
        )


def _some(names: list[str]) -> str:
    more = len(names) - _SHOWN
    return ", ".join(names[:_SHOWN]) + (f" and {more} more" if more > 0 else "")
