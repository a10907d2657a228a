"""A figure of accuracy by depth: a checkpoint's readers, and the published ones beside them.

It is written as SVG whose text is text. The same curves give the same bytes, on any day.
"""

from __future__ import annotations

import io
import math
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from stillwired.report.curves import Curve, Curves, Point, Published
from stillwired.report.drawing import readable, shortened
from stillwired.report.text import count

if TYPE_CHECKING:
    from matplotlib.axes import Axes

WIDTH, HEIGHT = 12.0, 5.4
"""Of the figure, in inches."""

# Panels in shares of the figure; the legends stand to the right of each.
_LEFT, _RIGHT, _PANEL, _FLOOR, _TALL = 0.055, 0.557, 0.285, 0.178, 0.612
_TEXT, _NOTE = 10.0, 8.5
_LINE = 15.0  # distance of two labels, in points
_LONGEST = 22

_GREY, _INK = "#5a6069", "#1b1f24"


@dataclass(frozen=True)
class _Look:
    """How a reader is drawn on either side, and what it is called."""

    colour: str
    mark: str
    label: str


# Okabe and Ito's colours, told apart by people who see fewer; the marks differ as well. Levels
# have no marks but dashes.
_LOOKS = {
    "learned": _Look("#d55e00", "o", "learned prompt"),
    "fixed": _Look("#009e73", "^", "fixed prompts"),
    "fair linear": _Look("#cc79a7", "v", "linear map, fed tokens"),
    "linear": _Look("#0072b2", "s", "linear map"),
    "vocabulary": _Look("#56b4e9", "D", "map to vocabulary"),
    "no state": _Look("#b8860b", "", "prompt, no state"),
    "bigram": _Look("#000000", "", "token pairs"),
    "constant": _Look("#7f7f7f", "", "constant guess"),
}
_DASHES = {
    "no state": (0, (1.2, 1.6)),
    "bigram": (0, (6, 2.5)),
    "constant": (0, (5, 2, 1.2, 2)),
}
_OTHERS = (
    ("#8c510a", "P"),
    ("#5e4fa2", "X"),
    ("#6b8e23", "<"),
    ("#b2182b", ">"),
    ("#01665e", "h"),
)


@dataclass(frozen=True)
class Heading:
    """What a figure says of the run.

    Attributes:
        name: Name of the checkpoint.
        profile: Name of the profile.
    """

    name: str
    profile: str


def figure(ours: Curves, theirs: Published, heading: Heading) -> str:
    """Draw the curves of one N as SVG.

    Raises:
        ImportError: If matplotlib is not installed.
    """
    import matplotlib as mpl

    with mpl.rc_context(), warnings.catch_warnings():
        # A glyph that a font lacks is the viewer's to find: the text stays text.
        warnings.simplefilter("ignore")
        mpl.rcdefaults()
        mpl.rc("svg", fonttype="none", hashsalt="stillwired")
        mpl.rc("font", family="sans-serif", size=_TEXT)
        mpl.rc("axes", labelsize=_TEXT)
        # A checkpoint's name is no formula.
        mpl.rc("text", parse_math=False)
        return _drawn(ours, theirs, heading)


def described(ours: Curves, theirs: Published, heading: Heading) -> str:
    """Say in words what the figure shows, for people who hear it."""
    beside = theirs.curves.get(ours.ahead)
    sentences = [
        f"Left, {heading.name}, profile {heading.profile}, {_rows(ours)}, with 95 % intervals.",
        *(_said(curve) for curve in ours.curves),
    ]
    if beside is not None:
        sentences += [f"Right, {theirs.model}, as published.", *map(_told, beside.curves)]
    return " ".join([*sentences, theirs.source])


def spread(wanted: Sequence[float], gap: float, low: float, high: float) -> list[float]:
    """Move heights apart until neighbours keep a gap, each as little as that allows.

    Args:
        wanted: Heights in any order.
        gap: Least distance; less where they would not fit otherwise.
        low: Least height.
        high: Greatest height.

    Returns:
        The heights, in the order given.
    """
    order = sorted(range(len(wanted)), key=lambda k: wanted[k])
    if len(order) > 1:
        gap = min(gap, (high - low) / (len(order) - 1))
    # Less the gaps below each, heights must only not fall: neighbours that do share their mean.
    groups: list[list[float]] = []
    for place, k in enumerate(order):
        groups.append([wanted[k] - place * gap])
        while len(groups) > 1 and _mean(groups[-2]) > _mean(groups[-1]):
            merged = groups.pop()
            groups[-1] += merged
    level = [_mean(group) for group in groups for _ in group]
    ceiling = high - gap * (len(order) - 1)
    moved = [0.0] * len(wanted)
    for place, k in enumerate(order):
        moved[k] = min(max(level[place], low), ceiling) + place * gap
    return moved


