"""From a record to its figures: which files they are, and what is said where there are none."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from stillwired.errors import RecordError
from stillwired.records.evidence import read_table
from stillwired.records.files import write_whole
from stillwired.records.record import Record, outcomes_path, read_record
from stillwired.report.curves import FEWEST, curves_of, places_of, published
from stillwired.report.vector_pictures import vector_pictures
from stillwired.report.vectors import outcome_ids

_AGAIN = "`stillwired curves {}` draws them later, with --out elsewhere."
_MISSING = "matplotlib cannot be imported ({}). Install it: pip install matplotlib."


@dataclass(frozen=True)
class Drawn:
    """What became of a record's figures.

    Attributes:
        paths: The files: curves by N, then pictures of function vectors.
        problem: Why there are none although there was something to draw; otherwise empty.
    """

    paths: tuple[Path, ...] = ()
    problem: str = ""


def curve_path(record: Path, ahead: int, folder: Path | None = None) -> Path:
    """Return the figure of one N: ``future-lens-N1.svg`` beside ``record.json``, or in a folder.

    A record with another name gives it to its figures: ``base.future-lens-N1.svg``.
    """
    return picture_path(record, f"future-lens-N{ahead}.svg", folder)


def picture_path(record: Path, name: str, folder: Path | None = None) -> Path:
    """Return a picture's file, likewise."""
    if record.name != "record.json":
        name = f"{record.stem}.{name}"
    return (folder or record.parent) / name


def draw(record: Record, folder: Path | None = None) -> list[Path]:
    """Draw what a record has: Future Lens curves, one file for each N, and function vectors.

    There are no curves where no reader was asked at enough depths, and of function vectors only
    what was measured.

    Args:
        record: The record.
        folder: Where the files go; None for the record's own folder.

    Raises:
        RecordError: If the record's table cannot be trusted, or a file cannot be written.
        ImportError: If matplotlib is not installed.
    """
    from stillwired.report.curves_figure import Heading, figure

    places = places_of(record.data)
    shown = [*places.values(), *outcome_ids(record.data)]
    described = {name: record.data["outcomes"][name] for name in shown}
    outcomes = read_table(outcomes_path(record.path), described) if described else {}
    name = record.data["checkpoint"].get("name") or "no checkpoint"
    heading = Heading(name, record.data["profile"])

    def pictures() -> Iterator[tuple[Path, str]]:
        for curves in curves_of(places, outcomes):
            path = curve_path(record.path, curves.ahead, folder)
            yield path, figure(curves, published(), heading)
        for file, svg in vector_pictures(record.data, outcomes, heading):
            yield picture_path(record.path, file, folder), svg

    paths = []
    for path, svg in pictures():

        def write(file: Path, svg: str = svg) -> None:
            file.write_text(svg, encoding="utf-8")

        write_whole(path, write)
        paths.append(path)
    return paths


def draw_beside(record: Path) -> Drawn:
    """Draw what a record has that a run has just written, beside it.

    The run is over and its record stands: whatever goes wrong here is told, and changes nothing.
    """
    try:
        return Drawn(tuple(draw(read_record(record))))
    except ImportError as error:
        problem = _MISSING.format(error)
    except RecordError as error:
        problem = str(error)
    except KeyboardInterrupt:
        problem = "Interrupted."
    except Exception as error:
        problem = f"{type(error).__name__}: {error}."
    return Drawn(problem=f"{problem} {_AGAIN.format(record)}")


def draw_again(record: Path, folder: Path | None) -> list[Path]:
    """Draw what a record has for somebody who asks for it.

    Raises:
        RecordError: If there are none, if the record cannot be trusted or a file not be written,
            or if matplotlib is not installed.
    """
    try:
        paths = draw(read_record(record), folder)
    except ImportError as error:
        raise RecordError(_MISSING.format(error)) from error
    except RecordError as error:
        raise RecordError(str(error).replace("--claims-record", "--out")) from error
    if not paths:
        raise RecordError(
            f"{record} has no curve to draw: no Future Lens reader was asked at {FEWEST} or more "
            "depths for any N, and no function vector was measured. Run claims that do: pytest "
            "claims/future_lens or pytest claims/function_vectors."
        )
    return paths
