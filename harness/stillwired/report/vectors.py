"""What pictures of function vectors show: numbers from a record alone, in order.

Nothing is measured for them. The map of heads and the attention patterns were kept with the
record; the rest are outcomes that claims were judged from, or that stand beside them. Where there
is nothing to show there is None.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from importlib import resources
from typing import TYPE_CHECKING, Any

from stillwired.report.curves import FEWEST, Point

if TYPE_CHECKING:
    from stillwired.outcomes import Outcome

Json = dict[str, Any]
Head = tuple[int, int]
"""A layer and a head in it, both counted from 0."""

DEPTHS = "function-vectors/peak-then-cliff"
TEMPLATES = "function-vectors/transfers-across-templates"
ATTENTION = "function-vectors/heads-look-at-answers"
"""Claims that pictures are drawn from."""
PRIMARY = "present-past"
"""The task whose prompt is shown, if it was measured."""
EARLY = 2 / 3
"""Share of the layers in which heads that carry tasks are said to lie."""

# Their figures say nothing about the finding: the model cannot do the task, or a check failed.
_VOID = ("NOT APPLICABLE", "BROKEN")
_PATTERN = "attention, "


@dataclass(frozen=True)
class HeadMap:
    """Which heads carry tasks.

    Attributes:
        effects: Mean indirect effect of every head [layers][heads]: how much its mean output
            on clean prompts raises the right answer's probability on shuffled ones.
        chosen: The heads that vectors are made of, strongest first.
        tasks: The tasks that effects are averaged over.
    """

    effects: tuple[tuple[float, ...], ...]
    chosen: tuple[Head, ...]
    tasks: tuple[str, ...]

    def effect(self, head: Head) -> float:
        """Return one head's effect."""
        return self.effects[head[0]][head[1]]

    @property
    def early(self) -> float | None:
        """Share of the chosen heads' effect in the first two thirds of the layers.

        None if they have no effect together.
        """
        whole = sum(self.effect(head) for head in self.chosen)
        last = EARLY * len(self.effects)
        within = sum(self.effect(head) for head in self.chosen if head[0] + 0.5 < last)
        return within / whole if whole > 0 else None


@dataclass(frozen=True)
class Depths:
    """Zero-shot hits by the depth at which a vector is inserted.

    Attributes:
        tasks: Points of every task, first block first, with intervals over its questions.
        mean: The mean over tasks, with intervals over tasks; of a single task its own.
        without: The same without a vector, by task.
        level: The mean of that over tasks.
        left_out: Tasks that were tried and say nothing.
    """

    tasks: Mapping[str, tuple[Point, ...]]
    mean: tuple[Point, ...]
    without: Mapping[str, Point]
    level: Point
    left_out: tuple[str, ...] = ()


@dataclass(frozen=True)
class Templates:
    """Zero-shot hits by the format that a vector is from, and the one it is inserted into.

    Attributes:
        sources: Formats that vectors are from.
        targets: Formats that questions are written in.
        cells: Means over tasks by source and target, with intervals over tasks.
        others: The mean over all other sources, by target.
        without: Hits without a vector, by target.
        tasks: The tasks that were measured, by target.
        left_out: Tasks that were tried and say nothing in any format.
    """

    sources: tuple[str, ...]
    targets: tuple[str, ...]
    cells: Mapping[tuple[str, str], Point]
    others: Mapping[str, Point]
    without: Mapping[str, Point]
    tasks: Mapping[str, tuple[str, ...]]
    left_out: tuple[str, ...] = ()


@dataclass(frozen=True)
class Attention:
    """Where heads look from the last token of one prompt.

    Attributes:
        task: The prompt's task.
        heads: The heads.
        tokens: The prompt, token by token.
        weights: Attention [heads][tokens]; a row sums to 1.
        on_answers: Share of what the first token leaves that falls on the examples' answers,
            over many prompts, by group of heads: ``top_heads``, ``random_heads``.
    """

    task: str
    heads: tuple[Head, ...]
    tokens: tuple[str, ...]
    weights: tuple[tuple[float, ...], ...]
    on_answers: Mapping[str, Point]

    def shares(self, row: int) -> list[float]:
        """Return a head's attention as shares of what the first token leaves; that one has 0."""
        rest = self.weights[row][1:]
        whole = sum(rest)
        return [0.0, *(weight / whole if whole > 0 else 0.0 for weight in rest)]