def common_top(panels: Sequence[Curves]) -> float:
    """Return where the axes of both sides end: a tick above everything drawn, 1 at the most."""
    highest = max(
        value
        for panel in panels
        for curve in panel.curves
        for point in curve.points
        for value in (point.value, point.high)
        if math.isfinite(value)
    )
    step = 0.1 if highest > 0.4 else 0.05
    return max(min(math.ceil(highest * 1.02 / step) * step, 1.0), step)


def _drawn(ours: Curves, theirs: Published, heading: Heading) -> str:
    from matplotlib.backends.backend_svg import FigureCanvasSVG
    from matplotlib.figure import Figure

    beside = theirs.curves.get(ours.ahead)
    top = common_top([ours] if beside is None else [ours, beside])
    looks = _looks(ours)
    drawing = Figure(figsize=(WIDTH, HEIGHT))
    FigureCanvasSVG(drawing)
    target = _target(ours.ahead)
    title = f"Future Lens, N = {ours.ahead}: how often a reader of one state foresees {target}"
    drawing.text(_LEFT, 0.945, title, fontsize=13, fontweight="bold", color=_INK)
    sides = [
        (_LEFT, ours, shortened(heading.name, 44), f"profile {heading.profile}, {_rows(ours)}")
    ]
    if beside is not None:
        sides.append((_RIGHT, beside, theirs.model, "as published, prompts trained for N = 1"))
    for left, panel, name, under in sides:
        axes = drawing.add_axes((left, _FLOOR, _PANEL, _TALL))
        _frame(axes, top)
        _panel(axes, panel, looks, top)
        drawing.text(left, 0.868, name, fontsize=11, fontweight="bold", color=_INK)
        drawing.text(left, 0.819, under, fontsize=_TEXT, color=_GREY)
    notes = _notes(ours.ahead, beside is not None)
    drawing.axes[0].set_ylabel("share of rows foreseen", color=_INK)
    for height, line in zip((0.042, 0.010), notes, strict=True):
        drawing.text(_LEFT, height, line, fontsize=_NOTE, color=_GREY)
    written = io.BytesIO()
    metadata = {"Date": None, "Creator": "stillwired", "Title": title}
    drawing.savefig(written, format="svg", metadata=metadata)
    return readable(written.getvalue().decode("utf-8"), described(ours, theirs, heading))


def _notes(ahead: int, published: bool) -> tuple[str, str]:
    """What must be known of both sides to read them."""
    ours = (
        "Bands: 95 % intervals, documents as clusters. Lines without marks: readers that see no "
        "state. Prompts, token pairs and readers marked as fed are told tokens in between."
    )
    theirs = (
        "Right: read off the figures of Pal, Sun, Yuan, Wallace and Bau (CoNLL 2023, arXiv "
        "2311.04897), to about ±0.005."
        if published
        else f"No curves are published for N = {ahead}."
    )
    return ours, f"{theirs} Depth 0 is the first block's output, 1 the last's."


def _frame(axes: Axes, top: float) -> None:
    """Draw what every panel has: scales, a light grid, two spines."""
    axes.set_xlim(-0.02, 1.02)
    axes.set_ylim(0, top)
    axes.set_xticks([0, 0.25, 0.5, 0.75, 1], ["0", "0.25", "0.5", "0.75", "1"])
    axes.set_xlabel("relative depth of the state", color=_INK)
    axes.grid(color="#e3e6ea", linewidth=0.7)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)
    axes.spines[["left", "bottom"]].set_color("#9aa1ab")
    axes.tick_params(color="#9aa1ab", labelcolor=_INK)


