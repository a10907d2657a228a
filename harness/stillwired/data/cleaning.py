"""Cleaning that several kinds of text share: spaces, debris, HTML, quotations, code.

Everything here works on characters alone, so that the same bytes give the same text on
every machine.
"""

from __future__ import annotations

import html
import re

_SPACES = re.compile(r"[ \t\u00a0\u2000-\u200a\u202f\u205f\u3000]+")
_INVISIBLE = re.compile(r"[\x00-\x08\x0b-\x1f\x7f\u00ad\u200b-\u200f\u2028\u2029\u2060\ufeff]")
_EMPTY_BRACKETS = re.compile(r" ?[(\[]\s*[,;:–-]*\s*[)\]]")
_AFTER_OPENING = re.compile(r"([(\[])\s*(?:[,;]\s*)+")
_BEFORE_CLOSING = re.compile(r"(?:\s*[,;:])*\s*([)\]])")
_SPACE_BEFORE_STOP = re.compile(r" +([,;:!?]|\.(?!\.))(?=[\s\"')\]]|$)")
_DOUBLED_COMMA = re.compile(r",(?:\s*,)+")

_BLOCK_TAG = re.compile(
    r"</?(?:p|br|ul|ol|li|dl|dt|dd|note|important|div|pre|table|thead|tbody|tr|td|th|section"
    r"|h[1-6]|fullname|blockquote|caution|warning|tip)\b[^<>]*>",
    re.IGNORECASE,
)
_ANY_TAG = re.compile(r"</?[A-Za-z][^<>]*>|<!--.*?-->", re.DOTALL)

_HOLE = re.compile(r"\S {2,}\S|[\w)] [.,;](?:\s|$)")
_COLUMN = re.compile(r"\S {3,}\S")
_BULLET = re.compile(r"(?:[-*•+]|\(?\w{1,2}[.)])\s|--|[\"'“‘]")

PROSE_ENDS = (".", "!", "?", '."', '."', ".”", "?”", "!”", ".)", ":", ".'")


def tidy_line(line: str) -> str:
    """Return a line without doubled spaces, invisible characters and debris of removals.

    What a removed pronunciation or formula leaves behind (``( )``, ``(; born``, a space
    before a comma) is mended.
    """
    line = _SPACES.sub(" ", _INVISIBLE.sub("", line))
    line = _AFTER_OPENING.sub(r"\1", line)
    line = _BEFORE_CLOSING.sub(r"\1", line)
    line = _EMPTY_BRACKETS.sub("", line)
    line = re.sub(r"([(\[]) +", r"\1", line)
    line = _DOUBLED_COMMA.sub(",", line)
    line = _SPACE_BEFORE_STOP.sub(r"\1", line)
    return _SPACES.sub(" ", line).strip()


def has_hole(text: str) -> bool:
    """Tell whether something was cut out of the middle of a sentence, such as a formula.

    Plain-text exports leave two spaces, or a space before a stop, where it stood.
    """
    return _HOLE.search(text) is not None


def is_prose(line: str, *, characters: int = 60, words: int = 8) -> bool:
    """Tell whether a line is a full sentence or more, and not a heading, label or link."""
    return (
        len(line) >= characters
        and line.count(" ") + 1 >= words
        and line.endswith(PROSE_ENDS)
        and "http" not in line
        and "www." not in line
    )


def html_paragraphs(markup: str) -> list[str]:
    """Return the text of HTML, one entry for each block element, in order."""
    text = _ANY_TAG.sub("", _BLOCK_TAG.sub("\n", markup.replace("\n", " ")))
    lines = (tidy_line(line) for line in html.unescape(text).split("\n"))
    return [line for line in lines if line]


def letters_share(text: str) -> float:
    """Return the share of letters among the characters that are not white space."""
    solid = [character for character in text if not character.isspace()]
    if not solid:
        return 0.0
    return sum(character.isalpha() for character in solid) / len(solid)


def has_columns(text: str) -> bool:
    """Tell whether a text is laid out in columns, which reading line by line would mix up."""
    return (
        sum(_COLUMN.search(line.strip().expandtabs()) is not None for line in text.split("\n")) > 1
    )


def quotation(item: str, *, wrapped_at: int = 58) -> str:
    """Return a quotation with hard-wrapped prose joined and layout spaces removed.

    A line shorter than ``wrapped_at`` characters ends where its author ended it (verse,
    dialogue, an attribution), so only longer lines are joined with the next.
    """
    lines = [_SPACES.sub(" ", _INVISIBLE.sub("", line)).strip() for line in item.split("\n")]
    joined: list[str] = []
    open_line = False
    for line in lines:
        if open_line and line and not _BULLET.match(line):
            joined[-1] = f"{joined[-1]} {line}"
        else:
            joined.append(line)
        open_line = len(line) >= wrapped_at
    return re.sub(r"\n{3,}", "\n\n", "\n".join(joined)).strip()


def source_code(text: str) -> str:
    """Return code with spaces for tabs, no trailing spaces and at most two blank lines."""
    lines = (_INVISIBLE.sub("", line.expandtabs(4)).rstrip() for line in text.splitlines())
    return re.sub(r"\n{4,}", "\n\n\n", "\n".join(lines)).strip("\n")


def cut_at_line(text: str, limit: int) -> str:
    """Return at most ``limit`` characters of a text, ending at the end of a line.

    A single line longer than the limit is cut at a space.
    """
    if len(text) <= limit:
        return text
    end = text.rfind("\n", 0, limit + 1)
    if end <= 0:
        end = text.rfind(" ", 0, limit + 1)
    return text[: end if end > 0 else limit].rstrip()
