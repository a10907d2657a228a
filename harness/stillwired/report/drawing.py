"""What pictures have in common: SVG whose text is text, measured in inches, and heard as well.

The same numbers give the same bytes, on any day and whatever matplotlib is told by the user.
The page is white and brings its own ink, so that it reads on light and on dark ground.
"""

from __future__ import annotations

import io
import textwrap
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from xml.sax.saxutils import escape

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

WIDTH = 12.0
"""Of every picture, in inches."""
LEFT, RIGHT = 0.66, 11.7
"""Where a picture's contents begin and end, in inches."""
TOP = 1.18
"""Where they begin below the headings, in inches."""
TEXT, NOTE = 10.0, 8.5
"""Sizes of type, in points."""
INK, GREY, RULE = "#1b1f24", "#5a6069", "#9aa1ab"

_LINE = 0.165  # of the notes, in inches


@dataclass(frozen=True)
class Words:
    """What stands around a picture.

    Attributes:
        title: The headline, for people who see it.
        name: Name of the checkpoint.
        profile: Name of the profile.
        under: What stands beside the profile: how much was measured.
        notes: What must be known to read the picture; each begins a line.
        said: What it shows in words, for people who hear it.
    """

    title: str
    name: str
    profile: str
    under: str
    notes: tuple[str, ...]
    said: str

    @property
    def lines(self) -> list[str]:
        """The notes, wrapped to the picture's width."""
        return [line for note in self.notes for line in textwrap.wrap(note, 164)]


class Sheet:
    """A figure on which places are inches from its upper left corner.

    Attributes:
        figure: The figure.
        height: Its height in inches.
        ground: Axes over all of it, in these inches; nothing is drawn of them.
    """

    def __init__(self, figure: Figure, height: float) -> None:
        self.figure, self.height = figure, height
        self.ground: Axes = figure.add_axes((0, 0, 1, 1))
        self.ground.set_axis_off()
        self.ground.set_xlim(0, WIDTH)
        self.ground.set_ylim(height, 0)

    def axes(self, x: float, y: float, width: float, height: float) -> Axes:
        """Add axes whose upper left corner stands at (x, y)."""
        low = 1 - (y + height) / self.height
        return self.figure.add_axes((x / WIDTH, low, width / WIDTH, height / self.height))

    def text(self, x: float, y: float, text: str, **how: Any) -> None:
        """Write a text at (x, y): its left end and baseline, unless ``ha`` or ``va`` differ."""
        self.ground.text(x, y, text, **{"fontsize": TEXT, "color": INK, **how})

    def line(self, xs: Sequence[float], ys: Sequence[float], **how: Any) -> None:
        """Draw a line through places."""
        self.ground.plot(xs, ys, **{"color": INK, "linewidth": 1.0, "clip_on": False, **how})

    def box(self, x: float, y: float, width: float, height: float, **how: Any) -> None:
        """Draw a rectangle whose upper left corner stands at (x, y); it has no edge of its own."""
        from matplotlib.patches import Rectangle

        looks = {"edgecolor": "none", "linewidth": 0.0, "clip_on": False, **how}
        self.ground.add_patch(Rectangle((x, y), width, height, **looks))

    def scale(
        self,
        x: float,
        y: float,
        height: float,
        colour: Callable[[float], Sequence[float]],
        marks: Mapping[float, str],
        words: str,
    ) -> None:
        """Draw an upright bar of colours whose upper left corner stands at (x, y).

        Args:
            x: In inches, as everything here.
            y: Likewise.
            height: Likewise.
            colour: The colour at a height, from 0 at the foot to 1.
            marks: What is written beside the bar, by height.
            words: What the colours mean; it takes a second line where the bar is short.
        """
        steps = 64
        for step in range(steps):
            # A hair too tall: no line shows between two steps.
            tall = height / steps + (0.01 if step < steps - 1 else 0.0)
            shade = colour(1 - (step + 0.5) / steps)
            self.box(x, y + step * height / steps, 0.14, tall, facecolor=shade)
        self.box(x, y, 0.14, height, facecolor="none", edgecolor=RULE, linewidth=0.6)
        for at, mark in marks.items():
            down = y + (1 - at) * height
            self.line([x + 0.14, x + 0.18], [down, down], color=RULE, linewidth=0.8)
            self.text(x + 0.22, down, mark, va="center_baseline", fontsize=8.5)
        lines = textwrap.wrap(words, max(round(height * 15), 18))
        longest = max(map(len, marks.values()))
        across = x + 0.34 + 0.065 * longest + 0.08 * len(lines)
        how = {"rotation": 90, "ha": "center", "va": "center", "linespacing": 1.25}
        self.text(across, y + height / 2, "\n".join(lines), fontsize=9, **how)


