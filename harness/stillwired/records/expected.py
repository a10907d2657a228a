"""Files of expected verdicts: what is known of a checkpoint, cell by cell, with its reason."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from stillwired.errors import RecordError, UsageError
from stillwired.records.files import check_form, read_json

if TYPE_CHECKING:
    from stillwired.judge.results import Verdict, Word

SCHEMA = 1


@dataclass(frozen=True)
class ExpectedCell:
    """One cell whose verdict is known to be another than HOLDS, or not to be settled.

    Attributes:
        claim: The claim's id.
        params: The cell's parameters, all of them.
        verdicts: The verdicts that may stand; never BROKEN.
        reason: Why they are right for this checkpoint.
    """

    claim: str
    params: Mapping[str, Any]
    verdicts: tuple[Word, ...]
    reason: str

    @property
    def key(self) -> str:
        """The cell's name within a record."""
        from stillwired.judge.results import cell_key

        return cell_key(self.claim, self.params)


@dataclass(frozen=True)
class Expectations:
    """The content of one file.

    A cell that is not listed is expected to hold, or to be reported if its claim is no more.

    Attributes:
        path: The file.
        checkpoint: Name of the checkpoint that it is about.
        profile: Profile that it is about.
        cells: The listed cells, by name.
    """

    path: Path
    checkpoint: str
    profile: str
    cells: Mapping[str, ExpectedCell]

    def allowed(self, verdict: Verdict) -> tuple[Word, ...]:
        """Return the verdicts that may stand for a cell that came out so."""
        cell = self.cells.get(verdict.key)
        return cell.verdicts if cell is not None else (verdict.usual,)

    def met(self, verdict: Verdict) -> bool:
        """Whether a verdict is one that may stand."""
        return verdict.verdict in self.allowed(verdict)

    def check(self, models: Sequence[str], profile: str) -> None:
        """Check that the file is about the run, as far as that is known without a model.

        Raises:
            UsageError: If the run has several checkpoints, or another profile.
        """
        if len(models) > 1:
            raise UsageError(
                "--claims-expected is about one checkpoint, and --claims-model names "
                f"{len(models)}. Run them one by one."
            )
        if self.profile != profile:
            raise UsageError(
                f"{self.path} is about the profile {self.profile}, and this run's is {profile}. "
                f"Give --claims-profile {self.profile}, or another file."
            )

    def check_checkpoint(self, name: str) -> None:
        """Check that the file is about the checkpoint of that name.

        Raises:
            UsageError: If it is about another one.
        """
        if self.checkpoint != name:
            raise UsageError(
                f"{self.path} is about {self.checkpoint}, and this run's checkpoint is {name}. "
                f"Give --claims-model {self.checkpoint}, or another file."
            )

    def reason(self, key: str) -> str:
        """Return why a listed cell's verdicts are right; empty for one that is not listed."""
        cell = self.cells.get(key)
        return cell.reason if cell is not None else ""


def read_expected(path: Path) -> Expectations:
    """Read a file of expected verdicts.

    Raises:
        RecordError: If it is missing, is not of this form, or lists a cell twice; the message
            names the entry.
    """
    from stillwired.judge.results import Word

    data = read_json(path, "file of expected verdicts")

    def wrong(what: str) -> NoReturn:
        raise RecordError(
            f"{path}: {what}. The form is described in docs/records.md, under expected verdicts."
        )

    kinds = {"checkpoint": str, "profile": str, "expected": list}
    check_form(data, SCHEMA, kinds, wrong)

    cells: dict[str, ExpectedCell] = {}
    for number, entry in enumerate(data["expected"], start=1):
        if not isinstance(entry, dict) or set(entry) != {"claim", "params", "verdicts", "reason"}:
            wrong(f"entry {number} does not have exactly claim, params, verdicts and reason")
        name = f"entry {number} ({entry['claim']})"
        if not isinstance(entry["claim"], str) or not isinstance(entry["params"], dict):
            wrong(f"{name}: claim is a string and params are an object")
        if not isinstance(entry["reason"], str) or not entry["reason"].strip():
            wrong(f"{name} gives no reason")
        words = entry["verdicts"]
        known = [str(word) for word in Word]
        if not isinstance(words, list) or not words or any(word not in known for word in words):
            wrong(f"{name}: verdicts is a list of one or more of {', '.join(known)}")
        if Word.BROKEN in words:
            wrong(f"{name} lists BROKEN, and a broken measurement never stands")
        cell = ExpectedCell(
            claim=entry["claim"],
            params=entry["params"],
            verdicts=tuple(Word(word) for word in words),
            reason=entry["reason"].strip(),
        )
        if cell.key in cells:
            wrong(f"{name} is listed twice")
        cells[cell.key] = cell
    return Expectations(path, data["checkpoint"], data["profile"], cells)
