"""The unit of text: one document, which is also the cluster that statistics resample."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Document:
    """A text that was written as one piece.

    Attributes:
        id: Unique in its corpus, ``domain/title``.
        domain: Label of the kind of text it is.
        text: Clean text; paragraphs are separated by a blank line.
    """

    id: str
    domain: str
    text: str
