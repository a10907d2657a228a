"""From the markup of an encyclopaedia article to its running prose.

Tables, lists, boxes, notes and end matter go. A template that stands for words is
replaced by them; any other one inside a sentence, and every formula, leaves a gap, and a
paragraph with a gap is dropped: no text at all is better than a sentence with a hole.
"""

from __future__ import annotations

import html
import re
from collections.abc import Callable

from stillwired.data.cleaning import is_prose, tidy_line

GAP = "\x00"

_Replacement = str | Callable[[re.Match[str]], str]

_END_MATTER = re.compile(
    r"^==\s*(?:see also|references|notes|footnotes|citations|sources|further reading|"
    r"external links|bibliography|works cited|notes and references|filmography|discography|"
    r"works|selected works|gallery)\s*==\s*$",
    re.IGNORECASE | re.MULTILINE,
)
_COMMENT = re.compile(r"<!--.*?-->", re.DOTALL)
_NOTE = re.compile(r"<ref\b[^<>]*/>|<ref\b[^<>]*>.*?</ref\s*>", re.IGNORECASE | re.DOTALL)
_REMOVED_ELEMENT = re.compile(
    r"<(gallery|timeline|source|syntaxhighlight|imagemap|score|references|poem|pre)\b[^<>]*>"
    r".*?</\1\s*>",
    re.IGNORECASE | re.DOTALL,
)
_FORMULA = re.compile(r"<(math|chem|hiero)\b[^<>]*>.*?</\1\s*>", re.IGNORECASE | re.DOTALL)
_TEMPLATE = re.compile(r"\{\{([^{}]*)\}\}")
_TABLE = re.compile(r"\{\|(?:(?!\{\||\|\}).)*\|\}", re.DOTALL)
_LINK = re.compile(r"\[\[([^\[\]]*)\]\]")
_WEB_LINK = re.compile(r"\[(?:https?:)?//[^\s\]]+ ?([^\]]*)\]")
_NAMESPACE = re.compile(r"^:?(?:file|image|category|media|[a-z]{2,3}(?:-[a-z]+)?):", re.IGNORECASE)
_TAG = re.compile(r"</?[A-Za-z][^<>]*>")
_NOT_PROSE = tuple("*#:;|!{}=<")
_NAMED = re.compile(r"^\s*[\w-]+\s*=")

_NOTHING = re.compile(
    r"""rp|sfn[pm]?|harvnb|harvtxt|harvid|harv|harvard.citation.*|refn|efn|note|reflist
    |v?cite.*|citation(?:.needed)?|page.needed|who|when|clarify|fact|dubious|by.whom|which
    |verify.source|failed.verification|dead.link|webarchive|wayback|inconsistent.citations
    |ipa|ipac?-\w+|respell|audio|pron|lang-.*|lsj|main|see.also|further|about|other.uses
    |redirect2?|distinguish|for|clear|anchor|flagicon|shy|portal|wiktionary|coord|infobox.*
    |use.*|pp-.*|increase|decrease|(?:fr|de|es).icon|issn|oclc|isbn""",
    re.VERBOSE,
)
"""Templates that stand for nothing in the prose: notes, pronunciations, boxes, flags."""
_FIRST_ARGUMENT = re.compile(
    r"nowrap|small(?:er)?|big|sc|vanchor|nihongo|keypress|tooltip|quote|flag(?:country|u)?"
)
_LAST_ARGUMENT = re.compile(r"lang|transl(?:it|iteration)?|script")
_SPACE = re.compile(r"n?nbsp|spaces?|pipe|·")
_MONTHS = (
    *("January", "February", "March", "April", "May", "June"),
    *("July", "August", "September", "October", "November", "December"),
)
_UNITS = {
    "sqmi": "square miles",
    "mi2": "square miles",
    "sqkm": "square kilometres",
    "km2": "square kilometres",
    "sqft": "square feet",
    "m2": "square metres",
    "km": "kilometres",
    "m": "metres",
    "cm": "centimetres",
    "mm": "millimetres",
    "mi": "miles",
    "ft": "feet",
    "in": "inches",
    "yd": "yards",
    "nmi": "nautical miles",
    "kg": "kilograms",
    "g": "grams",
    "lb": "pounds",
    "lbs": "pounds",
    "oz": "ounces",
    "t": "tonnes",
    "C": "°C",
    "F": "°F",
    "K": "K",
    "ha": "hectares",
    "acre": "acres",
    "acres": "acres",
    "mph": "miles per hour",
    "km/h": "kilometres per hour",
    "m/s": "metres per second",
    "l": "litres",
    "L": "litres",
    "m3": "cubic metres",
    "km3": "cubic kilometres",
    "cumi": "cubic miles",
    "MW": "megawatts",
    "hp": "horsepower",
}
_RANGE = {"to": "to", "-": "to", "–": "to", "and": "and", "or": "or", "x": "by", "by": "by"}
_NUMBER = re.compile(r"[−-]?\d[\d,.]*$")


