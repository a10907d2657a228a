"""The map of heads: how much each one's mean output brings back of the right answer.

Layers run from left to right as they do in curves by depth, heads downwards. Outlined are the
heads that vectors are made of; beside the map stand the strongest of them, as bars.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

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
    ink_on,
    picture,
)
from stillwired.report.text import number
from stillwired.report.vectors import EARLY, Head, HeadMap

LABELLED = 5
"""Heads that are named on the map."""
LISTED = 10
"""Heads that have a bar."""

_WIDE, _TALL, _LARGEST = 7.55, 6.4, 0.46  # of the map, and of a cell, in inches
_HEADROOM, _FOOT = 0.22, 0.68  # above and below the map: the mark of two thirds, the layers
_TYPE = 7.5  # of the names on the map, in points
_COLOURS = "RdBu_r"
_SCALE, _BARS = 0.3, 1.5  # right of the map: the colours, the list of heads, in inches


class Box(NamedTuple):
    """A rectangle, in inches: left, upper, right and lower edge."""

    left: float
    upper: float
    right: float
    lower: float

    def overlap(self, other: Box) -> float:
        """Return the area that both share."""
        wide = min(self.right, other.right) - max(self.left, other.left)
        tall = min(self.lower, other.lower) - max(self.upper, other.upper)
        return max(wide, 0.0) * max(tall, 0.0)


@dataclass(frozen=True)
class Grid:
    """Where a map stands on the page.

    Attributes:
        layers: Its layers, from left to right.
        heads: Its heads, downwards.
        cell: Edge of a cell in inches.
    """

    layers: int
    heads: int
    cell: float

    @classmethod
    def of(cls, layers: int, heads: int) -> Grid:
        """Make cells as large as fits."""
        return cls(layers, heads, min(_WIDE / layers, _TALL / heads, _LARGEST))

    @property
    def frame(self) -> Box:
        """The map's outline."""
        upper = TOP + _HEADROOM
        wide, tall = self.layers * self.cell, self.heads * self.cell
        return Box(LEFT, upper, LEFT + wide, upper + tall)

    def box(self, head: Head) -> Box:
        """Return a head's cell."""
        left = LEFT + head[0] * self.cell
        upper = self.frame.upper + head[1] * self.cell
        return Box(left, upper, left + self.cell, upper + self.cell)


def figure(heads: HeadMap, heading: Heading) -> str:
    """Draw the map as SVG.

    Raises:
        ImportError: If matplotlib is not installed.
    """
    grid = Grid.of(len(heads.effects), len(heads.effects[0]))
    frame = grid.frame
    height = max(frame.lower - TOP + _FOOT, 0.5 + 0.17 * min(len(heads.chosen), LISTED))

    def draw(sheet: Sheet) -> None:
        _cells(sheet, heads, grid)
        _axes(sheet, grid)
        _two_thirds(sheet, grid)
        _outlines(sheet, heads, grid)
        _names(sheet, heads, grid)
        _scale(sheet, heads, grid)
        _bars(sheet, heads, frame.right + _BARS, frame.upper)

    return picture(_words(heads, heading), height, draw)


def described(heads: HeadMap, heading: Heading) -> str:
    """Say in words what the map shows."""
    layers, each = len(heads.effects), len(heads.effects[0])
    sentences = [
        f"{heading.name}, profile {heading.profile}: {layers} layers of {counted(each, 'head')}, "
        f"mean over {counted(len(heads.tasks), 'task')} ({', '.join(heads.tasks)}).",
        f"Chosen, strongest first, as layer and head from 0: "
        f"{', '.join(f'{named(h)} {number(heads.effect(h))}' for h in heads.chosen[:LISTED])}"
        f"{_and_more(heads)}.",
        f"Of all heads the effects run from {number(min(map(min, heads.effects)))} to "
        f"{number(max(map(max, heads.effects)))}.",
    ]
    early = heads.early
    if early is not None:
        sentences.append(f"{early:.2f} of the chosen heads' effect lies in the first two thirds.")
    return " ".join(sentences)


def named(head: Head) -> str:
    """Write a head: ``(11, 3)`` for head 3 of layer 11."""
    return f"({head[0]}, {head[1]})"


def largest(heads: HeadMap) -> float:
    """Return the effect at which the colours end, on either side of 0."""
    return max(max(abs(effect) for row in heads.effects for effect in row), 1e-6)


