"""Names of several tokens: does a state inside one foresee the rest better than elsewhere?

Future Lens suggests that a name such as "New York City" acts as one unit, so that the state at
its first token already holds the others. Each of the names of `stillwired.data.names` stands in
a text of its own. A row is a token of a name that at least two more tokens of it follow: the
state there, the token after it fed, and what the model says at that token, which is N = 1. Names
are the clusters.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from functools import cached_property
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from stillwired.data.names import NamedText, load_names
from stillwired.engine.sites import final, residual
from stillwired.errors import UsageError
from stillwired.instruments.depths import Depth
from stillwired.instruments.fed_linear import FedLinear
from stillwired.instruments.prompt_outcomes import PromptOutcomes
from stillwired.instruments.prompt_readers import Prompt, read_prompt
from stillwired.instruments.survey import FIRST_POSITION
from stillwired.instruments.text import other_document
from stillwired.outcomes import Outcome

AHEAD = 1
FEWEST = 8
"""Names that must be left: fewer clusters decide nothing."""

Arrays = dict[str, NDArray[Any]]


class Names:
    """Readers of one text, tried on names.

    Args:
        prompts: Prompts that were trained on ordinary text.
    """

    damage = ""
    """Name of the mutant that damages the reading, or empty."""

    def __init__(self, prompts: PromptOutcomes) -> None:
        self.prompts, self.text = prompts, prompts.text
        self._linear = FedLinear(prompts.text)

    def learned(self, states: str = "own") -> Outcome:
        """Hits of the learned prompt of the chosen depth.

        Args:
            states: ``own``, or ``shuffled``: those of another name.
        """
        depth = self.prompts.chosen_depth()
        kept, order = self._rows, np.arange(len(self._rows["targets"]))
        if states == "shuffled":
            order = other_document(kept["names"], self.text.rng("shuffled names"))
        elif states != "own":
            raise UsageError(f"There are no states {states!r} of names. Choose own or shuffled.")
        prompt = self._said(depth, depth.block, states, order)
        return self._outcome(f"learned prompt, {depth.label}, {states} states", prompt)

    def no_state(self) -> Outcome:
        """Hits of the prompt of the last block, which no state reaches."""
        last = self.text.checkpoint.prepared.layers - 1
        return self._outcome("prompt of the last block", self._said(None, last, "none", None))

    def fair_linear(self) -> Outcome:
        """Hits of the linear map of state and fed token, at its own chosen depth."""
        depth = self._linear.chosen_depth(AHEAD)

        def guess() -> Arrays:
            kept = self._rows
            states = kept[f"block{depth.block}"]
            return {"guesses": self._linear.guesses_of(states, kept["fed"], depth)}

        given = {"block": depth.block}
        guesses = self._cached("names, fed linear map", given, guess)["guesses"]
        return self._outcome(f"linear map of state and fed token, {depth.label}", guesses)

    def elsewhere(self) -> Outcome:
        """Hits of the same prompt on judged rows of the text, one matched to each row of a name.

        Matched are what the model says there, by how often it says so on the fit text, and
        whether its next token is the text's own.
        """
        kept, rows = self._rows, self.text.rows("judge")
        hits = self.prompts.learned(AHEAD, few=True).scores
        said = np.bincount(
            self.text.rows("fit").targets[:, AHEAD],
            minlength=self.text.checkpoint.prepared.vocabulary,
        )
        frequency = np.log1p(said)
        right = rows.next_is_right[: len(hits)]
        partners = matched(
            frequency[kept["targets"]],
            kept["next_is_right"].astype(bool),
            frequency[rows.targets[: len(hits), AHEAD]],
            right,
            self.text.rng("matched rows"),
        )
        outcome = self._outcome("learned prompt, matched rows of the text", kept["targets"])
        return Outcome(
            name=outcome.name,
            examples=outcome.examples,
            clusters=outcome.clusters,
            scores=hits[partners],
            factors=outcome.factors,
        )

    # What mutants replace

    def fed_to_prompts(self, rows: Mapping[str, NDArray[Any]]) -> NDArray[np.int64]:
        """Return the token that is fed behind the state at every row [rows, 1]."""
        fed: NDArray[np.int64] = rows["fed"]
        return fed

    # Inside

    @cached_property
    def _list(self) -> tuple[NamedText, ...]:
        """The names that this profile reads, evenly from the list, which is ordered by kind."""
        listed = load_names()
        return listed[:: -(-len(listed) // self.text.plan.profile.names)]

    @cached_property
    def _rows(self) -> Arrays:
        """Rows of all names: states of the declared depths, fed tokens, targets, names."""
        blocks = [depth.block for depth in self.text.depths]
        return self._cached("names", {"blocks": blocks}, lambda: self._read(blocks))

    def _read(self, blocks: list[int]) -> Arrays:
        engine, encode = self.text.engine(), self.text.checkpoint.encode
        texts = [(named, *_span(named, encode)) for named in self._list]
        prefix = list(self.text.checkpoint.prefix)
        prompts = [[*prefix, *tokens] for _, tokens, _ in texts]
        places = [
            range(max(start, FIRST_POSITION) + len(prefix), len(prompt) - AHEAD - 1)
            for prompt, (_, _, start) in zip(prompts, texts, strict=True)
        ]
        if sum(map(bool, places)) < FEWEST:
            raise UsageError(
                f"The tokenizer of {self.text.checkpoint.name} leaves fewer than {FEWEST} names "
                f"of three tokens or more. Claims about names cannot be judged on it."
            )
        self.text.say(f"reading {len(prompts)} names in their texts")
        found: list[tuple[int, int, Arrays]] = []
        sites = [residual(block) for block in blocks]
        for reading in engine.read(prompts, [*sites, final()]):
            rows = [(k, n, place) for k, n in enumerate(reading.rows) for place in places[n]]
            if not rows:
                continue
            ends = [reading[final()][k, place : place + AHEAD + 1] for k, _, place in rows]
            # All at once: a few rows would read the whole unembedding for themselves.
            spoken = engine.unembed(torch.cat(ends)).argmax(-1).cpu().numpy()
            for (k, number, place), said in zip(rows, spoken.reshape(-1, AHEAD + 1), strict=True):
                row: Arrays = {
                    f"block{block}": reading[site][k, place].float().cpu().numpy()
                    for block, site in zip(blocks, sites, strict=True)
                }
                following = prompts[number][place + 1 : place + 1 + AHEAD]
                row["fed"] = np.array(following, np.int64)
                row["targets"] = said[AHEAD]
                row["next_is_right"] = np.array(said[0] == following[0])
                found.append((number, place, row))
        found.sort(key=lambda item: item[:2])
        arrays: Arrays = {
            name: np.stack([row[name] for _, _, row in found]) for name in found[0][2]
        }
        arrays["names"] = np.array([texts[number][0].name for number, _, _ in found])
        arrays["places"] = np.array([place for _, place, _ in found])
        return arrays

    def _said(
        self, depth: Depth | None, block: int, states: str, order: NDArray[np.int64] | None
    ) -> NDArray[np.int64]:
        def read() -> Arrays:
            kept = self._rows
            given = None if order is None else kept[f"block{block}"][order]
            prompt: Prompt = self.prompts.trained_prompt(block, (AHEAD,), self.prompts.recipe)
            fed = self.fed_to_prompts(kept)
            spoken = read_prompt(self.prompts.passes.cone, prompt, block, given, fed)
            return {"guesses": spoken.tokens[:, AHEAD]}

        given = {
            "block": block,
            "states": states,
            "recipe": vars(self.prompts.recipe),
            "damaged": self.damage or self.prompts.passes.damage,
        }
        guesses: NDArray[np.int64] = self._cached("names, learned prompt", given, read)["guesses"]
        return guesses

    def _outcome(self, name: str, guesses: NDArray[np.int64]) -> Outcome:
        kept = self._rows
        return Outcome(
            name=f"{name}, on names, N={AHEAD}",
            examples=np.array(
                [
                    f"{name}+{place}"
                    for name, place in zip(kept["names"], kept["places"], strict=True)
                ]
            ),
            clusters=kept["names"],
            scores=(guesses == kept["targets"]).astype(float),
            factors={"ahead": AHEAD, "text": "names"},
        )

    def _cached(self, what: str, given: Mapping[str, Any], build: Any) -> Arrays:
        # A list is no code, so what it says must be among the inputs.
        names = hashlib.sha256(repr(self._list).encode()).hexdigest()
        return self.text.cached(what, {"list": names, **given}, build, module=__name__)


def matched(
    values: NDArray[np.float64],
    flags: NDArray[np.bool_],
    pool_values: NDArray[np.float64],
    pool_flags: NDArray[np.bool_],
    rng: np.random.Generator,
) -> NDArray[np.int64]:
    """Match every row with one of a pool: the same flag, the nearest value.

    Args:
        values: [rows].
        flags: [rows].
        pool_values: [pool].
        pool_flags: [pool].
        rng: Draws among rows that are equally near.

    Returns:
        Rows of the pool [rows]; one may serve several.
    """
    found = np.zeros(len(values), np.int64)
    for row, (value, flag) in enumerate(zip(values, flags, strict=True)):
        alike = np.flatnonzero(pool_flags == flag)
        alike = alike if len(alike) else np.arange(len(pool_values))
        distance = np.abs(pool_values[alike] - value)
        found[row] = rng.choice(alike[distance == distance.min()])
    return found


def _span(named: NamedText, encode: Any) -> tuple[list[int], int]:
    """Tokens up to the end of a name, and where the name starts among them."""
    before, whole = encode([named.before, f"{named.before} {named.name}"])
    start = 0
    while start < len(before) and before[start] == whole[start]:
        start += 1
    return whole, start
