"""A disk that runs full under judged cells, records and pictures; the cache's has its own tests."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from stillwired.cli import main
from stillwired.errors import RecordError
from stillwired.options import RunOptions
from stillwired.records.finish import finish
from stillwired.records.record import outcomes_path, read_record
from stillwired.records.run import RunFolder
from stillwired.records.session import Judge, Run, cell_of
from stillwired.report.curves_files import draw_beside
from stillwired.settings import Settings
from tests.report.made_curves import CLAIM, family, write
from tests.running import fill, small_disk


@pytest.fixture
def small(tmp_path: Path) -> Iterator[Path]:
    with small_disk(tmp_path / "small", "1m") as disk:
        yield disk


def files_in(folder: Path) -> set[str]:
    """Every file that is not the one that takes the room."""
    found = {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}
    return found - {"other"}


def run_into(record: Path) -> Run:
    run = Run(RunOptions(Settings(), record), RunFolder(record.with_suffix(".run"), "t"), print)
    run.folder.note("checkpoint", "m", {"name": "m", "layers": 9})
    return run


def judge(run: Run) -> None:
    cell = cell_of(CLAIM, {"checkpoint_spec": "m"}, "test", 0)
    Judge(run, "test", cell)(arm=family("linear", rows=4000))


def test_a_cell_that_finds_no_room_is_told_and_judged_when_there_is(small):
    run = run_into(small / "base.json")
    fill(small)
    before = files_in(small)
    with pytest.raises(RecordError, match="No space left on device") as caught:
        judge(run)
    assert "Free some space there, or name another place with --claims-record" in str(caught.value)
    assert files_in(small) == before
    assert run.folder.cells() == []
    (small / "other").unlink()
    judge(run)
    (one,) = finish(run)
    assert read_record(one.record).verdicts == list(one.verdicts)


def test_a_record_that_finds_no_room_leaves_its_cells_and_no_half_of_it(small):
    run = run_into(small / "base.json")
    judge(run)
    fill(small)
    before = files_in(small)
    with pytest.raises(RecordError, match=r"base\..* cannot be written: .*No space left on device"):
        finish(run)
    assert files_in(small) == before
    assert len(run.folder.cells()) == 1
    (small / "other").unlink()
    (one,) = finish(run)
    assert files_in(small) == {"base.json", outcomes_path(one.record).name}


def test_a_record_on_a_disk_with_no_room_for_pictures_stands_and_says_so(small, capsys):
    record = write(small / "base.json", family("linear"))
    fill(small)
    before = files_in(small)
    drawn = draw_beside(record)
    assert drawn.paths == ()
    assert "No space left on device" in drawn.problem
    assert f"stillwired curves {record}" in drawn.problem
    assert main(["curves", str(record)]) == 2
    assert "Free some space there, or name another place with --out" in capsys.readouterr().err
    assert files_in(small) == before
    read_record(record)
