"""What the pages have in common: one file that needs nothing else, and text that cannot act.

Names of models, words of tasks and the text of claims may hold anything, so they meet a page in
three steps: what cannot be shown is replaced (`stillwired.report.lens_terminal.pieces`), the rest
is escaped, and a content security policy admits the page's style and script by their digests,
and nothing else.
"""

from __future__ import annotations

import base64
import hashlib
import os
import unicodedata
from html import escape
from pathlib import Path

from stillwired.errors import RecordError, UsageError
from stillwired.records.files import write_whole
from stillwired.report.lens_terminal import pieces

THEME = """<fieldset class="theme">
<legend>Colours</legend>
<label><input type="radio" name="theme" id="system" checked>system</label>
<label><input type="radio" name="theme" id="light">light</label>
<label><input type="radio" name="theme" id="dark">dark</label>
</fieldset>"""
"""A choice of colours; the style sheet looks at what is checked."""


def safe(text: object) -> str:
    """Write a text so that it stands for itself, in an element or in an attribute's quotes."""
    plain = str(text)
    # Most text is harmless, and finding out sign by sign is what a large page would wait for.
    if not plain.isprintable() or unicodedata.category(plain[:1] or " ").startswith("M"):
        plain = "".join(shown for shown, _ in pieces(plain, literal=True))
    return escape(plain)


def document(title: str, css: str, script: str, body: str) -> str:
    """Write a whole page.

    Args:
        title: Its title, already safe.
        css: Its style sheet.
        script: Its script.
        body: What it shows, already safe.
    """
    policy = (
        f"default-src 'none'; style-src '{_digest(css)}'; script-src '{_digest(script)}'; "
        "base-uri 'none'; form-action 'none'"
    )
    return f"""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="{policy}">
<meta name="referrer" content="no-referrer">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}</title>
<style>{css}</style>
</head>
<body>
{body}
<script>{script}</script>
</body>
</html>
"""


def both(light: str, dark: str, what: str = "background") -> str:
    """Declare a colour for both themes; browsers without `light-dark` take the light one."""
    return f"{what}:{light};{what}:light-dark({light},{dark})"


def _digest(content: str) -> str:
    """Return what a content security policy admits a style or a script by."""
    return f"sha256-{base64.b64encode(hashlib.sha256(content.encode()).digest()).decode()}"


def require_place(path: Path, option: str = "--out") -> None:
    """Find out before the work begins whether a page can be written to a path.

    Args:
        path: The page's file.
        option: What the path was given with, for the message.

    Raises:
        UsageError: If not; the message says why.
    """
    if path.is_dir():
        raise UsageError(f"{path} is a folder. Name a file in it, such as {path / 'page.html'}.")
    probe = path.with_name(f".{path.name}.{os.getpid()}")
    _write(probe, "", path, option)
    probe.unlink()


def write_page(path: Path, page: str, option: str = "--out") -> None:
    """Write a page whole, or leave what was there.

    Raises:
        UsageError: If it cannot be written.
    """
    _write(path, page, path, option)


def _write(place: Path, page: str, asked: Path, option: str) -> None:
    def write(file: Path) -> None:
        file.write_text(page, encoding="utf-8", newline="")

    try:
        write_whole(place, write)
    except RecordError as error:
        cause = error.__cause__
        why = getattr(cause, "strerror", None) or cause
        raise UsageError(
            f"{asked} cannot be written: {why}. Name a file in another folder with {option}."
        ) from error