def outcome_ids(record: Json) -> list[str]:
    """Return the ids of all outcomes that are shown."""
    found: dict[str, None] = {}
    for claim in (DEPTHS, TEMPLATES, ATTENTION):
        for _, evidence in _cells(record, claim):
            for _, arm in _shown(claim, evidence):
                found |= dict.fromkeys(arm.values())
    return list(found)


def head_map_of(record: Json) -> HeadMap | None:
    """Return the map of heads."""
    data = record.get("figures", {}).get("head map")
    if data is None:
        return None
    effects = tuple(tuple(map(float, row)) for row in data["effects"])
    chosen = sorted(
        ((int(layer), int(head)) for layer, head in data["heads"]),
        key=lambda head: (-effects[head[0]][head[1]], head),
    )
    return HeadMap(effects, tuple(chosen), tuple(data["tasks"]))


def depths_of(record: Json, outcomes: Mapping[str, Outcome]) -> Depths | None:
    """Return hits by depth, of the depths at which all tasks were measured."""
    layers = record["checkpoint"].get("layers")
    tasks: dict[str, dict[float, Point]] = {}
    without: dict[str, Point] = {}
    for params, evidence in _cells(record, DEPTHS):
        arms = dict(_shown(DEPTHS, evidence))
        if len(arms) < 2:
            continue
        task = str(params["task"])
        tasks[task] = {
            depth: _measured(outcomes[name], depth)
            for label, name in arms["by depth"].items()
            if (depth := relative_of(label, layers)) is not None
        }
        without[task] = _measured(outcomes[arms["without"][""]])
    if not tasks:
        return None
    common = sorted(set.intersection(*map(set, tasks.values())))
    if len(common) < FEWEST:
        return None
    mean = [_over({t: points[depth] for t, points in tasks.items()}, depth) for depth in common]
    lines = {task: tuple(points[d] for d in sorted(points)) for task, points in tasks.items()}
    return Depths(lines, tuple(mean), without, _over(without), _left_out(record, DEPTHS, tasks))


def templates_of(record: Json, outcomes: Mapping[str, Outcome]) -> Templates | None:
    """Return hits by pair of formats; each target with the tasks that were measured there."""
    sources: dict[str, None] = {}
    found: dict[str, dict[str, dict[str, Point]]] = {}
    for params, evidence in _cells(record, TEMPLATES):
        arms = dict(_shown(TEMPLATES, evidence))
        if len(arms) < 3:
            continue
        sources |= dict.fromkeys(arms["vector from"])
        target = found.setdefault(str(params["form"]), {})
        rows = {f"from {of}": name for of, name in arms["vector from"].items()}
        rows |= {arm: arms[arm][""] for arm in ("from_other_formats", "without")}
        for row, name in rows.items():
            target.setdefault(row, {})[str(params["task"])] = _measured(outcomes[name])
    if not found:
        return None
    targets = tuple(sorted(found, key=lambda form: ([*sources, form].index(form), form)))
    return Templates(
        tuple(sources),
        targets,
        {
            (of, target): _over(found[target][f"from {of}"])
            for of in sources
            for target in targets
            if f"from {of}" in found[target]
        },
        {target: _over(found[target]["from_other_formats"]) for target in targets},
        {target: _over(found[target]["without"]) for target in targets},
        {target: tuple(found[target]["without"]) for target in targets},
        _left_out(record, TEMPLATES, {t for rows in found.values() for t in rows["without"]}),
    )


def attention_of(record: Json, outcomes: Mapping[str, Outcome]) -> Attention | None:
    """Return where heads look, on the primary task or else the first one that there is."""
    figures = record.get("figures", {})
    names = [name for name in figures if name.startswith(_PATTERN)]
    if not names:
        return None
    name = _PATTERN + PRIMARY if _PATTERN + PRIMARY in names else names[0]
    task, data = name.removeprefix(_PATTERN), figures[name]
    on_answers: dict[str, Point] = {}
    for params, evidence in _cells(record, ATTENTION):
        if params["task"] == task:
            arms = _shown(ATTENTION, evidence)
            on_answers = {arm: _measured(outcomes[ids[""]]) for arm, ids in arms}
    return Attention(
        task,
        tuple((int(layer), int(head)) for layer, head in data["heads"]),
        tuple(map(str, data["tokens"])),
        tuple(tuple(map(float, row)) for row in data["weights"]),
        on_answers,
    )


