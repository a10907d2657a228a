from __future__ import annotations

import json
from importlib import resources

import numpy as np
import pytest

from stillwired.instruments.vector_outcomes import EARLY, LATE
from stillwired.judge import Outcome
from stillwired.judge.contrasts import Part
from stillwired.judge.regions import Region
from stillwired.report.vector_depth_figure import BANDS
from stillwired.report.vectors import (
    attention_of,
    depths_of,
    head_map_of,
    outcome_ids,
    published_depths,
    relative_of,
    templates_of,
)
from tests.report.made_vectors import (
    DEPTHS,
    FORMS,
    attention_cell,
    cell,
    curve,
    depth_cell,
    head_map,
    hits,
    pattern,
    record_of,
    template_cell,
)


def judged(values):
    """The judge's interval of task means."""
    names = [f"task {k}" for k in range(len(values))]
    return Part("", Region("reported"), (), Outcome("", names, names, values)).interval


def test_a_record_without_function_vectors_shows_none():
    record, outcomes = record_of()
    assert outcome_ids(record) == []
    assert head_map_of(record) is None
    assert depths_of(record, outcomes) is None
    assert templates_of(record, outcomes) is None
    assert attention_of(record, outcomes) is None
    # Other claims, and records from before figures were kept.
    record, outcomes = record_of(cell("future-lens/any", {"task": "a"}, arms={"a": hits("a", 0.5)}))
    del record["figures"]
    assert outcome_ids(record) == []
    assert head_map_of(record) is attention_of(record, outcomes) is None


def test_heads_stand_in_the_order_of_their_effects():
    figure = {"effects": [[0.0, 0.1], [0.3, -0.2], [0.2, 0.0]], "tasks": ["a", "b"]}
    record, _ = record_of(figures={"head map": {**figure, "heads": [[2, 0], [0, 1], [1, 0]]}})
    heads = head_map_of(record)
    assert heads.chosen == ((1, 0), (2, 0), (0, 1))
    assert heads.effects == ((0.0, 0.1), (0.3, -0.2), (0.2, 0.0))
    # Layer 1 of 3 ends at two thirds, and layer 2 begins there.
    assert heads.early == pytest.approx(0.4 / 0.6)


def test_heads_without_an_effect_lie_nowhere():
    figure = {"effects": [[0.0], [-0.1]], "heads": [[0, 0]], "tasks": ["a"]}
    assert head_map_of(record_of(figures={"head map": figure})[0]).early is None


def test_the_early_share_is_the_one_that_the_claim_judges():
    figure = head_map(12, 4, 5)
    effects = np.array(figure["effects"])
    top = sorted(map(tuple, figure["heads"]), key=lambda head: -effects[head])
    by_layer = np.array([effects[head] for head in top])
    early = np.array([layer + 0.5 < 2 / 3 * 12 for layer, _ in top])
    assert 0 < early.sum() < 5
    heads = head_map_of(record_of(figures={"head map": figure})[0])
    assert heads.early == pytest.approx(by_layer[early].sum() / by_layer.sum())


def test_depths_are_those_of_the_blocks_that_were_read():
    # Of 9 blocks, 0.3 means block 2.
    record, outcomes = record_of(depth_cell("a", 0.8), depth_cell("b", 0.4), layers=9)
    depths = depths_of(record, outcomes)
    assert [p.depth for p in depths.mean] == [k / 8 for k in range(9)]
    record["checkpoint"] = {"name": "unknown"}
    assert [p.depth for p in depths_of(record, outcomes).mean] == [k / 10 for k in range(11)]


@pytest.mark.parametrize(
    ("label", "layers", "relative"),
    [
        ("depth0.30", 30, 9 / 29),
        ("depth0.30", None, 0.3),
        ("block3", 10, 3 / 9),
        ("block3", None, None),
        ("block12", 10, None),
        ("depth1.50", 10, None),
        ("own", 10, None),
        ("depths", 10, None),
    ],
)
def test_labels_say_where_a_vector_was_inserted(label, layers, relative):
    assert relative_of(label, layers) == pytest.approx(relative)


def test_each_task_counts_once_and_bands_are_the_judge_s():
    rates = {"a": 0.8, "b": 0.4, "c": 0.6}
    record, outcomes = record_of(*(depth_cell(task, rate) for task, rate in rates.items()))
    depths = depths_of(record, outcomes)
    assert list(depths.tasks) == list(rates)
    for k, label in enumerate(DEPTHS):
        means = [curve(task, rate)[label].scores.mean() for task, rate in rates.items()]
        interval = judged(means)
        point = depths.mean[k]
        assert (point.value, point.low, point.high) == pytest.approx(
            (np.mean(means), interval.low, interval.high)
        )
        assert [depths.tasks[task][k].value for task in rates] == pytest.approx(means)
    assert depths.level.value == pytest.approx(0.05)
    assert depths.mean[3].rows == 3


def test_a_single_task_keeps_its_own_interval():
    record, outcomes = record_of(depth_cell("a", 0.8))
    depths = depths_of(record, outcomes)
    assert depths.mean == depths.tasks["a"]
    own = curve("a", 0.8)["depth0.30"]
    interval = Part("", Region("reported"), (), own).interval
    assert (depths.mean[3].low, depths.mean[3].high) == (interval.low, interval.high)
    assert depths.mean[3].rows == 40


