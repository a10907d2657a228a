"""Hits by the depth at which a function vector is inserted: every task, their mean, and GPT-J's."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from stillwired.report.curves import Point
from stillwired.report.curves_figure import Heading
from stillwired.report.drawing import (
    GREY,
    INK,
    LEFT,
    RULE,
    TOP,
    Sheet,
    Words,
    counted,
    note_on_left_out,
    picture,
    shortened,
)
from stillwired.report.vectors import Depths, PublishedDepths

if TYPE_CHECKING:
    from matplotlib.axes import Axes

BANDS = (("early to middle", 0.2, 0.6), ("late", 0.8, 1.0))
"""Ranges of relative depth that the claim compares."""
COLOURED = 10
"""Tasks that can be told apart by colour and dashes; more are drawn alike."""

_HEIGHT, _WIDE, _TALL = 4.56, 6.75, 4.0
_KEYS = 7.75  # where the keys begin, in inches
_EDGE = 0.02  # a declared depth at a band's edge may stand a little beyond, rounded to a block
_ROW = 0.205
_SHADES = ("#edf3f8", "#f5f1ea")
# Okabe and Ito's, without the black that the mean has and the yellow that paper swallows.
_COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#56b4e9")
_DASHES: tuple[Any, ...] = ("-", (0, (3.5, 1.6)))
_ALIKE = "#5b8db8"
_POINTS: dict[str, Any] = {"marker": "o", "markersize": 3.0, "markerfacecolor": "white"}
_ENDS = 4  # tasks listed from either end where not all are


def figure(ours: Depths, theirs: PublishedDepths, heading: Heading) -> str:
    """Draw hits by depth as SVG.

    Raises:
        ImportError: If matplotlib is not installed.
    """

    def draw(sheet: Sheet) -> None:
        axes = sheet.axes(LEFT, TOP, _WIDE, _TALL)
        top = _top(ours, theirs)
        _frame(axes, top)
        _lines(axes, ours, theirs, top)
        _keys(sheet, ours, theirs)

    return picture(_words(ours, theirs, heading), _HEIGHT, draw)


def described(ours: Depths, theirs: PublishedDepths, heading: Heading) -> str:
    """Say in words what the picture shows."""
    where = [f"{p.value:.3f} at {p.depth:.2f} ({_between(p)})" for p in ours.mean]
    best = [(task, _best(points)) for task, points in ours.tasks.items()]
    tasks = [
        f"{task}: at most {point.value:.3f}, at {point.depth:.2f}, "
        f"{ours.without[task].value:.3f} without a vector."
        for task, point in best
    ]
    told = [f"{point.value:.3f} at {point.depth:.2f}" for point in theirs.points]
    return " ".join(
        [
            f"{heading.name}, profile {heading.profile}: share of zero-shot questions answered "
            "rightly, by relative depth at which the vector is inserted, with 95 % intervals over "
            f"{_units(ours)}.",
            f"Mean over {counted(len(ours.tasks), 'task')}: {', '.join(where)}.",
            f"Without a vector: {ours.level.value:.3f} ({_between(ours.level)}).",
            *tasks,
            *([f"Left out: {', '.join(ours.left_out)}."] if ours.left_out else []),
            f"{theirs.model}, {theirs.task}: {', '.join(told)}, at most "
            f"{theirs.rest[0].value:.2f} from {theirs.rest[0].depth:.2f} on.",
            theirs.source,
        ]
    )


def ranked(ours: Depths) -> list[str]:
    """Return the tasks, the one with most hits at any depth first."""
    return sorted(ours.tasks, key=lambda task: (-_best(ours.tasks[task]).value, task))


def looks_of(ours: Depths) -> dict[str, dict[str, Any]]:
    """Return how each task's line looks: its own colour and dashes, or all alike if many."""
    if len(ours.tasks) > COLOURED:
        return {task: {"color": _ALIKE, "linewidth": 0.8, "alpha": 0.55} for task in ours.tasks}
    return {
        task: {
            "color": _COLOURS[k % len(_COLOURS)],
            "linestyle": _DASHES[k // len(_COLOURS)],
            "linewidth": 1.1,
            "alpha": 0.9,
        }
        for k, task in enumerate(ranked(ours))
    }


def _words(ours: Depths, theirs: PublishedDepths, heading: Heading) -> Words:
    left_out = ""
    if ours.left_out:
        left_out = f"; {counted(len(ours.left_out), 'task')} left out"
    notes = [
        "The vector is added once, to the state of one layer at the last token of a question that "
        f"no example precedes. Band: 95 % interval over {_units(ours)}. Shaded: the depths that "
        "the claim compares. Depth 0 is the first block's output, 1 the last's.",
        f"{theirs.model}: a replication of the paper's curve for one task, {theirs.task}s; dotted "
        "where no more is given than a limit (Todd et al., ICLR 2024, arXiv 2310.15213).",
    ]
    if ours.left_out:
        notes.append(note_on_left_out(ours.left_out))
    return Words(
        title="Function vectors: how often a vector alone makes the model do its task",
        name=heading.name,
        profile=heading.profile,
        under=f"{counted(len(ours.tasks), 'task')}, zero-shot{left_out}",
        notes=tuple(notes),
        said=described(ours, theirs, heading),
    )


def _top(ours: Depths, theirs: PublishedDepths) -> float:
    """Return where the axis ends: a tick above all that is drawn, bands aside."""
    points = [p for line in (*ours.tasks.values(), ours.mean, theirs.points) for p in line]
    highest = max(p.value for p in [*points, *ours.without.values()])
    return min(math.ceil(highest * 10 + 0.2) / 10, 1.0)


def _frame(axes: Axes, top: float) -> None:
    """Draw the scales, and shade what the claim compares."""
    axes.set_xlim(-0.015, 1.015)
    axes.set_ylim(0, top * 1.06)
    for (name, low, high), shade in zip(BANDS, _SHADES, strict=True):
        axes.axvspan(low - _EDGE, min(high + _EDGE, 1.0), color=shade, linewidth=0, zorder=0)
        middle = (low + high) / 2
        axes.text(middle, top * 1.045, name, ha="center", va="top", fontsize=8.5, color=GREY)
    axes.set_xticks([k / 10 for k in range(0, 11, 2)])
    axes.set_xlabel("relative depth at which the vector is inserted", color=INK)
    axes.set_ylabel("share of questions answered rightly", color=INK)
    axes.grid(axis="y", color="#dde1e6", linewidth=0.7)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)
    axes.spines[["left", "bottom"]].set_color(RULE)
    axes.tick_params(color=RULE, labelcolor=INK)