def _panel(axes: Axes, panel: Curves, looks: dict[str, _Look], top: float) -> None:
    """Draw a panel's bands, then its lines, and the legend beside it."""
    dense = max(len(curve.points) for curve in panel.curves) > 15
    for curve in panel.curves:
        colour = looks[curve.reader].colour
        low, high = ([_within(end, top) for end in ends] for ends in _ends(curve))
        if curve.level:
            axes.axhspan(low[0], high[0], color=colour, alpha=0.10, linewidth=0)
        elif len(curve.points) == 1:
            axes.vlines(_depths(curve), low, high, color=colour, linewidth=1.2)
        elif low != high:
            axes.fill_between(_depths(curve), low, high, color=colour, alpha=0.18, linewidth=0)
    for curve in reversed(panel.curves):
        look = looks[curve.reader]
        if curve.level:
            axes.axhline(curve.points[0].value, **_line(curve, look))
            continue
        values = [point.value for point in curve.points]
        how = _line(curve, look) | _mark(look, 3.2 if dense else 5.2)
        axes.plot(_depths(curve), values, **how)
    _legend(axes, panel, looks, top)


def _legend(axes: Axes, panel: Curves, looks: dict[str, _Look], top: float) -> None:
    """Name every line at the height where it ends, right of the panel."""
    per_point = top / (HEIGHT * 72 * _TALL)
    ends = [min(max(curve.points[-1].value, 0.0), top) for curve in panel.curves]
    heights = spread(ends, _LINE * per_point, 0.0, top)
    for curve, end, height in zip(panel.curves, ends, heights, strict=True):
        look = looks[curve.reader]
        axes.plot([1.025, 1.05], [end, height], color=look.colour, lw=0.7, clip_on=False)
        key = {**_line(curve, look), **_mark(look, 5.2), "clip_on": False}
        axes.plot([1.055, 1.095, 1.135], [height] * 3, **key, markevery=[1])
        label = shortened(look.label, _LONGEST)
        axes.text(1.155, height, label, fontsize=_TEXT, color=_INK, va="center_baseline")


def _line(curve: Curve, look: _Look) -> dict[str, Any]:
    width, dashes = (1.3 if curve.level else 1.6), _DASHES.get(curve.reader, "-")
    return {"color": look.colour, "linewidth": width, "linestyle": dashes}


def _mark(look: _Look, size: float) -> dict[str, Any]:
    return {
        "marker": look.mark or None,
        "markersize": size,
        "markeredgecolor": "white",
        "markeredgewidth": 0.6,
    }


def _looks(ours: Curves) -> dict[str, _Look]:
    """Return the look of every reader; those without one of their own take turns."""
    others = [curve.reader for curve in ours.curves if curve.reader not in _LOOKS]
    return _LOOKS | {
        reader: _Look(*_OTHERS[k % len(_OTHERS)], reader.replace(", trained for", " for"))
        for k, reader in enumerate(others)
    }


def _depths(curve: Curve) -> list[float]:
    return [point.depth for point in curve.points if point.depth is not None]


def _ends(curve: Curve) -> tuple[list[float], list[float]]:
    return [point.low for point in curve.points], [point.high for point in curve.points]


def _within(value: float, top: float) -> float:
    """Keep the end of a band on the page; an interval may be unbounded."""
    return min(max(value, 0.0), top)


def _target(ahead: int) -> str:
    """Say which token N means."""
    first = ("the next token", "the token after next", "the second token after the next")
    return first[ahead] if ahead < len(first) else f"the token {ahead} after the next"


def _rows(panel: Curves) -> str:
    fewest, most = panel.rows
    return f"{count(most)} rows" if fewest == most else f"{count(fewest)} to {count(most)} rows"


def _said(curve: Curve) -> str:
    """Say every point of a curve, with its interval."""
    points = [f"{_at(point)} ({point.low:.3f} to {point.high:.3f})" for point in curve.points]
    return f"{_called(curve)}: {', '.join(points)}."


def _told(curve: Curve) -> str:
    """Say how a published curve runs: where it starts, its summit, and where it ends."""
    first, last = curve.points[0], curve.points[-1]
    if curve.level:
        return f"{_called(curve)}: {_at(first)}."
    summit = max(curve.points, key=lambda point: point.value)
    return f"{_called(curve)}: {_at(first)}, at most {_at(summit)}, {_at(last)}."


def _called(curve: Curve) -> str:
    name = _LOOKS[curve.reader].label if curve.reader in _LOOKS else curve.reader
    return f"{name[0].upper()}{name[1:]}"


def _at(point: Point) -> str:
    value = f"{point.value:.3f}"
    return value if point.depth is None else f"{value} at {point.depth:.2f}"


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)
