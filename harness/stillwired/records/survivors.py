"""Files of known survivors: what mutants may leave standing on a checkpoint, with the reasons."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import NoReturn

from stillwired.errors import RecordError
from stillwired.mutants.catalogue import mutant_named
from stillwired.records.files import check_form, read_json
from stillwired.records.matrix import Matrix

SCHEMA = 1


@dataclass(frozen=True)
class Survivors:
    """The content of one file.

    Attributes:
        path: The file.
        checkpoint: Name of the undamaged checkpoint that it is about.
        profile: Profile that it is about.
        claims: Why a claim may stand though it was damaged as it asks for, by id.
        mutants: Why a damaged instrument need not be noticed, by name.
    """

    path: Path
    checkpoint: str
    profile: str
    claims: Mapping[str, str] = field(default_factory=dict)
    mutants: Mapping[str, str] = field(default_factory=dict)

    def check(self, checkpoint: str, profile: str) -> None:
        """Check that the file is about a run.

        Raises:
            RecordError: If it is about another checkpoint or profile.
        """
        for what, mine, theirs in (
            ("checkpoint", self.checkpoint, checkpoint),
            ("profile", self.profile, profile),
        ):
            if mine != theirs:
                raise RecordError(
                    f"{self.path} is about the {what} {mine}, and the matrix about {theirs}. "
                    "Give a file that is about this one."
                )


@dataclass(frozen=True)
class Decision:
    """What a matrix comes to.

    Attributes:
        passed: Whether nothing survives but what is known to, and that does.
        stale: What is listed as a survivor and is none any more, a line each.
    """

    passed: bool
    stale: tuple[str, ...] = ()


def decide(matrix: Matrix, survivors: Survivors | None = None) -> Decision:
    """Hold a matrix against the survivors that are known.

    What survives must be listed, and what is listed must survive, unless it was not tried.

    Args:
        matrix: The matrix.
        survivors: The known ones; None for none.
    """
    claims = survivors.claims if survivors else {}
    mutants = survivors.mutants if survivors else {}
    unknown, stale = False, list[str]()
    for found, listed, tried in (
        (matrix.standing, claims, set(matrix.tried)),
        (matrix.unnoticed, mutants, {mutant.name for mutant in matrix.instruments}),
    ):
        names = {one.name for one in found}
        unknown = unknown or not names <= set(listed)
        stale += [
            f"{name} is listed as a survivor and is none any more: take it off the list"
            for name in listed
            if name in tried - names
        ]
    return Decision(not unknown and not stale, tuple(stale))


def read_survivors(path: Path) -> Survivors:
    """Read a file of known survivors.

    Raises:
        RecordError: If it is missing, is not of this form, or lists something twice.
    """
    data = read_json(path, "file of known survivors")

    def wrong(what: str) -> NoReturn:
        raise RecordError(f"{path}: {what}. The form is described in docs/mutants.md.")

    kinds = {"checkpoint": str, "profile": str, "survivors": list}
    check_form(data, SCHEMA, kinds, wrong)
    found: dict[str, dict[str, str]] = {"claim": {}, "mutant": {}}
    for number, entry in enumerate(data["survivors"], start=1):
        keys = set(entry) if isinstance(entry, dict) else set()
        if keys not in ({"claim", "reason"}, {"mutant", "reason"}):
            wrong(f"entry {number} does not have exactly a claim or a mutant, and a reason")
        if not all(isinstance(value, str) and value.strip() for value in entry.values()):
            wrong(f"entry {number}: what survives and the reason are strings, and not empty")
        what = "claim" if "claim" in keys else "mutant"
        name = entry[what].strip()
        name = mutant_named(name).name if what == "mutant" else name
        if name in found[what]:
            wrong(f"entry {number} ({name}) is listed twice")
        found[what][name] = entry["reason"].strip()
    return Survivors(path, data["checkpoint"], data["profile"], found["claim"], found["mutant"])
