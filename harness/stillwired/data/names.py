"""Well-known names of several words, each in a text that leads up to it.

The names and the texts around them were written for this project; none is taken from a source.
Each text is its own, in the manner of a letter, a lecture, a recipe or a report, and says
nothing of the name before it comes: neither the whole of it nor its last word.

The texts are long because positions with fewer than 32 tokens before them are never read. With
35 words or more in front, every token of every name has that many in any usual vocabulary.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import lru_cache
from importlib import resources

KINDS = ("place", "person", "organisation", "work", "event", "other")


@dataclass(frozen=True, slots=True)
class NamedText:
    """A name in a text of its own.

    Attributes:
        name: The name, of several tokens in most vocabularies.
        kind: One of ``KINDS``.
        before: What leads up to the name, without the space in front of it.
        after: What follows the name, with its leading space or punctuation.
    """

    name: str
    kind: str
    before: str
    after: str

    @property
    def text(self) -> str:
        """The whole text."""
        return f"{self.before} {self.name}{self.after}"


@lru_cache(maxsize=1)
def load_names() -> tuple[NamedText, ...]:
    """Return all names with their texts, as listed in ``names.jsonl``."""
    listed = (resources.files("stillwired.data") / "names.jsonl").read_text(encoding="utf-8")
    return tuple(NamedText(**json.loads(line)) for line in listed.splitlines())
