"""Every mutant by name: what a spec may end in, and what a matrix has for columns.

Names alone, so that options and reports know them without loading torch. What a mutant does
stands in the module that it names.
"""

from __future__ import annotations

import difflib
import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from stillwired.errors import UsageError

MARK = "~"
"""Stands between a checkpoint's spec and the name of a mutant."""


@dataclass(frozen=True)
class Mutant:
    """A damage that claims are held against.

    Attributes:
        name: What is wrong, in words; claims that declare it use the same ones.
        damages: What it is done to: the ``checkpoint``'s weights, or an ``instrument``.
        module: The module of this room that does it.
        harmless: Whether nothing is expected to come of it.
        spare: Whether it is tried only when it is named: another one is much like it and costs
            less or tells more, or the matrix's profile judges nothing that it spoils.
    """

    name: str
    damages: Literal["checkpoint", "instrument"]
    module: str
    harmless: bool = False
    spare: bool = False

    @property
    def slug(self) -> str:
        """The name as specs, tests and files have it."""
        return _slug(self.name)


def _slug(name: str) -> str:
    return re.sub(r"[^a-z0-9]+", "-", name.lower().replace("'", "")).strip("-")


def _all(
    damages: Literal["checkpoint", "instrument"], module: str, *names: str, **traits: bool
) -> list[Mutant]:
    return [Mutant(name, damages, f"stillwired.mutants.{module}", **traits) for name in names]


MUTANTS: tuple[Mutant, ...] = (
    *_all(
        "checkpoint",
        "weights",
        "random weights",
        "middle third untrained",
        "unembedding untrained",
        "layers shuffled",
        "halves swapped",
        "no mlp in the middle third",
        "heads shuffled within layers",
        "heads that carry tasks silenced",
        "noise of a half",
        "rounded to 2 bits",
    ),
    *_all("checkpoint", "weights", "rounded to 8 bits", harmless=True),
    *_all(
        "checkpoint",
        "weights",
        "middle layer skipped",
        "no attention in the middle third",
        "noise of a tenth",
        "rounded to 4 bits",
        "rounded to 3 bits",
        spare=True,
    ),
    *_all("checkpoint", "weights", "rounded to bfloat16", harmless=True, spare=True),
    *_all(
        "instrument",
        "readings",
        "the first block read at every depth",
        "the embedding read at every depth",
        "maps fitted to the final states of other documents",
        "a vocabulary map fitted to the tokens of other documents",
        "the same target whatever N",
        "every judged state replaced by their mean",
        "the first block's states put in at every depth",
        "every judged state exchanged for another document's",
        "a table that counts the tokens before instead of after",
    ),
    *_all(
        "instrument",
        "readers",
        "the vectors rounded to tokens before anything is read",
        "another document's tokens fed",
        "confidence read upside down",
        "one token ahead read whatever N",
        "bands of depth named the wrong way round",
        "followers dealt out at random",
        "another name's token fed behind every name",
    ),
    *_all(
        "instrument",
        "readers",
        "untrained vectors in place of the prompt",
        "prompts of another recipe rounded to tokens",
        spare=True,
    ),
    *_all(
        "instrument",
        "vectors",
        "other heads of the same layers taken for those that carry tasks",
        "other heads of the same layers taken for the vector, not for the doubled one",
        "every task gets the vector of the next one",
        "every task gets a random vector of its own one's length",
        "nearly all effects laid to the last layer",
        "no vector inserted into long text",
        "what each head looks at dealt out anew within the prompt",
    ),
    *_all(
        "instrument",
        "tasks",
        "every head's mean output taken from the next head",
        "every vector inserted in the last block",
        "every vector inserted with its sign turned",
        "right answers dealt out anew",
    ),
    *_all(
        "instrument",
        "patches",
        "patches land one layer early",
        "patches land one position early",
        "patches that leave everything as it is",
    ),
    *_all("instrument", "patches", "patches forgotten", "patches of nothing but zeros", spare=True),
    *_all(
        "instrument",
        "rows",
        "targets one token early",
        "judged on rows that readers were fitted to",
        "the lens without the final norm",
        "a wrong start before every text",
    ),
    *_all("instrument", "rows", "targets dealt out anew", spare=True),
)
"""In the order in which they are tried: checkpoints first."""

TRIED = tuple(mutant for mutant in MUTANTS if not mutant.spare)
"""Those that are tried when none is named."""

_BY_SLUG = {mutant.slug: mutant for mutant in MUTANTS}


def mutant_named(name: str) -> Mutant:
    """Return a mutant by its name, written with blanks or with hyphens.

    Raises:
        UsageError: If there is none; the message offers what may have been meant.
    """
    slug = _slug(name)
    if slug not in _BY_SLUG:
        near = difflib.get_close_matches(slug, _BY_SLUG, n=3)
        meant = f"Did you mean {' or '.join(near)}? " if near else ""
        raise UsageError(
            f"There is no mutant {name.strip()!r}. {meant}docs/mutants.md lists them all."
        )
    return _BY_SLUG[slug]


def split_spec(spec: str) -> tuple[str, Mutant | None]:
    """Take the mutant off a spec such as ``smollm2-135m-instruct~rounded-to-4-bits``.

    A tilde in a path is no mark: what exists as a file or folder is taken as it is, and so is
    what has a separator behind its last tilde.

    Returns:
        The spec of the sound checkpoint, and the mutant; or the whole spec and None.

    Raises:
        UsageError: If the spec ends in the name of a mutant that does not exist.
    """
    sound, mark, name = spec.rpartition(MARK)
    if not (mark and sound) or "/" in name or os.path.exists(os.path.expanduser(spec)):
        return spec, None
    return sound, mutant_named(name)


def with_mutants(specs: Sequence[str], mutants: Sequence[Mutant]) -> tuple[str, ...]:
    """Return each spec undamaged, and then under each mutant."""
    return tuple(
        whole
        for spec in specs
        for whole in (spec, *(f"{spec}{MARK}{mutant.slug}" for mutant in mutants))
    )