def _convert(parts: list[str]) -> str:
    """Words for a unit conversion such as ``{{convert|5|to|6|km|mi}}``."""
    words: list[str] = []
    for part in parts:
        if _NUMBER.match(part):
            words.append(part)
        elif part in _RANGE and words:
            words.append(_RANGE[part])
        else:
            unit = _UNITS.get(part)
            return " ".join([*words, unit]) if unit and words else GAP
    return GAP


def _as_of(parts: list[str]) -> str:
    if not parts:
        return GAP
    month = ""
    if len(parts) > 1 and parts[1].isdigit() and 1 <= int(parts[1]) <= 12:
        month = _MONTHS[int(parts[1]) - 1] + " "
    return f"As of {month}{parts[0]}"


def _words_of(template: re.Match[str]) -> str:
    """Return the words that a template stands for, nothing for a note, else a gap."""
    name, *arguments = template.group(1).split("|")
    name = re.sub(r"\s+", " ", name.replace("_", " ")).strip().lower()
    parts = [part.strip() for part in arguments if not _NAMED.match(part)]
    if _NOTHING.fullmatch(name):
        return ""
    if _SPACE.fullmatch(name):
        return " "
    if name == "'s":
        return "'s"
    if name in ("convert", "cvt"):
        return _convert(parts)
    if name == "as of":
        return _as_of(parts)
    if not parts:
        return GAP
    if _FIRST_ARGUMENT.fullmatch(name):
        return parts[0]
    if _LAST_ARGUMENT.fullmatch(name):
        return parts[-1]
    if name in ("circa", "c."):
        return f"c. {parts[0]}"
    if name == "frac" and len(parts) == 2:
        return f"{parts[0]}/{parts[1]}"
    return GAP


def _label_of(link: re.Match[str]) -> str:
    target, *labels = link.group(1).split("|")
    if _NAMESPACE.match(target.strip()):
        return ""
    return (labels[-1] if labels else target).strip()


def _until_stable(text: str, *steps: tuple[re.Pattern[str], _Replacement]) -> str:
    """Apply substitutions, innermost first, until none of them finds anything."""
    while True:
        before = text
        for pattern, replacement in steps:
            text = pattern.sub(replacement, text)
        if text == before:
            return text


def plain_text(markup: str) -> str:
    """Return the prose of an article's markup, paragraphs separated by a blank line.

    Args:
        markup: The article as its authors wrote it, entities already decoded once.
    """
    end = _END_MATTER.search(markup)
    text = markup[: end.start()] if end else markup
    text = _NOTE.sub("", _COMMENT.sub("", text))
    text = _FORMULA.sub(GAP, _REMOVED_ELEMENT.sub("\n", text))
    text = _until_stable(text, (_TEMPLATE, _words_of), (_TABLE, "\n"))
    text = _until_stable(text, (_LINK, _label_of))
    text = _WEB_LINK.sub(r"\1", text)
    text = re.sub(r"'{2,}", "", text)
    text = re.sub(r"<br\s*/?>", " ", text, flags=re.IGNORECASE)
    text = html.unescape(_TAG.sub("", text))
    paragraphs: list[str] = []
    for line in text.split("\n"):
        line = line.strip().lstrip(GAP).strip()
        if not line or line.startswith(_NOT_PROSE) or GAP in line:
            continue
        line = tidy_line(line)
        if is_prose(line) and not any(mark in line for mark in ("[[", "]]", "{{", "}}", "|")):
            paragraphs.append(line)
    return "\n\n".join(paragraphs)
