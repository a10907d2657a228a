"""The command-line options of a run: what they are called, what they mean, how they are read.

Plain data and plain functions. The plugin turns :data:`OPTIONS` into pytest options and ini
keys, hands the collected values back to :func:`parse`, and gets a :class:`RunOptions`.
"""

from __future__ import annotations

from stillwired.options.catalogue import INI_ONLY, OPTIONS, Option
from stillwired.options.parsing import Given, RunOptions, collect, parse
from stillwired.options.values import NDIF, check_layers, depth_id, model_ids, parse_layers

__all__ = [
    "INI_ONLY",
    "NDIF",
    "OPTIONS",
    "Given",
    "Option",
    "RunOptions",
    "check_layers",
    "collect",
    "depth_id",
    "model_ids",
    "parse",
    "parse_layers",
]