def picture(words: Words, height: float, draw: Callable[[Sheet], None]) -> str:
    """Draw a picture as SVG.

    Args:
        words: What stands around it.
        height: Of the contents, in inches, from `TOP` down to where the notes begin.
        draw: Draws the contents.

    Raises:
        ImportError: If matplotlib is not installed.
    """
    import matplotlib as mpl
    from matplotlib.backends.backend_svg import FigureCanvasSVG
    from matplotlib.figure import Figure

    tall = TOP + height + 0.26 + _LINE * len(words.lines)
    with mpl.rc_context(), warnings.catch_warnings():
        # A glyph that a font lacks is the viewer's to find: the text stays text.
        warnings.simplefilter("ignore")
        mpl.rcdefaults()
        mpl.rc("svg", fonttype="none", hashsalt="stillwired")
        mpl.rc("font", family="sans-serif", size=TEXT)
        mpl.rc("axes", labelsize=TEXT)
        # Neither a checkpoint's name nor a token is a formula.
        mpl.rc("text", parse_math=False)
        drawing = Figure(figsize=(WIDTH, tall))
        FigureCanvasSVG(drawing)
        sheet = Sheet(drawing, tall)
        name = shortened(words.name, 60)
        sheet.text(LEFT, 0.36, words.title, fontsize=13, fontweight="bold")
        sheet.text(LEFT, 0.74, name, fontsize=11, fontweight="bold")
        sheet.text(LEFT, 0.99, f"profile {words.profile}, {words.under}", color=GREY)
        for number, line in enumerate(words.lines):
            place = TOP + height + 0.24 + number * _LINE
            sheet.text(LEFT, place, line, fontsize=NOTE, color=GREY)
        draw(sheet)
        about = f"{words.title}: {words.name}, profile {words.profile}"
        written = io.BytesIO()
        metadata = {"Date": None, "Creator": "stillwired", "Title": about}
        drawing.savefig(written, format="svg", metadata=metadata)
    return readable(written.getvalue().decode("utf-8"), words.said)


def readable(svg: str, description: str) -> str:
    """Tell screen readers that a drawing is one picture, and what it shows; let it shrink."""
    head, tag, rest = svg.partition("</title>")
    about = 'role="img" aria-labelledby="title desc" style="max-width: 100%; height: auto"'
    head = head.replace("<svg ", f"<svg {about} ", 1)
    head = head.replace("<title>", '<title id="title">', 1)
    return f'{head}{tag}\n <desc id="desc">{escape(description)}</desc>{rest}'


def shortened(text: str, longest: int, end: int = 0) -> str:
    """Cut a text to a number of signs, an ellipsis included, and keep the last ones if asked to."""
    if len(text) <= longest:
        return text
    return f"{text[: longest - 1 - end].rstrip(' ,')}…{text[len(text) - end :]}"


def listed(names: Sequence[str], longest: int) -> str:
    """List names as far as whole ones fit into a number of signs, and count the rest."""
    for shown in range(len(names), 0, -1):
        rest = len(names) - shown
        text = ", ".join(names[:shown]) + (f" and {rest} more" if rest else "")
        if len(text) <= longest or shown == 1:
            return text
    return ""


def note_on_left_out(tasks: Sequence[str]) -> str:
    """Say beneath a picture of vectors which tasks it does not show, and why."""
    names = listed(tasks, 110)
    return f"Left out, as the model cannot do them in context or a check failed: {names}."


def counted(number: int, what: str) -> str:
    """Write a number of things: ``1 task``, ``7 tasks``."""
    return f"{number:,} {what}{'' if number == 1 else 's'}"


def ink_on(colour: Sequence[float]) -> str:
    """Return the ink, dark or white, that is read better on a colour (red, green, blue to 1)."""
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in colour[:3]]
    light = 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]
    # Contrast as WCAG 2 has it; the dark ink's own luminance is 0.013.
    return INK if (light + 0.05) / 0.063 >= 1.05 / (light + 0.05) else "#ffffff"