def _lines(axes: Axes, ours: Depths, theirs: PublishedDepths, top: float) -> None:
    """Draw what was published, then every task, then their mean on top."""
    solid, dotted = _published_looks()
    axes.plot(*_xy(theirs.points), **solid, **_POINTS)
    axes.plot(*_xy((theirs.points[-1], *theirs.rest)), **dotted)
    for task, looks in looks_of(ours).items():
        axes.plot(*_xy(ours.tasks[task]), **looks, zorder=3)
    low, high = ([min(max(end, 0.0), top) for end in ends] for ends in _ends(ours.mean))
    many = len(ours.tasks) > 1
    colour = INK if many else _COLOURS[0]
    axes.fill_between(_xy(ours.mean)[0], low, high, color=colour, alpha=0.1, linewidth=0, zorder=2)
    if many:
        axes.plot(*_xy(ours.mean), **_mean_looks(), zorder=5)
    axes.axhline(ours.level.value, **_level_looks(), zorder=4)


def _keys(sheet: Sheet, ours: Depths, theirs: PublishedDepths) -> None:
    """Explain the lines, and list tasks with their best depth."""
    down = TOP + 0.08
    rows: list[tuple[dict[str, Any], str]] = []
    if len(ours.tasks) > 1:
        rows.append((_mean_looks(), f"mean of {counted(len(ours.tasks), 'task')}"))
    rows.append((_level_looks(), f"without a vector, {ours.level.value:.2f}"))
    rows.append(
        ({**_published_looks()[0], **_POINTS}, f"{theirs.model}, {theirs.task}s, replicated")
    )
    for looks, label in rows:
        sheet.line([_KEYS, _KEYS + 0.36], [down, down], **looks)
        sheet.text(_KEYS + 0.46, down, label, va="center_baseline")
        down += 0.24
    down += 0.2
    columns = (_KEYS + 2.6, _KEYS + 3.26, _KEYS + 3.92)
    head = {"fontsize": 8.5, "color": GREY}
    sheet.text(_KEYS, down, "task", **head)
    for place, word in zip(columns, ("highest", "at depth", "without"), strict=True):
        sheet.text(place, down, word, ha="right", **head)
    down += 0.07
    sheet.line([_KEYS, columns[-1]], [down, down], color=RULE, linewidth=0.8)
    looks_by, order = looks_of(ours), ranked(ours)
    many = len(order) > 2 * _ENDS + 4
    listed = [*order[:_ENDS], "", *order[-_ENDS:]] if many else order
    for task in listed:
        down += _ROW
        if not task:
            between = f"… {len(order) - 2 * _ENDS} tasks between …"
            sheet.text(_KEYS + 0.46, down, between, **head)
            continue
        point = _best(ours.tasks[task])
        shown = (
            f"{point.value:.2f}",
            f"{point.depth:.2f}",
            f"{ours.without[task].value:.2f}",
        )
        sheet.line([_KEYS, _KEYS + 0.36], [down - 0.045] * 2, **looks_by[task])
        sheet.text(_KEYS + 0.46, down, shortened(task, 24, end=5), fontsize=9)
        for place, value in zip(columns, shown, strict=True):
            sheet.text(place, down, value, ha="right", fontsize=9)


def _units(ours: Depths) -> str:
    return "tasks" if len(ours.tasks) > 1 else "the task's questions"


def _mean_looks() -> dict[str, Any]:
    return {"color": INK, "linewidth": 2.8, "solid_capstyle": "round"}


def _level_looks() -> dict[str, Any]:
    return {"color": INK, "linewidth": 1.3, "linestyle": (0, (5, 2.5))}


def _published_looks() -> tuple[dict[str, Any], dict[str, Any]]:
    """Return how the published curve looks, and where it is but a limit."""
    solid = {"color": "#8a929c", "linewidth": 1.2, "zorder": 2}
    return solid, {**solid, "linestyle": (0, (1, 1.8))}


def _xy(points: Sequence[Point]) -> tuple[list[float], list[float]]:
    return [p.depth for p in points if p.depth is not None], [p.value for p in points]


def _best(points: Sequence[Point]) -> Point:
    return max(points, key=lambda point: point.value)


def _ends(points: Sequence[Point]) -> tuple[list[float], list[float]]:
    return [point.low for point in points], [point.high for point in points]


def _between(point: Point) -> str:
    if not math.isfinite(point.low):
        return "no interval"
    return f"{point.low:.3f} to {point.high:.3f}"
