"""Vectors across formats: extracted from prompts of one format, inserted into questions of another.

One cell a pair, with its number. Below stand what the claim compares: the mean over all other
formats, and the hits without a vector.
"""

from __future__ import annotations

import math

from stillwired.report.curves import Point
from stillwired.report.curves_figure import Heading
from stillwired.report.drawing import (
    GREY,
    INK,
    LEFT,
    TOP,
    Sheet,
    Words,
    counted,
    ink_on,
    note_on_left_out,
    picture,
    shortened,
)
from stillwired.report.vectors import Templates

_COLOURS = "Blues"
_NAMES = 1.75  # for the rows' names, in inches
_FEW = 6  # formats up to which cells have room for their intervals
_ABOVE, _BETWEEN = 0.55, 0.14  # for the columns' names; before the rows of what is compared
OTHERS, WITHOUT = "mean of other formats", "without a vector"
"""Rows that are no format."""


def figure(templates: Templates, heading: Heading) -> str:
    """Draw the matrix as SVG.

    Raises:
        ImportError: If matplotlib is not installed.
    """
    wide, tall = _cell(templates)
    slanted = _slanted(templates, wide)
    above = _ABOVE + (0.85 if slanted else 0.0)
    rows = len(templates.sources) + 2
    height = above + rows * tall + _BETWEEN + 0.1

    def draw(sheet: Sheet) -> None:
        upper = TOP + above
        _columns(sheet, templates, wide, upper, slanted)
        _rows(sheet, templates, wide, tall, upper)
        right = LEFT + _NAMES + len(templates.targets) * wide
        marks = {k / 4: f"{k / 4:g}" for k in range(5)}
        words = "share of questions answered rightly"
        sheet.scale(right + 0.45, upper, min(rows * tall, 2.6), _colour, marks, words)

    return picture(_words(templates, heading), height, draw)


def described(templates: Templates, heading: Heading) -> str:
    """Say in words what the matrix shows."""
    sentences = [
        f"{heading.name}, profile {heading.profile}: share of zero-shot questions answered "
        f"rightly, mean over {_tasks(templates)}, with 95 % intervals over {_units(templates)}."
    ]
    for target in templates.targets:
        cells = [
            f"{_said(templates.cells[of, target])} with the vector from {of}"
            for of in templates.sources
            if (of, target) in templates.cells
        ]
        sentences.append(
            f"Written as {target}: {', '.join(cells)}; {_said(templates.others[target])} on "
            f"average over the other formats, {_said(templates.without[target])} without a vector."
        )
    if templates.left_out:
        sentences.append(f"Left out: {', '.join(templates.left_out)}.")
    return " ".join(sentences)


def _words(templates: Templates, heading: Heading) -> Words:
    notes = [
        "Share of zero-shot questions answered rightly, each task counting once. Outlined: the "
        "vector was extracted from prompts in the questions' own format; every other cell is a "
        "transfer. Compared by the claim: the two rows below.",
    ]
    if len(templates.targets) <= _FEW:
        notes.append(f"Small: 95 % intervals over {_units(templates)}.")
    if templates.left_out:
        notes.append(note_on_left_out(templates.left_out))
    return Words(
        title="Function vectors: extracted from prompts in one format, inserted into another",
        name=heading.name,
        profile=heading.profile,
        under=f"mean over {_tasks(templates)}",
        notes=tuple(notes),
        said=described(templates, heading),
    )


def _columns(sheet: Sheet, templates: Templates, wide: float, upper: float, slanted: bool) -> None:
    """Name the columns above them."""
    start = LEFT + _NAMES
    middle = start + len(templates.targets) * wide / 2
    sheet.text(middle, TOP + 0.12, "inserted into questions written as", ha="center", color=GREY)
    uneven = len({len(tasks) for tasks in templates.tasks.values()}) > 1
    for number, target in enumerate(templates.targets):
        across = start + (number + 0.5) * wide
        name = shortened(target, 18)
        if uneven:
            name += f" ({len(templates.tasks[target])})"
        if slanted:
            looks = {"rotation": 40, "ha": "left", "va": "bottom", "rotation_mode": "anchor"}
            sheet.text(across - 0.04, upper - 0.06, name, **looks)
        else:
            sheet.text(across, upper - 0.1, name, ha="center")


