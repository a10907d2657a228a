"""Words of verdicts and changes on a page: always written out, never told by colour alone."""

from __future__ import annotations

from stillwired.report.html import both, safe

# Ground and text in the light, ground and text in the dark.
COLOURS = {
    "HOLDS": ("#d5efdc", "#0d4d20", "#173f25", "#bdeecb"),
    "FAILS": ("#fbd9d5", "#83170f", "#5a1d18", "#ffd0ca"),
    "INCONCLUSIVE": ("#fcebbd", "#5f4300", "#4a3a0a", "#f8e0a0"),
    "NOT APPLICABLE": ("#e2e6ec", "#39424e", "#353d48", "#d8dee7"),
    "BROKEN": ("#ead8f8", "#571d80", "#47235f", "#e9d3fa"),
    "REPORTED": ("#d6e7fb", "#123f78", "#1a3c64", "#c9e0fd"),
}
# A change looks as the verdict that means as much.
_CHANGES = {
    "KEPT": "HOLDS",
    "GAINED": "REPORTED",
    "LOST": "FAILS",
    "UNDECIDED": "INCONCLUSIVE",
    "NEW": "NOT APPLICABLE",
    "NOT COMPARED": "NOT APPLICABLE",
}


def slug(word: str) -> str:
    """Return the class that a verdict or a change looks by."""
    return _CHANGES.get(word, word).lower().replace(" ", "-")


def chip(word: str, note: str = "", *, like: str = "") -> str:
    """Write a word in its colour, with its note in brackets.

    Args:
        word: What is written.
        note: What qualifies it.
        like: The verdict that it looks like, where it is none itself.
    """
    said = f" ({safe(note)})" if note else ""
    return f'<b class="w {slug(like or word)}">{safe(word)}{said}</b>'


def word_rules() -> str:
    """Write the part of a style sheet that colours words, and cells that hold one."""
    return "\n".join(
        f".w.{slug(word)},td.{slug(word)}{{{both(light, dark)};{both(ink, glow, 'color')}}}"
        for word, (light, ink, dark, glow) in COLOURS.items()
    )
