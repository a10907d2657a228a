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
MISSING = "matplotlib cannot be imported ({}). Install it: pip install matplotlib."


@dataclass(frozen=True)
class Drawn:
    """What became of a record's figures.

    Attributes:
        paths: The files: curves by N, then pictures of function vectors.
        problem: Why there are none although there was something to draw; otherwise empty.
    """

    paths: tuple[Path, ...] = ()
    problem: str = ""


def picture_path(record: Path, name: str, folder: Path | None = None) -> Path:
    """Return a picture's file: ``future-lens-N1.svg`` beside ``record.json``, or in a folder.

    A record with another name gives it to its pictures: ``base.future-lens-N1.svg``.
    """
    if record.name != "record.json":
        name = f"{record.stem}.{name}"
    return (folder or record.parent) / name


def pictures(record: Record) -> Iterator[tuple[str, str]]:
    """Draw what a record has: Future Lens curves, one picture for each N, and function vectors.

    There are no curves where no reader was asked at enough depths, and of function vectors only
    what was measured.

    Yields:
        A picture's file name, such as ``future-lens-N1.svg``, and its SVG.

    Raises:
        RecordError: If the record's table cannot be trusted.
        ImportError: If matplotlib is not installed.
    """
    from stillwired.report.curves_figure import Heading, figure

    places = places_of(record.data)
    shown = [*places.values(), *outcome_ids(record.data)]
    described = {name: record.data["outcomes"][name] for name in shown}
    outcomes = read_table(outcomes_path(record.path), described) if described else {}
    name = record.data["checkpoint"].get("name") or "no checkpoint"
    heading = Heading(name, record.data["profile"])
    for curves in curves_of(places, outcomes):
        yield f"future-lens-N{curves.ahead}.svg", figure(curves, published(), heading)
    yield from vector_pictures(record.data, outcomes, heading)


def draw(record: Record, folder: Path | None = None) -> list[Path]:
    """Write the pictures of a record.

    Args:
        record: The record.
        folder: Where the files go; None for the record's own folder.

    Raises:
        RecordError: If the record's table cannot be trusted, or a file cannot be written.
        ImportError: If matplotlib is not installed.
    """
    paths = []
    for name, svg in pictures(record):

        def write(file: Path, svg: str = svg) -> None:
            file.write_text(svg, encoding="utf-8")

        path = picture_path(record.path, name, folder)
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
        problem = MISSING.format(error)
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
        raise RecordError(MISSING.format(error)) from error
    except RecordError as error:
        raise RecordError(str(error).replace("--claims-record", "--out")) from error
    if not paths:
        raise RecordError(
            f"{record} has no curve to draw: no Future Lens reader was asked at {FEWEST} or more "
            "depths for any N, and no function vector was measured. Run claims that do: pytest "
            "claims/future_lens or pytest claims/function_vectors."
        )
    return paths
