"""Changes at sites: what they are, and how they are applied to a batch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from stillwired.engine.batching import Batch
from stillwired.engine.sites import Site
from stillwired.errors import EngineError

How = Literal["replace", "add", "scale"]
HOWS: tuple[How, ...] = ("replace", "add", "scale")


@dataclass(frozen=True, eq=False)
class Edit:
    """A change at a site.

    Attributes:
        site: Where. Without a position, every position of the prompt is changed.
        how: ``replace`` the site by the value, ``add`` the value to it, or ``scale`` it by
            the value.
        value: A number, a vector [width] (a head's width for ``head``) for every row, or one
            vector per row [rows, width].
        rows: The prompts of the call that are changed; None for all of them.
    """

    site: Site
    how: How
    value: Tensor | float
    rows: Sequence[int] | None = None

    def __str__(self) -> str:
        return f"{self.how} at {self.site}"


@dataclass(frozen=True, eq=False)
class Change:
    """An edit, cut to one batch.

    Attributes:
        number: Which of the call's edits this is.
        rows: The batch's rows that are changed [changed].
        position: Counted from the right, or None for every position.
        columns: The part of the width that is changed.
        how: As in `Edit`.
        value: A number, [width] or [changed, 1, width].
        mask: True at the rows' own tokens [changed, positions], or None without padding.
    """

    number: int
    rows: Tensor
    position: int | None
    columns: slice
    how: How
    value: Tensor | float
    mask: Tensor | None

    def region(self, state: Tensor) -> Tensor:
        """Return a copy of what the change concerns [changed, positions, columns]."""
        return state[(self.rows, self._positions(state), self.columns)]

    def apply(self, state: Tensor) -> None:
        """Change a state in place."""
        where = (self.rows, self._positions(state), self.columns)
        value = self.value
        if isinstance(value, Tensor):
            value = value.to(device=state.device, dtype=state.dtype)
        if self.how == "replace":
            state[where] = value
        elif self.how == "add":
            state[where] = state[where] + value
        else:
            state[where] = state[where] * value

    def differs(self, before: Tensor, after: Tensor) -> Tensor:
        """Say for every changed row whether the site differs, on its own tokens."""
        different = (self.region(before) != self.region(after)).any(dim=-1)
        if self.mask is not None and self.position is None:
            different &= self.mask.to(different.device)
        return different.any(dim=-1)

    def _positions(self, state: Tensor) -> slice:
        if self.position is None:
            return slice(None)
        index = state.shape[1] + self.position
        return slice(index, index + 1)


def check_edit(edit: Edit, prompts: int, width: int) -> None:
    """Refuse an edit that has no meaning for the prompts of a call.

    Args:
        edit: The edit.
        prompts: Number of prompts in the call.
        width: Width of the edit's site.

    Raises:
        EngineError: If the edit's kind, rows or value do not fit, or the value is not finite.
    """
    if edit.how not in HOWS:
        raise EngineError(
            f"There is no edit called {edit.how!r}. Choose one of: {', '.join(HOWS)}."
        )
    if edit.site.component == "logits":
        raise EngineError(
            f"The edit {edit} would change nothing after it: logits are the end of the pass. "
            "Edit an earlier site, or change the logits that were read."
        )
    rows = range(prompts) if edit.rows is None else edit.rows
    if len(rows) == 0 or len(set(rows)) != len(rows):
        raise EngineError(
            f"The edit {edit} names no prompt, or one of them twice. Name each prompt once."
        )
    if min(rows) < 0 or max(rows) >= prompts:
        raise EngineError(
            f"The edit {edit} names prompt {max(rows) if min(rows) >= 0 else min(rows)}, the call "
            f"has {prompts}. Rows are indices into the prompts of the call, from 0."
        )
    value = torch.as_tensor(edit.value)
    if value.dim() and tuple(value.shape) not in {(width,), (len(rows), width)}:
        raise EngineError(
            f"The value of the edit {edit} has shape {tuple(value.shape)}. It must be a number, "
            f"a vector ({width},), or one vector per changed prompt ({len(rows)}, {width})."
        )
    if not bool(torch.isfinite(value).all()):
        raise EngineError(
            f"The value of the edit {edit} is not finite. Look for an overflow or an empty mean "
            "where the value was computed."
        )


def changes_in(edits: Sequence[tuple[int, Edit, slice]], batch: Batch) -> list[Change]:
    """Cut edits to the rows of one batch; edits that concern none of them are left out.

    Args:
        edits: Number, edit, and the columns of the edit's site, in the order of the call.
        batch: The batch.
    """
    changes = []
    for number, edit, columns in edits:
        wanted = {
            row: index for index, row in enumerate(batch.rows if edit.rows is None else edit.rows)
        }
        here = [index for index, row in enumerate(batch.rows) if row in wanted]
        if not here:
            continue
        rows = torch.tensor(here)
        value = edit.value
        if isinstance(value, Tensor) and value.dim() == 2:
            picked = [batch.rows[index] for index in here]
            if edit.rows is not None:
                picked = [wanted[row] for row in picked]
            value = value[torch.tensor(picked, device=value.device)].unsqueeze(1)
        mask = None if batch.mask is None else batch.mask[rows]
        changes.append(Change(number, rows, edit.site.position, columns, edit.how, value, mask))
    return changes
