"""Pictures as parts of a page: their ids and styles do not meet those of others, nothing acts.

A page's content security policy admits one style sheet and no style of an element. So the styles
of a picture become classes of the page's own sheet, which also makes large pictures a third
smaller. What a drawing has no need of (metadata, links, scripts) is left behind.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from xml.etree import ElementTree

from stillwired.errors import RecordError
from stillwired.report.html import safe

_SPOKEN = {"title", "desc", "text", "tspan"}
_SHAPES = {"path", "rect", "circle", "line", "polyline", "polygon", "use", "clipPath"}
_ELEMENTS = {"svg", "defs", "g", *_SHAPES, *_SPOKEN}
_PLACES = {"x", "y", "x1", "y1", "x2", "y2", "cx", "cy", "r", "d", "points", "width", "height"}
_PAINT = {"fill", "fill-opacity", "stroke", "stroke-width", "stroke-opacity", "opacity"}
_ATTRIBUTES = {"role", "viewBox", "transform", "clip-path", *_PLACES, *_PAINT}
_OWN = re.compile(r"#([\w.-]+)")
_DECLARATIONS = re.compile(r"[\w\s:;.,#%()'+-]*")


class Pictures:
    """Takes pictures into one page.

    Attributes:
        css: What the page's style sheet needs for those taken so far.
    """

    def __init__(self) -> None:
        self._classes: dict[str, str] = {}
        self._taken = 0

    @property
    def css(self) -> str:
        """What the page's style sheet needs for the pictures taken so far."""
        rules = [f".{name}{{{style}}}" for style, name in self._classes.items()]
        # What every element of matplotlib's drawings is told in a sheet of its own.
        return "\n".join([":where(.drawn *){stroke-linejoin:round;stroke-linecap:butt}", *rules])

    def take(self, svg: str) -> str:
        """Return a picture as an element of the page.

        Raises:
            RecordError: If it is no SVG.
        """
        try:
            root = ElementTree.fromstring(svg)
        except ElementTree.ParseError as error:
            raise RecordError(
                f"A picture is not SVG ({error}). Draw it again with `stillwired curves`."
            ) from error
        self._taken += 1
        prefix = f"d{self._taken}-"
        wanted = {
            name
            for element in root.iter()
            for key, value in element.attrib.items()
            for name in _referred(key, value)
        }
        return "".join(self._written(root, prefix, wanted))

    def _written(
        self, element: ElementTree.Element, prefix: str, wanted: set[str]
    ) -> Iterator[str]:
        tag = _local(element.tag)
        if tag not in _ELEMENTS:
            return
        attributes = dict(self._attributes(element, prefix, wanted))
        if tag == "svg":
            attributes["class"] = "drawn"
        written = "".join(f' {key}="{safe(value)}"' for key, value in attributes.items())
        spoken = tag in _SPOKEN
        inner = [safe(element.text)] if spoken and element.text else []
        for child in element:
            inner += self._written(child, prefix, wanted)
            if spoken and child.tail:
                inner.append(safe(child.tail))
        # Empty groups are what is left of things that were not drawn.
        if inner:
            yield f"<{tag}{written}>{''.join(inner)}</{tag}>"
        elif tag not in ("g", "defs"):
            yield f"<{tag}{written}/>"

    def _attributes(
        self, element: ElementTree.Element, prefix: str, wanted: set[str]
    ) -> Iterator[tuple[str, str]]:
        for key, value in element.attrib.items():
            name = _local(key)
            text = " ".join(value.split())
            if name == "id" and text in wanted:
                yield "id", prefix + text
            elif name == "style":
                plain = _DECLARATIONS.fullmatch(text) and "url" not in text
                if plain and _local(element.tag) != "svg":
                    yield "class", self._class(text)
            elif name == "href":
                if text.startswith("#"):
                    yield name, f"#{prefix}{text[1:]}"
            elif name == "aria-labelledby":
                yield name, " ".join(prefix + part for part in text.split())
            elif name in _ATTRIBUTES:
                yield name, _OWN.sub(rf"#{prefix}\1", text) if "url(" in text else text

    def _class(self, style: str) -> str:
        return self._classes.setdefault(style, f"v{len(self._classes)}")


def _local(name: object) -> str:
    return str(name).rsplit("}", 1)[-1]


def _referred(key: str, value: str) -> list[str]:
    """Return the ids that an attribute refers to."""
    if _local(key) == "aria-labelledby":
        return value.split()
    return _OWN.findall(value) if _local(key) in ("href", "clip-path") else []
