"""Memory of the host that a pass frees and the next one takes again.

The GNU C library gives large blocks back to the system as soon as they are freed, and the system
clears every page that it hands out anew. With a large vocabulary, logits alone are hundreds of
megabytes: training prompts of a model with 262,144 tokens, a fifth of the time went into that.
"""

from __future__ import annotations

import ctypes
import os
import sys

_TRIM_THRESHOLD, _TOP_PAD, _MMAP_THRESHOLD = -1, -2, -3
"""Parameters of the C library's ``mallopt``."""

KEPT = 2**30
"""Bytes that stay with the process when they are freed; what is free beyond goes back."""
LARGEST = 2**30
"""A larger block is taken from the system and given back by itself."""
GROWTH = 2**26
"""Bytes that are taken at once when more are needed."""


def keep_freed_memory() -> bool:
    """Let this process keep what it frees, from now on.

    It holds what it once needed at most until it ends, up to :data:`KEPT` more than it uses.
    Whoever has set the allocator up by ``MALLOC_…`` or ``GLIBC_TUNABLES`` is obeyed.

    Returns:
        Whether the allocator could be told: that of the GNU C library, and nothing set already.
    """
    by_hand = any(name.startswith(("MALLOC_", "GLIBC_TUNABLES")) for name in os.environ)
    if by_hand or not sys.platform.startswith("linux"):
        return False
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError):
        return False
    settings = ((_MMAP_THRESHOLD, LARGEST), (_TRIM_THRESHOLD, KEPT), (_TOP_PAD, GROWTH))
    return all(mallopt(name, value) == 1 for name, value in settings)
