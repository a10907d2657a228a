"""Follower tables: what counting pairs of tokens can foresee.

Future Lens (Section 4, bigram baseline) guesses the most frequent follower of the last token
that a reader knows. ``distance`` 1 is that bigram; larger distances skip the tokens between,
so the guess is made from the token at ``t`` alone.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class FollowerTable:
    """The most frequent token at a fixed distance after each token.

    Attributes:
        distance: How many tokens later the follower stands.
        followers: Best follower per token, [vocabulary]; unseen tokens back off to the most
            frequent follower of all.
        seen: Whether a token has been seen with a follower, [vocabulary].
    """

    distance: int
    followers: NDArray[np.int64]
    seen: NDArray[np.bool_]

    def guess(self, tokens: NDArray[np.int64]) -> NDArray[np.int64]:
        """Guess the follower of each token; same shape as ``tokens``."""
        guesses: NDArray[np.int64] = self.followers[tokens]
        return guesses

    def shuffled(self, rng: np.random.Generator) -> FollowerTable:
        """Deal the followers of seen tokens out again at random: the control that must fail."""
        followers = self.followers.copy()
        where = np.flatnonzero(self.seen)
        followers[where] = followers[rng.permutation(where)]
        return FollowerTable(self.distance, followers, self.seen)


def count_followers(
    texts: Iterable[Sequence[int]], vocabulary: int, distances: Sequence[int]
) -> dict[int, FollowerTable]:
    """Count followers within documents, for several distances in one pass.

    Args:
        texts: Token ids per document; pairs never reach across documents.
        vocabulary: Number of token ids.
        distances: How many tokens later the follower stands, each at least 1.

    Returns:
        One table per distance. Ties go to the follower that is more frequent overall, then to
        the smaller id, so that the result never depends on the order of the documents.
    """
    pairs: dict[int, list[NDArray[np.int64]]] = {distance: [] for distance in distances}
    for text in texts:
        tokens = np.asarray(text, dtype=np.int64)
        for distance in distances:
            pairs[distance].append(tokens[:-distance] * vocabulary + tokens[distance:])
    return {
        distance: _table(np.concatenate(found), vocabulary, distance)
        for distance, found in pairs.items()
    }


def _table(pairs: NDArray[np.int64], vocabulary: int, distance: int) -> FollowerTable:
    codes, counts = np.unique(pairs, return_counts=True)
    before, after = codes // vocabulary, codes % vocabulary
    overall = np.bincount(after, weights=counts, minlength=vocabulary)
    # The last of each group wins: sorted by token, then count, then overall count, then -id.
    order = np.lexsort((-after, overall[after], counts, before))
    followers = np.full(vocabulary, int(overall.argmax()), dtype=np.int64)
    followers[before[order]] = after[order]
    seen = np.zeros(vocabulary, dtype=bool)
    seen[before] = True
    return FollowerTable(distance, followers, seen)
