from __future__ import annotations

import sys

import pytest

from stillwired.errors import RecordError
from stillwired.records.record import read_record
from stillwired.report import curves_figure
from stillwired.report.curves_files import draw, draw_again, draw_beside, picture_path
from tests.report.made_curves import family, outcome, write

READ = (family("linear"), family("vocabulary"), outcome("bigram"))


@pytest.fixture
def record(tmp_path):
    return write(tmp_path / "record.json", *READ, family("linear", ahead=2))


def test_figures_lie_beside_their_record_and_carry_its_name(tmp_path):
    path = tmp_path / "record.json"
    assert picture_path(path, "future-lens-N1.svg") == tmp_path / "future-lens-N1.svg"
    assert (
        picture_path(path, "future-lens-N1.svg", tmp_path / "out")
        == tmp_path / "out" / "future-lens-N1.svg"
    )
    assert (
        picture_path(tmp_path / "record-m.json", "future-lens-N2.svg")
        == tmp_path / "record-m.future-lens-N2.svg"
    )


def test_a_record_is_drawn_n_by_n_with_the_same_bytes_each_time(record, tmp_path):
    drawn = draw_beside(record)
    assert drawn.problem == ""
    assert [path.name for path in drawn.paths] == ["future-lens-N1.svg", "future-lens-N2.svg"]
    first = [path.read_bytes() for path in drawn.paths]
    assert b"profile quick, 160 rows" in first[0]
    again = draw_again(record, tmp_path / "new" / "folder")
    assert [path.read_bytes() for path in again] == first
    assert {path.suffix for path in tmp_path.iterdir() if path.is_file()} == {
        ".json",
        ".parquet",
        ".svg",
    }


def test_only_what_is_drawn_is_read_from_the_table(tmp_path, monkeypatch):
    path = write(tmp_path / "base.json", *READ, outcome("linear", 0.5, states="shuffled"))
    asked = []
    real = draw.__globals__["read_table"]
    monkeypatch.setitem(
        draw.__globals__, "read_table", lambda at, some: asked.extend(some) or real(at, some)
    )
    (svg,) = draw(read_record(path))
    assert svg.name == "base.future-lens-N1.svg"
    assert len(asked) == 11
    assert len(read_record(path).data["outcomes"]) == 12


def test_a_record_without_curves_has_no_figures(tmp_path):
    path = write(tmp_path / "record.json", outcome("bigram"), family("linear", (0.1, 0.9)))
    drawn = draw_beside(path)
    assert (drawn.paths, drawn.problem) == ((), "")
    with pytest.raises(RecordError, match="no Future Lens reader was asked at 3 or more depths"):
        draw_again(path, None)
    assert not list(tmp_path.glob("*.svg"))


def test_without_matplotlib_the_reason_is_told(record, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    drawn = draw_beside(record)
    assert drawn.paths == ()
    assert drawn.problem.startswith("matplotlib cannot be imported")
    assert drawn.problem.endswith(
        f"`stillwired curves {record}` draws them later, with --out elsewhere."
    )
    with pytest.raises(RecordError, match="pip install matplotlib"):
        draw_again(record, None)


def test_a_folder_that_cannot_be_written_is_told(record, tmp_path):
    (tmp_path / "future-lens-N1.svg").mkdir()
    assert "future-lens-N1.svg cannot be written" in draw_beside(record).problem
    (tmp_path / "file").write_text("")
    with pytest.raises(RecordError, match=r"cannot be written.*with --out"):
        draw_again(record, tmp_path / "file")


@pytest.mark.parametrize(
    ("error", "says"),
    [(ValueError("odd"), "ValueError: odd."), (KeyboardInterrupt(), "Interrupted.")],
)
def test_nothing_that_goes_wrong_in_drawing_reaches_the_run(error, says, record, monkeypatch):
    def fail(*_):
        raise error

    monkeypatch.setattr(curves_figure, "figure", fail)
    assert draw_beside(record).problem.startswith(says)


def test_a_record_that_cannot_be_trusted_is_not_drawn(record):
    (record.parent / "outcomes.parquet").unlink()
    assert "outcomes are missing" in draw_beside(record).problem
    record.write_text("{}")
    assert "no record of stillwired" in draw_beside(record).problem
