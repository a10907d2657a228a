"""Which documents repeat an earlier one, so that a split by document really separates text.

Two documents are compared by their shingles, all runs of a few words. A document repeats
another when the shingles that they share make up a large part of the shorter of the two
(Broder's containment, "On the resemblance and containment of documents", 1997). All
shingles are compared, none is sampled, so that short quotations are judged as well as
long articles.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

WORDS = 5
CONTAINMENT = 0.4

_WORD = re.compile(r"\w+")
_HOLDERS = 8
"""A shingle that this many kept documents hold already is a phrase, not a trace of copying."""


def _multipliers(words: int) -> NDArray[np.uint64]:
    """Fixed odd 64-bit numbers (splitmix64), one for each word of a shingle."""
    values = []
    state = 0x9E3779B97F4A7C15
    for _ in range(words):
        state = (state + 0x9E3779B97F4A7C15) & 0xFFFFFFFFFFFFFFFF
        z = state
        z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & 0xFFFFFFFFFFFFFFFF
        z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & 0xFFFFFFFFFFFFFFFF
        values.append((z ^ (z >> 31)) | 1)
    return np.array(values, dtype=np.uint64)


def _shingles(texts: Sequence[str], words: int) -> list[NDArray[np.uint64]]:
    """Return the distinct shingles of each text, hashed; a short text is one shingle."""
    multipliers = _multipliers(words)
    numbers: dict[str, int] = {}
    result = []
    for text in texts:
        ids = np.array(
            [numbers.setdefault(word, len(numbers) + 1) for word in _WORD.findall(text.lower())],
            dtype=np.uint64,
        )
        if len(ids) < words:
            # Zeros stand for the missing words; no word has the number 0.
            ids = np.concatenate([ids, np.zeros(words - len(ids), dtype=np.uint64)])
        windows = np.lib.stride_tricks.sliding_window_view(ids, words)
        result.append(np.unique((windows * multipliers).sum(axis=1, dtype=np.uint64)))
    return result


def near_duplicates(
    texts: Sequence[str], *, words: int = WORDS, containment: float = CONTAINMENT
) -> list[int | None]:
    """Return for each text the earlier one that it repeats, or None if it is to be kept.

    Args:
        texts: Texts in order of preference; of two that repeat each other the first stays.
        words: Words in a shingle.
        containment: Smallest share of the shorter text's shingles that makes a repetition.
    """
    shingles = _shingles(texts, words)
    if not shingles:
        return []
    every, count = np.unique(np.concatenate(shingles), return_counts=True)
    shared = every[count > 1]
    holders: dict[int, list[int]] = {}
    repeats: list[int | None] = []
    for number, own in enumerate(shingles):
        at = np.minimum(np.searchsorted(shared, own), max(len(shared) - 1, 0))
        candidates = own[shared[at] == own].tolist() if len(shared) else []
        overlap: Counter[int] = Counter()
        for shingle in candidates:
            overlap.update(holders.get(shingle, ()))
        repeated = [
            other
            for other, common in overlap.items()
            if common >= containment * min(len(own), len(shingles[other]))
        ]
        if repeated:
            repeats.append(min(repeated))
            continue
        repeats.append(None)
        for shingle in candidates:
            kept = holders.setdefault(shingle, [])
            if len(kept) < _HOLDERS:
                kept.append(number)
    return repeats
