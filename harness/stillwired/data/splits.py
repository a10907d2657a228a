"""Which documents maps are fitted on, which ones choose, and which ones judge.

The split is by document, since documents are the clusters, and within each domain, since a
domain of seventy documents split by chance alone could leave the judged part with five.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable

from stillwired.data.document import Document

SPLITS = ("fit", "choose", "judge")
CYCLE = 20
"""Documents in which every split occurs: 14 to fit, 1 to choose, 5 to judge."""
_JUDGE = frozenset({2, 6, 10, 14, 18})
_CHOOSE = frozenset({8})


def assign_splits(documents: Iterable[Document]) -> dict[str, str]:
    """Return the split of every document, by id: 70 % fit, 5 % choose, 25 % judge.

    The documents of a domain are ordered by a hash of their id and dealt out in a fixed
    cycle, so shares are exact in every domain and the order of the input does not matter.
    """
    by_domain: dict[str, list[str]] = {}
    for document in documents:
        by_domain.setdefault(document.domain, []).append(document.id)
    splits: dict[str, str] = {}
    for ids in by_domain.values():
        ids.sort(key=lambda identity: (hashlib.sha256(identity.encode()).digest(), identity))
        for rank, identity in enumerate(ids):
            place = rank % CYCLE
            splits[identity] = (
                "judge" if place in _JUDGE else "choose" if place in _CHOOSE else "fit"
            )
    return splits