def relative_of(label: str, layers: int | None) -> float | None:
    """Return the relative depth of the block that a family's label means; None for other labels.

    Args:
        label: ``depth0.30`` or ``block9``.
        layers: Blocks of the model; without them the depth that was asked for stands.
    """
    from stillwired.errors import UsageError
    from stillwired.instruments.depths import resolve_depth

    kind = label[:5]
    try:
        asked = {"depth": float, "block": int}[kind](label[5:])
        if layers is None:
            return asked if kind == "depth" else None
        return resolve_depth(asked, layers).relative
    except (KeyError, ValueError, UsageError):
        return None


@dataclass(frozen=True)
class PublishedDepths:
    """The published curve of one task.

    Attributes:
        model: The model that it is about.
        task: The task.
        source: Where the numbers come from.
        points: Hits at relative depth, first layer first.
        rest: Where only an upper limit was published, from the first such layer to the last.
    """

    model: str
    task: str
    source: str
    points: tuple[Point, ...]
    rest: tuple[Point, Point]


@lru_cache(maxsize=1)
def published_depths() -> PublishedDepths:
    """Return the published curve; layer ``k`` of ``L``, from 0, stands at ``k / (L − 1)``."""
    file = resources.files("stillwired.report") / "gptj_function_vectors.json"
    data = json.loads(file.read_text(encoding="utf-8"))
    last, limit = data["blocks"] - 1, data["at_most"]

    def at(layer: int, hits: float) -> Point:
        return Point(layer / last, hits, hits, hits)

    return PublishedDepths(
        data["model"],
        data["task"],
        data["source"],
        tuple(at(int(layer), hits) for layer, hits in data["hits"].items()),
        (at(limit["from"], limit["hits"]), at(last, limit["hits"])),
    )


def _cells(record: Json, claim: str) -> Iterator[tuple[Json, Json]]:
    """Yield parameters and evidence of a claim's cells that say something."""
    for verdict in record["verdicts"]:
        if verdict.get("claim") == claim and verdict["verdict"] not in _VOID:
            yield verdict["params"], verdict["evidence"]


def _left_out(record: Json, claim: str, shown: Mapping[str, Any] | set[str]) -> tuple[str, ...]:
    tried = [v["params"].get("task") for v in record["verdicts"] if v.get("claim") == claim]
    return tuple(dict.fromkeys(str(task) for task in tried if task not in shown))


_ARMS: Mapping[str, Sequence[tuple[str, str]]] = {
    DEPTHS: (("beside", "by depth"), ("beside", "without")),
    TEMPLATES: (("beside", "vector from"), ("arms", "from_other_formats"), ("arms", "without")),
    ATTENTION: (("arms", "top_heads"), ("arms", "random_heads")),
}


def _shown(claim: str, evidence: Json) -> Iterator[tuple[str, dict[str, str]]]:
    """Yield the arms that are shown, ids by label; a single outcome has the label ''."""
    for block, arm in _ARMS[claim]:
        given = evidence.get(block, {}).get(arm)
        if given is not None:
            yield arm, dict(given) if isinstance(given, Mapping) else {"": given}


def _measured(outcome: Outcome, depth: float | None = None) -> Point:
    """Return an outcome's mean with the judge's interval."""
    from stillwired.judge.contrasts import Part
    from stillwired.judge.regions import Region

    interval = Part(outcome.name, Region("reported"), (), outcome).interval
    return Point(depth, interval.estimate, interval.low, interval.high, interval.n)


def _over(points: Mapping[str, Point], depth: float | None = None) -> Point:
    """Return the mean over tasks, each of which counts once, with the judge's interval.

    A single task keeps its own, over its questions: of tasks there is nothing to say.
    """
    from stillwired.outcomes import Outcome

    names = list(points)
    if len(names) == 1:
        return points[names[0]]
    means = [point.value for point in points.values()]
    return _measured(Outcome("mean over tasks", names, names, means), depth)  # type: ignore[arg-type]
