"""What a forward pass was asked for."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from stillwired.engine.sites import Site
from stillwired.errors import EngineError


class Reading:
    """The states of one batch at the sites that were asked for.

    Shapes: [rows, positions, width], or [rows, width] at a site with a position. The width is
    the residual stream's, a head's width for ``head``, the vocabulary for ``logits``. In a
    padded batch a prompt's own tokens stand on the right, and entries left of them are zero.

    A reading holds its own batch and nothing else: no graph, no other batch.

    Attributes:
        rows: Indices into the prompts of the call, in the order of the tensors' rows.
        lengths: The prompts' lengths in tokens, in the same order.
    """

    __slots__ = ("_values", "lengths", "rows")

    def __init__(self, rows: list[int], lengths: list[int], values: Mapping[Site, Tensor]) -> None:
        self.rows = rows
        self.lengths = lengths
        self._values = dict(values)

    def __getitem__(self, site: Site) -> Tensor:
        try:
            return self._values[site]
        except KeyError:
            raise EngineError(
                f"The site {site} was not read. Name it among the sites of the call."
            ) from None

    def __contains__(self, site: Site) -> bool:
        return site in self._values

    def __len__(self) -> int:
        return len(self.rows)


def total(state: Tensor) -> Tensor:
    """Sum a state, in at least single precision: not finite if any entry is not.

    A sum costs little where the state was just computed and is still in the processor's cache.
    """
    return state.sum(dtype=torch.promote_types(state.dtype, torch.float32))


def check_finite(reading: Reading, totals: Mapping[Site, Tensor]) -> None:
    """Refuse a reading that holds a NaN or an infinity.

    Where a total overflows although every entry is finite, the entries themselves decide.

    Args:
        reading: The reading.
        totals: The `total` of every site.

    Raises:
        EngineError: If a value at one of the sites is not finite.
    """
    if bool(torch.isfinite(torch.stack(list(totals.values()))).all()):
        return
    for site in totals:
        bad = ~torch.isfinite(reading[site]).flatten(1).all(dim=1)
        if bool(bad.any()):
            rows = [reading.rows[index] for index in bad.nonzero().flatten().tolist()]
            raise EngineError(
                f"The states at {site} are not finite in prompts {_some(rows)}. Nothing can be "
                "concluded from them: try float32, and check the weights and any edit."
            )


def _some(rows: list[int]) -> str:
    """Name the first rows of a list, and how many more there are."""
    shown = ", ".join(str(row) for row in rows[:8])
    return shown if len(rows) <= 8 else f"{shown} and {len(rows) - 8} more"