def test_tasks_that_say_nothing_are_left_out():
    cells = [
        depth_cell("a", 0.8),
        depth_cell("b", 0.1, "NOT APPLICABLE"),
        depth_cell("c", 0.1, "BROKEN"),
        # It could not be measured, so that nothing stands beside it.
        cell("function-vectors/peak-then-cliff", {"task": "d"}, "NOT APPLICABLE", arms={}),
    ]
    record, outcomes = record_of(*cells)
    depths = depths_of(record, outcomes)
    assert list(depths.tasks) == ["a"]
    assert depths.left_out == ("b", "c", "d")
    shown = outcome_ids(record)
    assert {outcomes[name].name.split(":")[0] for name in shown} == {"a"}
    assert len(shown) == len(set(shown)) == len(DEPTHS) + 1


def test_the_mean_keeps_to_depths_that_all_tasks_have():
    few = {label: outcome for label, outcome in curve("b", 0.4).items() if label < "depth0.45"}
    beside = {"by depth": few, "without": hits("b: nothing", 0.0)}
    other = cell("function-vectors/peak-then-cliff", {"task": "b"}, arms={}, beside=beside)
    record, outcomes = record_of(depth_cell("a", 0.8), other)
    depths = depths_of(record, outcomes)
    assert [p.depth for p in depths.mean] == pytest.approx([0.0, 0.1, 0.2, 0.3, 0.4])
    assert len(depths.tasks["a"]) == 11
    beside["by depth"] = dict(list(few.items())[:2])
    other = cell("function-vectors/peak-then-cliff", {"task": "b"}, arms={}, beside=beside)
    assert depths_of(*record_of(other)) is None


def test_templates_are_means_over_tasks_by_pair():
    rates = {"a": 0.8, "b": 0.4}
    cells = [
        template_cell(task, form, rate) for form in sorted(FORMS) for task, rate in rates.items()
    ]
    templates = templates_of(*record_of(*cells))
    assert templates.sources == templates.targets == FORMS
    assert templates.cells["qa", "qa"].value == pytest.approx(0.6)
    # Hits of 40: 0.65 and 0.7 of the rates, as the formats' order has it.
    assert templates.cells["input-output", "qa"].value == pytest.approx((0.525 + 0.25) / 2)
    assert templates.cells["arrow", "qa"].value == pytest.approx((0.55 + 0.275) / 2)
    interval = judged([0.8, 0.4])
    point = templates.cells["arrow", "arrow"]
    assert (point.low, point.high) == pytest.approx((interval.low, interval.high))
    assert templates.others["qa"].value == pytest.approx((0.475 + 0.25) / 2)
    assert templates.without["arrow"].value == pytest.approx(0.1)
    assert templates.tasks == dict.fromkeys(FORMS, ("a", "b"))


def test_formats_may_have_been_measured_on_some_tasks_only():
    cells = [template_cell("a", "qa", 0.8), template_cell("b", "qa", 0.4)]
    cells += [template_cell("a", "arrow", 0.8), template_cell("b", "arrow", 0.4, "NOT APPLICABLE")]
    cells += [template_cell("c", "arrow", 0.4, "NOT APPLICABLE")]
    templates = templates_of(*record_of(*cells))
    assert templates.targets == ("qa", "arrow")
    assert templates.sources == FORMS
    assert templates.tasks == {"qa": ("a", "b"), "arrow": ("a",)}
    assert templates.cells["arrow", "arrow"].value == pytest.approx(0.8)
    assert templates.left_out == ("c",)


def test_attention_is_shown_on_the_primary_task_or_else_the_first():
    figures = {"attention, antonym": pattern(), "attention, present-past": pattern(((3, 1),))}
    record, outcomes = record_of(attention_cell("present-past"), figures=figures)
    attention = attention_of(record, outcomes)
    assert (attention.task, attention.heads) == ("present-past", ((3, 1),))
    assert attention.on_answers["top_heads"].value == pytest.approx(0.6)
    assert attention.on_answers["random_heads"].value == pytest.approx(0.1)
    del figures["attention, present-past"]
    record, outcomes = record_of(attention_cell("present-past"), figures=figures)
    attention = attention_of(record, outcomes)
    assert (attention.task, attention.on_answers) == ("antonym", {})


def test_shares_are_of_what_the_first_token_leaves():
    weights = [[0.6, 0.3, 0.1], [1.0, 0.0, 0.0]]
    figure = {"heads": [[0, 0], [1, 0]], "tokens": ["<s>", "a", "b"], "weights": weights}
    attention = attention_of(*record_of(figures={"attention, x": figure}))
    assert attention.shares(0) == pytest.approx([0.0, 0.75, 0.25])
    assert attention.shares(1) == [0.0, 0.0, 0.0]


def test_published_numbers_stand_at_their_relative_depth():
    published = published_depths()
    assert (published.model, published.task) == ("GPT-J-6B", "antonym")
    values = {round(point.depth * 27): point.value for point in published.points}
    assert values == {
        0: 0.42,
        3: 0.55,
        6: 0.56,
        9: 0.49,
        11: 0.605,
        12: 0.602,
        13: 0.38,
        14: 0.35,
        15: 0.28,
        16: 0.04,
    }
    assert [(p.depth, p.value) for p in published.rest] == [(18 / 27, 0.02), (1.0, 0.02)]
    file = resources.files("stillwired.report") / "gptj_function_vectors.json"
    source = json.loads(file.read_text(encoding="utf-8"))["source"]
    for fact in ("replication of the paper's antonym curve on GPT-J-6B, zero-shot", "ICLR 2024"):
        assert fact in source


def test_the_shaded_bands_are_the_ones_that_the_claim_compares():
    assert tuple((band.name, band.low, band.high) for band in (EARLY, LATE)) == BANDS
