"""Whose text is read: sources, licences and credit lines."""

from __future__ import annotations

import textwrap

from stillwired.data.sources import Domain, domains

_WIDTH = 96


def _wrapped(label: str, text: str) -> str:
    return textwrap.fill(
        text,
        _WIDTH,
        initial_indent=f"  {label:<9}",
        subsequent_indent=" " * 11,
        break_long_words=False,
        break_on_hyphens=False,
    )


def _entry(domain: Domain) -> str:
    wheel = domain.wheel
    return "\n".join(
        [
            f"{domain.label} ({domain.weight:.0%} of the passages)",
            _wrapped("text", f"{domain.title}."),
            _wrapped("credit", domain.credit),
            _wrapped("licence", domain.licence),
            _wrapped("changes", domain.changes),
            _wrapped("package", f"{wheel.name} {wheel.version}, {wheel.filename}"),
            _wrapped("sha256", wheel.sha256),
        ]
    )


def credits_text() -> str:
    """Return the sources of the built-in text with licences and credits, for a terminal."""
    head = textwrap.fill(
        "The built-in English text is read from published packages on your own machine; none "
        "of it is part of this one. Nothing is installed or imported from them.",
        _WIDTH,
    )
    return "\n\n".join([head, *(_entry(domain) for domain in domains())]) + "\n"
