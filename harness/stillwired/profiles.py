"""How much is measured: the sizes behind ``--claims-profile``.

The sizes follow from power, not from what a model showed. With about 1.3 times the
variance of independent rows and a quarter of the examples discordant between two readers, a
difference of hits has a standard error of about ``0.57 / sqrt(states)``; 8,400 judged
states bring it to 0.0062, where a dead mechanism fails a smallest effect of 0.02 in nine
runs out of ten.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from stillwired.errors import UsageError


@dataclass(frozen=True)
class Profile:
    """Sizes of one profile.

    Attributes:
        name: What ``--claims-profile`` calls it.
        depths: Relative depths that are read, 0 (first block) to 1 (last block).
        judge_states: Judged positions, over all documents.
        choose_states: Positions on which hyper-parameters are chosen.
        fit_states: Positions on which maps are fitted.
        per_passage: Judged or choosing positions drawn from one passage.
        judge_tokens: Length of a judged passage, in tokens.
        fit_tokens: Length of a fitting passage, in tokens.
        lens_states: Judged positions of the logit lens, which reads every depth.
        few_states: Judged positions of readers that are asked at many depths or of many kinds.
        names: Names that are read in their texts, at most.
        trains_more: Whether claims that take trainings of their own are judged as well.
    """

    name: str
    depths: tuple[float, ...]
    judge_states: int
    choose_states: int
    fit_states: int
    per_passage: int
    judge_tokens: int
    fit_tokens: int
    lens_states: int
    few_states: int = 3_000
    names: int = 1_000
    trains_more: bool = True

    @property
    def sizes(self) -> dict[str, Any]:
        """Everything but the name, as a record keeps it."""
        sizes = asdict(self) | {"depths": list(self.depths)}
        return {name: size for name, size in sizes.items() if name != "name"}


QUICK = Profile(
    name="quick",
    depths=(0.1, 0.3, 0.5, 0.7, 0.9, 1.0),
    judge_states=8_400,
    choose_states=200,
    fit_states=20_000,
    per_passage=8,
    judge_tokens=48,
    fit_tokens=96,
    lens_states=1_000,
    few_states=2_000,
    names=100,
    trains_more=False,
)
STANDARD = Profile(
    name="standard",
    depths=(0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0),
    judge_states=16_000,
    choose_states=1_000,
    fit_states=100_000,
    per_passage=8,
    judge_tokens=64,
    fit_tokens=128,
    lens_states=4_000,
)
PAPER = Profile(
    name="paper",
    depths=tuple(round(k / 20, 2) for k in range(21)),
    judge_states=36_000,
    choose_states=2_000,
    fit_states=340_000,
    per_passage=12,
    judge_tokens=64,
    fit_tokens=128,
    lens_states=8_000,
)
# Judged again under dozens of mutants: as little as leaves most of what holds in the quick profile
# clear of its smallest effect. What is damaged is mostly off by more than that. Few states are as
# many as in the quick profile: among 1,400 a planted difference of 0.02 is noticed by chance.
MUTANTS = Profile(
    name="mutants",
    depths=(0.1, 0.5, 0.9, 1.0),
    judge_states=4_800,
    choose_states=160,
    fit_states=12_000,
    per_passage=8,
    judge_tokens=48,
    fit_tokens=96,
    lens_states=400,
    few_states=2_000,
    names=100,
    trains_more=False,
)
PROFILES = {profile.name: profile for profile in (QUICK, STANDARD, PAPER, MUTANTS)}


def profile_named(name: str) -> Profile:
    """Return a profile by name.

    Raises:
        UsageError: If there is no such profile.
    """
    try:
        return PROFILES[name]
    except KeyError:
        raise UsageError(
            f"There is no profile {name!r}. Choose one of: {', '.join(PROFILES)}."
        ) from None
