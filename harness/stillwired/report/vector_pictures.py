"""Which pictures of function vectors a record has, and their names."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

from stillwired.report.vectors import (
    Json,
    attention_of,
    depths_of,
    head_map_of,
    published_depths,
    templates_of,
)

if TYPE_CHECKING:
    from stillwired.outcomes import Outcome
    from stillwired.report.curves_figure import Heading


def vector_pictures(
    record: Json, outcomes: Mapping[str, Outcome], heading: Heading
) -> Iterator[tuple[str, str]]:
    """Draw what a record knows of function vectors.

    Args:
        record: The record's content.
        outcomes: Those that `vectors.outcome_ids` names, by id.
        heading: What the pictures say of the run.

    Yields:
        A picture's file name, such as ``function-vectors-heads.svg``, and its SVG.

    Raises:
        ImportError: If matplotlib is not installed.
    """
    from stillwired.report import (
        vector_attention_figure,
        vector_depth_figure,
        vector_heads_figure,
        vector_templates_figure,
    )

    heads = head_map_of(record)
    if heads is not None:
        yield "function-vectors-heads.svg", vector_heads_figure.figure(heads, heading)
    depths = depths_of(record, outcomes)
    if depths is not None:
        svg = vector_depth_figure.figure(depths, published_depths(), heading)
        yield "function-vectors-depth.svg", svg
    templates = templates_of(record, outcomes)
    if templates is not None:
        yield "function-vectors-templates.svg", vector_templates_figure.figure(templates, heading)
    attention = attention_of(record, outcomes)
    if attention is not None:
        # A task may be the user's own file, and be called anything.
        task = re.sub(r"[^\w.-]+", "-", attention.task)
        name = f"function-vectors-attention-{task}.svg"
        yield name, vector_attention_figure.figure(attention, heading)