def labels(heads: Sequence[Head], chosen: Sequence[Head], grid: Grid) -> dict[Head, Box]:
    """Find a place for each head's name, as near to its cell and as free as can be.

    Args:
        heads: Heads to name; the first ones choose first.
        chosen: Heads that names had better not hide.
        grid: Where the cells are.

    Returns:
        Boxes of the names by head; inside of the cell where that is large enough.
    """
    taken = [grid.box(head) for head in chosen]
    found: dict[Head, Box] = {}
    for head in heads:
        size = len(named(head)) * _TYPE * 0.57 / 72, _TYPE * 1.2 / 72
        places = list(_places(grid.box(head), *size, grid.frame))
        found[head] = min(places, key=lambda box: sum(box.overlap(other) for other in taken))
        taken.append(found[head])
    return found


def _places(cell: Box, wide: float, tall: float, frame: Box) -> Iterator[Box]:
    """Yield where a name may stand, the best place first."""
    across, down = (cell.left + cell.right) / 2, (cell.upper + cell.lower) / 2
    if cell.right - cell.left >= wide:
        yield Box(across - wide / 2, down - tall / 2, across + wide / 2, down + tall / 2)
        return
    gap = 0.025
    lefts = {
        "right": cell.right + gap,
        "left": cell.left - gap - wide,
        "middle": across - wide / 2,
    }
    uppers = {"level": down - tall / 2, "above": cell.upper - gap - tall, "below": cell.lower + gap}
    order = (
        ("right", "level"),
        ("left", "level"),
        ("middle", "above"),
        ("middle", "below"),
        ("right", "above"),
        ("right", "below"),
        ("left", "above"),
        ("left", "below"),
    )
    for x, y in order:
        box = Box(lefts[x], uppers[y], lefts[x] + wide, uppers[y] + tall)
        inside = frame.left <= box.left and box.right <= frame.right
        if inside and frame.upper <= box.upper and box.lower <= frame.lower:
            yield box
    # A map of one cell has no room beside it.
    yield Box(lefts["right"], uppers["level"], lefts["right"] + wide, uppers["level"] + tall)


def _words(heads: HeadMap, heading: Heading) -> Words:
    early = heads.early
    notes = (
        "Colour: how much a head's mean output on clean prompts, put into prompts with shuffled "
        "answers, raises the probability of the right answer. Outlined: the heads that vectors "
        "are made of, with layer and head from 0."
        + (
            f" Left of the dashed line, in the first two thirds of the layers, lies {early:.2f} of "
            "their effect."
            if early is not None
            else ""
        ),
    )
    return Words(
        title="Function vectors: which heads carry tasks",
        name=heading.name,
        profile=heading.profile,
        under=f"mean over {counted(len(heads.tasks), 'task')}",
        notes=notes,
        said=described(heads, heading),
    )


def _cells(sheet: Sheet, heads: HeadMap, grid: Grid) -> None:
    """Fill the map; each cell is one use of one square, so that large maps stay small files."""
    from matplotlib.collections import PathCollection
    from matplotlib.path import Path
    from matplotlib.transforms import Affine2D

    most = largest(heads)
    colours, places = [], []
    for layer, row in enumerate(heads.effects):
        for head, effect in enumerate(row):
            box = grid.box((layer, head))
            places.append((box.left, box.lower))
            colours.append(_colour(0.5 + effect / most / 2))
    # White lines between large cells; small ones close up, or their lines were all one saw.
    gap = 0.012 if grid.cell > 0.15 else -0.003
    square = Path.unit_rectangle().transformed(Affine2D().scale(72 * (grid.cell - gap)))
    cells = PathCollection(
        [square],
        offsets=places,
        offset_transform=sheet.ground.transData,
        facecolors=colours,
        linewidths=0,
        clip_on=False,
    )
    cells.set_transform(Affine2D())
    sheet.ground.add_collection(cells, autolim=False)


def _axes(sheet: Sheet, grid: Grid) -> None:
    """Number layers below the map and heads beside it, as many as there is room for."""
    frame = grid.frame
    for layer in range(0, grid.layers, _every(grid.layers, grid.cell, 0.34)):
        across = LEFT + (layer + 0.5) * grid.cell
        sheet.line([across, across], [frame.lower, frame.lower + 0.04], color=RULE, linewidth=0.8)
        sheet.text(across, frame.lower + 0.2, str(layer), ha="center", fontsize=9)
    for head in range(0, grid.heads, _every(grid.heads, grid.cell, 0.2)):
        down = frame.upper + (head + 0.5) * grid.cell
        sheet.line([LEFT - 0.04, LEFT], [down, down], color=RULE, linewidth=0.8)
        sheet.text(LEFT - 0.08, down, str(head), ha="right", va="center_baseline", fontsize=9)
    middle = (frame.left + frame.right) / 2, (frame.upper + frame.lower) / 2
    sheet.text(middle[0], frame.lower + 0.42, "layer", ha="center")
    sheet.text(LEFT - 0.38, middle[1], "head", ha="center", va="center", rotation=90)


