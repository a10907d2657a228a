from __future__ import annotations

import pytest
import torch

from stillwired.engine.batching import assemble
from stillwired.engine.edits import Edit, changes_in, check_edit
from stillwired.engine.sites import logits, residual
from stillwired.errors import EngineError

PROMPTS = [[1, 2, 3], [4, 5, 6], [7, 8], [9, 1, 2]]


def cut(edit: Edit, rows: tuple[int, ...]):
    return changes_in([(0, edit, slice(0, 4))], assemble(PROMPTS, rows))


def test_one_value_per_row_follows_its_row_into_any_batch():
    values = torch.arange(8.0).reshape(2, 4)
    edit = Edit(residual(0, -1), "replace", values, rows=[3, 0])
    (change,) = cut(edit, (0, 1, 3))
    state = torch.full((3, 3, 4), -1.0)
    change.apply(state)
    assert state[0, -1].tolist() == values[1].tolist()
    assert state[2, -1].tolist() == values[0].tolist()
    assert bool((state[1] == -1).all())
    assert bool((state[:, :-1] == -1).all())


def test_values_for_every_prompt_are_indexed_by_prompt():
    values = torch.arange(16.0).reshape(4, 4)
    (change,) = cut(Edit(residual(0), "add", values), (3, 1))
    state = torch.zeros(2, 3, 4)
    change.apply(state)
    assert bool((state[0] == values[3]).all())
    assert bool((state[1] == values[1]).all())


def test_an_edit_of_other_rows_leaves_a_batch_alone():
    assert cut(Edit(residual(0), "scale", 2.0, rows=[2]), (0, 1, 3)) == []


def test_padding_alone_does_not_count_as_a_change():
    (change,) = cut(Edit(residual(0), "add", 1.0), (0, 2))
    before = torch.zeros(2, 3, 4)
    after = before.clone()
    after[1, 0] = 1.0  # left of the short prompt
    assert change.differs(before, after).tolist() == [False, False]
    after[1, 2, 0] = 1.0
    assert change.differs(before, after).tolist() == [False, True]


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        (Edit(residual(0), "swap", 1.0), "no edit called"),  # type: ignore[arg-type]
        (Edit(logits(), "add", 1.0), "end of the pass"),
        (Edit(residual(0), "add", 1.0, rows=[]), "names no prompt"),
        (Edit(residual(0), "add", 1.0, rows=[1, 1]), "twice"),
        (Edit(residual(0), "add", 1.0, rows=[4]), "prompt 4, the call has 4"),
        (Edit(residual(0), "add", 1.0, rows=[-1]), "prompt -1"),
        (Edit(residual(0), "add", torch.ones(3)), r"shape \(3,\)"),
        (Edit(residual(0), "add", torch.ones(2, 4), rows=[0, 1, 2]), r"shape \(2, 4\)"),
        (Edit(residual(0), "add", float("nan")), "not finite"),
        (Edit(residual(0), "replace", torch.tensor([1.0, 2.0, 3.0, float("inf")])), "not finite"),
    ],
)
def test_edits_without_meaning_are_refused(edit, message):
    with pytest.raises(EngineError, match=message):
        check_edit(edit, prompts=4, width=4)
