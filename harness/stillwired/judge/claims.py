"""Claims as data: what a paper says, which contrast shows it, and what counts as showing it."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import Any, Literal, TypeAlias, get_args

from stillwired.errors import ClaimError
from stillwired.judge.expectations import (
    Difference,
    Expectation,
    Json,
    Level,
    expectation_from_json,
)
from stillwired.judge.regions import Region

Value: TypeAlias = str | int | float | bool

_ID = re.compile(r"[a-z0-9]+(-[a-z0-9]+)*/[a-z0-9]+(-[a-z0-9]+)*")


@dataclass(frozen=True)
class Paper:
    """A publication that claims refer to.

    Attributes:
        key: Short name, the same as the folder of its claims.
        title: Full title.
        authors: Authors as they are usually cited.
        venue: Where and when it appeared.
        arxiv: arXiv number, or empty.
    """

    key: str
    title: str
    authors: str
    venue: str
    arxiv: str = ""

    def at(self, place: str) -> Source:
        """Return a source: a place in this paper, such as ``"Figure 4 and Table 2"``."""
        return Source(self, place)


@dataclass(frozen=True)
class Source:
    """Where in a paper a finding stands."""

    paper: Paper
    place: str


Otherwise: TypeAlias = Literal["not applicable", "undecided", "not held", "not failed"]


@dataclass(frozen=True)
class Needs:
    """What must be so for a claim to apply, or for its figures to mean anything.

    Attributes:
        ability: Name of the outcome that shows it, measured on rows that are not judged.
        at_least: Smallest mean that is enough; or
        at_most: largest mean that is allowed. Exactly one of the two.
        unit: Unit of the score, for messages, for example ``"bits"``.
        otherwise: What a claim becomes where the need is not met: ``not applicable``; or
            ``undecided`` where not the model but the measurement falls short; or, where that
            can only flatter the claim, ``not held``: it may fail and not hold; or, where it
            can only harm the claim, ``not failed``.
    """

    ability: str
    at_least: float | None = None
    at_most: float | None = None
    unit: str = ""
    otherwise: Otherwise = "not applicable"

    def __post_init__(self) -> None:
        if (self.at_least is None) == (self.at_most is None):
            raise ClaimError(f"{self.ability!r} needs exactly one of at_least and at_most.")
        if not math.isfinite(self.threshold):
            raise ClaimError(f"The threshold of {self.ability!r} must be a finite number.")
        if self.otherwise not in get_args(Otherwise):
            raise ClaimError(
                f"{self.ability!r} cannot otherwise be {self.otherwise!r}. Write 'not applicable', "
                "'undecided', 'not held' or 'not failed'."
            )

    @property
    def threshold(self) -> float:
        """The limit, whichever side it is on."""
        limit = self.at_least if self.at_least is not None else self.at_most
        assert limit is not None
        return limit

    @property
    def of_the_model(self) -> bool:
        """Whether it is the model that falls short where it is not met, so that nothing applies."""
        return self.otherwise == "not applicable"

    @property
    def region(self) -> Region:
        """Where the mean has to lie."""
        if self.at_least is not None:
            return Region("at least", low=self.at_least)
        return Region("at most", high=self.at_most)


@dataclass(frozen=True, kw_only=True)
class Claim:
    """One finding of one paper, declared before anyone looks.

    A claim whose expectations are all ``reported`` is an estimate and no test: it declares
    nothing that could decide, no margin, rivals, null, sensitivity or damage need be named,
    and no cell of it is primary.

    Attributes:
        id: ``paper/finding`` in lower case with hyphens.
        version: Raised whenever what is compared changes.
        says: The finding as one sentence.
        source: Where the paper says it.
        published: The published value, as a reader would quote it.
        expects: Quantities and regions; all must hold, the worst decides.
        margin: Loss of the contrast that counts when two checkpoints are compared. Required
            unless the claim is only reported.
        applies: Abilities that the claim presupposes.
        rivals: Arms that would explain the effect away; each must be beaten.
        null: What the null check does to the instrument, or None without one.
        sensitivity: Difference that is planted into arms to see whether a claim of no difference
            could have noticed it; for ``at_least``, an effect the other way round that the
            measurement must be able to see. An expectation ``within`` needs a sensitivity, or a
            least effect of one of its arms beside it: two dead readers agree perfectly.
        primary: Parameters of the cell that the gate looks at; empty means the only cell.
        mutant: The damage that must make the claim fail. Required unless it is only reported.
        unit: What the clusters are called in messages.
    """

    id: str
    version: int
    says: str
    source: Source
    published: str
    expects: tuple[Expectation, ...]
    margin: float | None = None
    mutant: str | None = None
    applies: tuple[Needs, ...] = ()
    rivals: tuple[str, ...] = ()
    null: str | None = None
    sensitivity: float | None = None
    primary: Mapping[str, Value] = field(default_factory=dict)
    unit: str = "documents"

    def __post_init__(self) -> None:
        for name in ("expects", "applies", "rivals"):
            object.__setattr__(self, name, _sequence(self.id, name, getattr(self, name)))
        object.__setattr__(self, "primary", dict(self.primary))
        if not _ID.fullmatch(self.id):
            raise ClaimError(
                f"The claim id {self.id!r} is not of the form paper/finding (lower-case "
                "letters, digits, hyphens). Rename it, for example future-lens/bigram-floor."
            )
        for name in ("says", "published", "mutant", "unit"):
            value = getattr(self, name)
            if value is not None and not str(value).strip():
                raise self._wrong(f"{name} is empty", "Say it in a few words")
        if self.version < 1:
            raise self._wrong(f"version is {self.version}", "Count versions from 1")
        if not self.expects:
            raise self._wrong("it expects nothing", "Declare at least one expectation")
        self._check_reported()
        if self.margin is not None and not (math.isfinite(self.margin) and self.margin > 0):
            raise self._wrong(f"margin is {self.margin}", "Declare the loss that counts, above 0")
        if self.null is not None and not self.null.strip():
            raise self._wrong("null is empty", "Say what the null check does, or leave it out")
        self._check_sensitivity()
        self._check_rivals()
        for key, value in self.primary.items():
            if not isinstance(value, str | int | float):
                raise self._wrong(
                    f"primary[{key!r}] is a {type(value).__name__}",
                    "Use strings, numbers and booleans, as in the test's parameters",
                )

    def _check_reported(self) -> None:
        regions = [e.label for e in self.expects if not e.reported]
        if not regions:
            for name in ("null", "sensitivity", "rivals"):
                if getattr(self, name) not in (None, ()):
                    raise self._wrong(
                        f"{name} is declared, but the claim is only reported and decides nothing",
                        "Leave it out, or declare a region",
                    )
            return
        reported = [e.label for e in self.expects if e.reported]
        if reported:
            raise self._wrong(
                f"{reported[0]} is only reported, {regions[0]} has a region",
                "Declare two claims: one that is judged, and one that is reported throughout",
            )
        for name, remedy in (
            ("margin", "Declare the loss that counts when two checkpoints are compared"),
            ("mutant", "Name the damage that must make the claim fail"),
        ):
            if getattr(self, name) is None:
                raise self._wrong(f"{name} is missing", remedy)

    def _check_sensitivity(self) -> None:
        equivalence = [e for e in self.expects if e.within is not None]
        if self.sensitivity is None:
            compared = {arm for e in equivalence for arm in e.arms}
            alive = {arm for e in self.expects if e.at_least is not None for arm in e.arms}
            if compared and not compared & alive:
                raise self._wrong(
                    f"{equivalence[0].label} is expected to be no difference, and two dead arms "
                    "differ in nothing",
                    "Expect a least effect of one of them as well (at_least=), or declare a "
                    "sensitivity and hand over arms with that difference planted",
                )
            return
        if not equivalence and all(e.at_least is None for e in self.expects):
            raise self._wrong(
                "sensitivity is declared without an expectation that could miss a difference",
                "Leave it out, or use within= or at_least=",
            )
        if not (math.isfinite(self.sensitivity) and self.sensitivity > 0):
            raise self._wrong(f"sensitivity is {self.sensitivity}", "Declare a difference above 0")

    def _check_rivals(self) -> None:
        if not self.rivals:
            return
        if len(set(self.rivals)) != len(self.rivals):
            raise self._wrong("a rival is named twice", "Name each rival once")
        if not self.challenged:
            raise self._wrong(
                "rivals need an arm to beat, and no expectation is a Level or Difference "
                "with at_least or between",
                "Leave the rivals out, or declare such an expectation",
            )
        own = set(self.challenged) & set(self.rivals)
        if own:
            raise self._wrong(f"{own.pop()!r} is its own rival", "Name another arm")

    def _wrong(self, what: str, remedy: str) -> ClaimError:
        return ClaimError(f"Claim {self.id}: {what}. {remedy}.")

    @property
    def plants(self) -> bool:
        """Whether its evidence must hold arms with a difference planted in them."""
        return self.sensitivity is not None and any(e.within is not None for e in self.expects)

    @property
    def reported(self) -> bool:
        """Whether the claim is an estimate only, and can neither hold nor fail."""
        return all(expectation.reported for expectation in self.expects)

    @property
    def challenged(self) -> tuple[str, ...]:
        """Arms that rivals are held against: those that an expectation wants to be high."""
        arms: dict[str, None] = {}
        for expectation in self.expects:
            if expectation.region.low is None or expectation.within is not None:
                continue
            if isinstance(expectation, Difference | Level):
                arms[expectation.arms[0]] = None
        return tuple(arms)

    @property
    def arms(self) -> tuple[str, ...]:
        """Names of all arms that evidence must hold, rivals last."""
        names = [arm for expectation in self.expects for arm in expectation.arms]
        return tuple(dict.fromkeys([*names, *self.rivals]))

    def is_primary(
        self, params: Mapping[str, Value], among: Iterable[Mapping[str, Value]] = ()
    ) -> bool:
        """Whether a cell is the one that the gate looks at.

        Args:
            params: The cell's parameters.
            among: Those of every cell that a run has of the claim, in the order of its tests.
                Where none has a declared value, as with tasks of one's own, the first one's
                counts instead. Without any, what is declared counts.
        """
        if self.reported:
            return False
        left = list(among)
        for name, value in self.primary.items():
            having = [cell for cell in left if name in cell]
            if having and all(cell[name] != value for cell in having):
                value = having[0][name]
            if name not in params or params[name] != value:
                return False
            left = [cell for cell in having if cell[name] == value]
        return True

    def to_json(self) -> Json:
        """Return plain data, enough to judge a record without importing the claim."""
        return {
            "id": self.id,
            "version": self.version,
            "says": self.says,
            "source": {
                "paper": {f.name: getattr(self.source.paper, f.name) for f in fields(Paper)},
                "place": self.source.place,
            },
            "published": self.published,
            "expects": [expectation.to_json() for expectation in self.expects],
            "margin": self.margin,
            "applies": [{f.name: getattr(n, f.name) for f in fields(Needs)} for n in self.applies],
            "rivals": list(self.rivals),
            "null": self.null,
            "sensitivity": self.sensitivity,
            "primary": dict(self.primary),
            "mutant": self.mutant,
            "unit": self.unit,
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Claim:
        """Rebuild a claim.

        Raises:
            ClaimError: If the data are not a claim's, or declare what has no meaning.
        """
        try:
            rest = dict(data)
            source = rest.pop("source")
            return cls(
                source=Source(Paper(**source["paper"]), source["place"]),
                expects=tuple(expectation_from_json(e) for e in rest.pop("expects")),
                applies=tuple(Needs(**needs) for needs in rest.pop("applies", ())),
                rivals=tuple(rest.pop("rivals", ())),
                **rest,
            )
        except (KeyError, TypeError, AttributeError) as error:
            raise ClaimError(
                f"A declaration of a claim cannot be read ({type(error).__name__}: {error}). "
                "It may come from another version of the record; judge again with that one."
            ) from error


def _sequence(claim: str, name: str, value: Sequence[Any]) -> tuple[Any, ...]:
    # A forgotten comma turns a one-item tuple into its item, which would iterate oddly.
    if isinstance(value, str) or not isinstance(value, Sequence):
        raise ClaimError(
            f"Claim {claim}: {name} is a {type(value).__name__}. Write a tuple; one item "
            "needs a comma: (item,)."
        )
    return tuple(value)
