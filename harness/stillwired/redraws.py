"""What ``--claims-redraw`` asks for: judged data drawn anew, or fits made anew."""

from __future__ import annotations

import re
from dataclasses import dataclass

from stillwired.errors import UsageError

KINDS: dict[str, str] = {
    "seed": "judged passages, questions and shots drawn with another seed",
    "documents": "judged passages of documents that the undrawn run does not judge",
    "batches": "as seed, run in batches of half the size",
    "refit": "what is trained and chosen is so again, and judged on the same data",
}
"""By the word that a label begins with, what a redraw changes."""

REFERENCE = {"dtype": "float32", "attention": "eager"}
"""The regime that every other is held against."""

_SUFFIX = "+reference-fits"
_LABEL = re.compile(rf"({'|'.join(KINDS)})-([1-9][0-9]{{0,5}})({re.escape(_SUFFIX)})?")


@dataclass(frozen=True)
class Redraw:
    """One redraw of a run.

    Attributes:
        kind: One of :data:`KINDS`.
        number: Which one, from 1 on.
        reference_fits: Whether what is fitted and chosen is that of the reference regime, although
            what is judged runs in another.
    """

    kind: str
    number: int
    reference_fits: bool = False

    @property
    def label(self) -> str:
        """The redraw as it is asked for, and as records have it."""
        return f"{self.kind}-{self.number}{_SUFFIX if self.reference_fits else ''}"

    @property
    def keeps_data(self) -> bool:
        """Whether the data of the undrawn run are judged."""
        return self.kind == "refit"

    @property
    def cut(self) -> int:
        """Into how many parts each of the usual batches is cut."""
        return 2 if self.kind == "batches" else 1

    @classmethod
    def of_record(cls, label: str) -> Redraw | None:
        """Read what a record says: a label, or nothing."""
        return cls.parse(label) if label else None

    @classmethod
    def parse(cls, text: str) -> Redraw:
        """Read a label.

        Raises:
            UsageError: If there is no such redraw.
        """
        found = _LABEL.fullmatch(text)
        if found is None:
            known = "; ".join(f"{kind}-1: {what}" for kind, what in KINDS.items())
            raise UsageError(
                f"--claims-redraw: there is no redraw {text!r}. Write a kind and a number from 1 "
                f"on ({known}). In another regime than the reference, seed-1{_SUFFIX} keeps the "
                "reference's fits."
            )
        redraw = cls(found[1], int(found[2]), found[3] is not None)
        if redraw.reference_fits and redraw.kind != "seed":
            raise UsageError(
                f"--claims-redraw: {text} does not go together. Only seed-{redraw.number} keeps "
                "the reference's fits in another regime."
            )
        return redraw

    def check_regime(self, dtype: str, attention: str) -> None:
        """Refuse to keep the reference's fits in the reference regime itself.

        Args:
            dtype: The run's dtype.
            attention: The run's attention kernel.

        Raises:
            UsageError: If the redraw says that the run is in another regime, and it is not.
        """
        if self.reference_fits and {"dtype": dtype, "attention": attention} == REFERENCE:
            raise UsageError(
                f"--claims-redraw: {self.label} is about a run in another regime than the "
                f"reference, and this one is in {dtype} with {attention} attention. Leave "
                f"{_SUFFIX} out, or name the regime with --claims-dtype or --claims-attention."
            )