def _rows(sheet: Sheet, templates: Templates, wide: float, tall: float, upper: float) -> None:
    """Draw the cells row by row."""
    start, sources = LEFT + _NAMES, len(templates.sources)
    middle = upper + sources * tall / 2
    looks = {"rotation": 90, "ha": "center", "va": "center", "color": GREY}
    sheet.text(LEFT - 0.22, middle, "vector extracted from", **looks)
    for place, row in enumerate([*templates.sources, OTHERS, WITHOUT]):
        top = upper + place * tall + (_BETWEEN if place >= sources else 0.0)
        name = shortened(row, 22)
        sheet.text(start - 0.12, top + tall / 2, name, ha="right", va="center_baseline")
        for number, target in enumerate(templates.targets):
            point = {OTHERS: templates.others, WITHOUT: templates.without}.get(row, {}).get(target)
            if place < sources:
                point = templates.cells.get((row, target))
            if point is not None:
                _draw_cell(sheet, point, start + number * wide, top, wide, tall)
    for number, target in enumerate(templates.targets):
        if target in templates.sources:
            top = upper + templates.sources.index(target) * tall
            looks = {"facecolor": "none", "edgecolor": INK, "linewidth": 1.5, "zorder": 4}
            sheet.box(start + number * wide, top, wide - 0.02, tall - 0.02, **looks)


def _draw_cell(
    sheet: Sheet, point: Point, left: float, top: float, wide: float, tall: float
) -> None:
    colour = _colour(point.value)
    sheet.box(left, top, wide - 0.02, tall - 0.02, facecolor=colour)
    ink = ink_on(colour)
    roomy = wide > 0.9
    across, down = left + wide / 2 - 0.01, top + tall / 2 - 0.01
    looks = {"ha": "center", "va": "center_baseline", "color": ink}
    if roomy and math.isfinite(point.low):
        sheet.text(across, down - 0.08, f"{point.value:.2f}", fontsize=11, **looks)
        ends = f"{max(point.low, 0):.2f}–{min(point.high, 1):.2f}"
        sheet.text(across, down + 0.12, ends, fontsize=7.5, **looks)
    else:
        size = 11 if roomy else 9 if wide >= 0.5 else 8
        sheet.text(across, down, f"{point.value:.2f}", fontsize=size, **looks)


def _colour(value: float) -> tuple[float, float, float]:
    """Return the colour of a share; the darkest of the map stay unused, for the numbers' sake."""
    import matplotlib as mpl

    red, green, blue, _ = mpl.colormaps[_COLOURS](0.04 + 0.8 * min(max(value, 0.0), 1.0))
    return red, green, blue


def _cell(templates: Templates) -> tuple[float, float]:
    """Return width and height of a cell, in inches."""
    many = len(templates.targets)
    if many <= _FEW:
        return min(7.7 / many, 1.75), 0.58
    return max(min(7.7 / many, 0.9), 0.4), 0.33


def _slanted(templates: Templates, wide: float) -> bool:
    longest = max(len(shortened(target, 18)) for target in templates.targets)
    return longest * 0.088 > wide - 0.05


def _tasks(templates: Templates) -> str:
    counts = {len(tasks) for tasks in templates.tasks.values()}
    if len(counts) == 1:
        return counted(counts.pop(), "task")
    return f"{min(counts)} to {max(counts)} tasks, their number beside each column"


def _units(templates: Templates) -> str:
    """Say over what the intervals are."""
    alone = {len(tasks) == 1 for tasks in templates.tasks.values()}
    if alone == {True}:
        return "questions"
    return "tasks" if alone == {False} else "tasks, or over questions where there is one task"


def _said(point: Point) -> str:
    if not math.isfinite(point.low):
        return f"{point.value:.3f}"
    return f"{point.value:.3f} ({point.low:.3f} to {point.high:.3f})"
