"""One checkpoint, one worker: how pytest-xdist deals out the tests of several checkpoints.

xdist's own ``--dist loadgroup`` goes by marks, which workers hand over as a part of test ids; with
pytest 9.2 and xdist 3.8 that has no effect. Test ids name the checkpoint anyway.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from xdist.scheduler import LoadGroupScheduling


class CheckpointScheduling(LoadGroupScheduling):  # type: ignore[misc]
    """Keeps tests of one checkpoint in one worker; other tests go where there is room.

    Tests with an ``xdist_group`` of their own stay with that, where xdist knows of it.
    """

    def __init__(self, config: Any, log: Any, checkpoints: Sequence[str]) -> None:
        """Take xdist's arguments, and the checkpoints' names as test ids have them."""
        super().__init__(config, log)
        # The longest first: one name may begin another.
        names = "|".join(map(re.escape, sorted(checkpoints, key=len, reverse=True)))
        self._named = re.compile(rf"[\[-]({names})(?=[-\]])")

    def _split_scope(self, nodeid: str) -> str:
        scope: str = super()._split_scope(nodeid)
        # Parameters stand in brackets at the end.
        found = self._named.search(nodeid, nodeid.find("[")) if "[" in nodeid else None
        return scope if scope != nodeid or found is None else found[1]
