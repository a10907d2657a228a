from __future__ import annotations

import re
from xml.etree import ElementTree

import pytest

from stillwired.errors import RecordError
from stillwired.report.inline_svg import Pictures

SVG = """<?xml version="1.0"?>
<svg xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink"
 role="img" aria-labelledby="title desc" style="max-width: 100%" viewBox="0 0 9 9" onload="x()">
 <title id="title">A &lt;b&gt; picture</title>
 <desc id="desc">What it shows.</desc>
 <metadata><g id="meta"/></metadata>
 <defs><style type="text/css">*{stroke-linejoin: round}</style><path id="mark" d="M 0 0
L 1 1" style="fill: red"/>
 <clipPath id="clip"><rect x="0" y="0" width="9" height="9"/></clipPath></defs>
 <script>window.pwned = 1</script>
 <a href="http://example.invalid"><text>link</text></a>
 <g id="unused"><g/></g>
 <g clip-path="url(#clip)"><use xlink:href="#mark" style="fill: blue" onclick="x()"/>
 <use xlink:href="http://example.invalid/x.svg#y"/></g>
 <text x="1" style="font-size: 10px; font-family: 'A B', sans-serif">a<tspan> b</tspan> c</text>
 <path d="M 0 0" style="fill: red"/>
 <path d="M 1 1" style="background: url(http://example.invalid)"/>
 <path d="M 2 2" style="fill: red} body{display: none"/>
</svg>"""


@pytest.fixture
def taken():
    pictures = Pictures()
    return pictures, [pictures.take(SVG), pictures.take(SVG)]


def test_ids_of_two_pictures_do_not_meet(taken):
    _, (first, second) = taken
    ids = [set(re.findall(r'\bid="([^"]+)"', svg)) for svg in (first, second)]
    assert ids[0] == {"d1-title", "d1-desc", "d1-mark", "d1-clip"}
    assert not ids[0] & ids[1]
    for svg, own in zip((first, second), ids, strict=True):
        referred = re.findall(r'(?:url\(|href=")#([\w-]+)', svg)
        assert referred
        assert set(referred) <= own
        assert re.search(r'aria-labelledby="(d\d-title) (d\d-desc)"', svg)


def test_styles_become_classes_of_the_page(taken):
    pictures, (svg, _) = taken
    assert "style" not in svg
    (red,) = re.findall(r"\.(\w+)\{fill: red\}", pictures.css)
    assert svg.count(f'class="{red}"') == 2
    assert "font-family: 'A B', sans-serif" in pictures.css
    assert "stroke-linejoin:round" in pictures.css
    # The same style of two pictures is one class.
    assert pictures.css.count("fill: red") == 1


def test_nothing_that_acts_is_taken(taken):
    pictures, (svg, _) = taken
    for word in ("script", "pwned", "onload", "onclick", "example", "metadata", "unused", "<a "):
        assert word not in svg, word
        assert word not in pictures.css, word
    assert "display" not in pictures.css


def test_text_stays_and_is_escaped(taken):
    _, (svg, _) = taken
    assert "A &lt;b&gt; picture" in svg
    root = ElementTree.fromstring(svg)
    assert ["".join(element.itertext()) for element in root.iter("text")] == ["a b c"]


def test_what_is_no_svg_is_refused():
    with pytest.raises(RecordError, match="stillwired curves"):
        Pictures().take("<svg")
