from __future__ import annotations

import pytest

from stillwired.errors import RecordError
from stillwired.records.record import read_record
from stillwired.report.curves_figure import Heading
from stillwired.report.curves_files import draw, draw_again, draw_beside
from stillwired.report.vector_pictures import vector_pictures
from tests.report import made_curves
from tests.report.made_vectors import depth_cell, head_map, pattern, record_of, write

NAMES = [
    "function-vectors-heads.svg",
    "function-vectors-depth.svg",
    "function-vectors-templates.svg",
    "function-vectors-attention-present-past.svg",
]


def test_a_record_has_its_pictures_beside_it_and_the_same_bytes_again(tmp_path):
    record = write(tmp_path / "record.json", unable=("verb-ing",))
    drawn = draw_beside(record)
    assert drawn.problem == ""
    assert [path.name for path in drawn.paths] == NAMES
    again = draw_again(record, tmp_path / "out")
    assert [path.read_bytes() for path in again] == [path.read_bytes() for path in drawn.paths]
    depth = drawn.paths[1].read_text()
    assert "mean of 2 tasks" in depth
    assert "check failed: verb-ing." in depth
    assert ">m<" in depth


def test_without_kept_figures_there_are_those_of_outcomes(tmp_path):
    record = write(tmp_path / "base.json", tasks=("antonym",), figures=False)
    assert [path.name for path in draw(read_record(record))] == [
        "base.function-vectors-depth.svg",
        "base.function-vectors-templates.svg",
    ]


def test_a_model_that_can_do_none_of_the_tasks_has_none(tmp_path):
    record = write(tmp_path / "r.json", tasks=("antonym",), unable=("antonym",), figures=False)
    assert draw_beside(record) == type(draw_beside(record))()
    with pytest.raises(RecordError, match="no function vector was measured"):
        draw_again(record, None)


def test_only_what_is_drawn_is_read_from_the_table(tmp_path, monkeypatch):
    record = write(tmp_path / "r.json", tasks=("antonym", "present-past"), unable=("antonym",))
    asked = []
    real = draw.__globals__["read_table"]
    monkeypatch.setitem(
        draw.__globals__, "read_table", lambda at, some: asked.extend(some) or real(at, some)
    )
    draw(read_record(record))
    described = read_record(record).data["outcomes"]
    names = {described[name]["name"] for name in asked}
    assert {name.split(":")[0] for name in names} == {"present-past"}
    # Eleven depths and none; nine pairs, and two arms for each of three formats; two groups.
    assert len(asked) == 12 + 9 + 6 + 2


def test_a_map_alone_needs_no_table(tmp_path):
    record, outcomes = record_of(figures={"head map": head_map()})
    assert [name for name, _ in vector_pictures(record, outcomes, Heading("m", "quick"))] == [
        "function-vectors-heads.svg"
    ]


def test_a_task_may_be_called_anything():
    figures = {"attention, ../my task: ä": pattern()}
    record, outcomes = record_of(depth_cell("a", 0.5), figures=figures)
    names = [name for name, _ in vector_pictures(record, outcomes, Heading("m", "quick"))]
    assert names == [
        "function-vectors-depth.svg",
        "function-vectors-attention-..-my-task-ä.svg",
    ]


def test_curves_of_future_lens_are_drawn_as_they_were(tmp_path):
    record = made_curves.write(tmp_path / "record.json", made_curves.family("linear"))
    assert [path.name for path in draw_beside(record).paths] == ["future-lens-N1.svg"]