def _two_thirds(sheet: Sheet, grid: Grid) -> None:
    """Mark the layers in which the paper finds the heads."""
    frame = grid.frame
    across = frame.left + EARLY * (frame.right - frame.left)
    sheet.line(
        [across, across],
        [frame.upper - 0.06, frame.lower + 0.02],
        linestyle=(0, (4, 3)),
        linewidth=0.9,
    )
    sheet.text(
        across - 0.06, frame.upper - 0.08, "first two thirds", ha="right", color=GREY, fontsize=8.5
    )


def _outlines(sheet: Sheet, heads: HeadMap, grid: Grid) -> None:
    """Outline the chosen heads."""
    thick = 1.3 if grid.cell > 0.15 else 0.8
    for head in heads.chosen:
        left, upper, right, lower = grid.box(head)
        looks = {"facecolor": "none", "edgecolor": INK, "linewidth": thick}
        sheet.box(left, upper, right - left, lower - upper, **looks)


def _names(sheet: Sheet, heads: HeadMap, grid: Grid) -> None:
    """Name the strongest heads, inside of their cells or on white beside them."""
    most = largest(heads)
    for head, box in labels(heads.chosen[:LABELLED], heads.chosen, grid).items():
        ink = ink_on(_colour(0.5 + heads.effect(head) / most / 2))
        if box.overlap(grid.box(head)) == 0:
            ink, ground = INK, {"facecolor": "white", "alpha": 0.88, "zorder": 4}
            wide, tall = box.right - box.left, box.lower - box.upper
            sheet.box(box.left, box.upper, wide, tall, **ground)
        looks: dict[str, Any] = {"fontweight": "bold", "fontsize": _TYPE, "color": ink, "zorder": 5}
        across, down = (box.left + box.right) / 2, (box.upper + box.lower) / 2
        sheet.text(across, down, named(head), ha="center", va="center_baseline", **looks)


def _scale(sheet: Sheet, heads: HeadMap, grid: Grid) -> None:
    """Draw the bar of colours, with what they mean."""
    most, frame = largest(heads), grid.frame
    tall = min(frame.lower - frame.upper, 2.6)
    marks = {0.0: _short(-most), 0.5: "0", 1.0: _short(most)}
    if tall > 1.2:
        marks |= {0.25: _short(-most / 2), 0.75: _short(most / 2)}
    words = "gain of the right answer's probability"
    sheet.scale(frame.right + _SCALE, frame.upper, tall, _colour, marks, words)


def _bars(sheet: Sheet, heads: HeadMap, left: float, upper: float) -> None:
    """List the strongest of the chosen heads, with their effects as bars."""
    most, longest = largest(heads), 1.1
    shown = heads.chosen[:LISTED]
    title = f"{len(heads.chosen)} heads make vectors" if len(heads.chosen) > 1 else "One head"
    sheet.text(left, upper - 0.08, title, fontweight="bold", fontsize=9)
    for place, head in enumerate(shown):
        down = upper + 0.12 + 0.17 * place
        effect = heads.effect(head)
        sheet.text(left + 0.52, down, named(head), ha="right", va="center_baseline", fontsize=8.5)
        length = max(effect, 0.0) / most * longest
        colour = _colour(0.5 + effect / most / 2)
        looks = {"facecolor": colour, "edgecolor": RULE, "linewidth": 0.5}
        sheet.box(left + 0.6, down - 0.055, length, 0.11, **looks)
        sheet.text(left + 0.66 + length, down, _short(effect), va="center_baseline", fontsize=8.5)
    if len(heads.chosen) > LISTED:
        after = f"and {len(heads.chosen) - LISTED} more"
        sheet.text(left + 0.6, upper + 0.2 + 0.17 * LISTED, after, fontsize=8.5, color=GREY)


def _colour(share: float) -> tuple[float, float, float]:
    """Return the colour of an effect, from 0 for the most negative to 1; 0.5 is none."""
    import matplotlib as mpl

    red, green, blue, _ = mpl.colormaps[_COLOURS](share)
    return red, green, blue


def _every(many: int, cell: float, room: float) -> int:
    """Return the step at which numbers have room: 1, 2, 5, 10 and so on."""
    for step in (1, 2, 5, 10, 20, 50, 100):
        if step * cell >= room:
            return step
    return many


def _short(effect: float) -> str:
    """Write an effect with two digits at least, however small."""
    large = abs(effect) >= 0.0095 or effect == 0
    return number(effect) if large else f"{effect:.1e}".replace("-", "−")


def _and_more(heads: HeadMap) -> str:
    more = len(heads.chosen) - LISTED
    return f" and {more} more" if more > 0 else ""
