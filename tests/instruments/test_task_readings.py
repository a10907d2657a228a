"""Tasks as instruments see them: questions by split, kind and draw, and what is kept.

The made-up tasks and the model that is asked about them serve other tests too.
"""

from __future__ import annotations

from dataclasses import replace
from functools import cache

import numpy as np
import pytest
import torch

from stillwired.checkpoints.checkpoint import Checkpoint
from stillwired.data.task_prompts import FORMATS
from stillwired.data.task_sizes import TaskSizes
from stillwired.data.tasks import Row, Task, split
from stillwired.engine.engine import Engine
from stillwired.errors import UnsuitableTaskError, UsageError
from stillwired.instruments.questions import ask, ask_in_frame
from stillwired.instruments.task_readings import TaskReadings
from stillwired.store.cache import Store
from tests.instruments.conftest import BLOCKS, made_checkpoint

HEADS = 4
SIZES = TaskSizes(
    # To the made-up tokenizer these three differ in their length.
    forms=("qa", "arrow", "brackets"),
    clean=8,
    clean_elsewhere=6,
    shuffled=3,
    choosing=4,
    judged=10,
    judged_shuffled=5,
    judged_clean=4,
    judged_text=4,
    shots=3,
)
SAID = 12
"""The model says w0 to w11 and nothing else, so that what it says is right now and then."""


def made_task(name, rows, unit="word pair", cyclic=False) -> Task:
    rows = tuple(Row(*row) for row in rows)
    return Task(name, "abstractive", "What is made.", rows, "made up", cyclic, unit)


def mapped(name, step, unit="word pair", answers=SAID) -> Task:
    """40 words, each with one of a few answers."""
    rows = [(f"w{40 + k}", f"w{(step * k + k // SAID) % answers}") for k in range(40)]
    return made_task(name, rows, unit)


TASKS = {
    task.name: task
    for task in (
        mapped("alpha", 1),
        mapped("beta", 5),
        # Too few answers for its labels to be shuffled.
        mapped("few", 1, answers=6),
        mapped("gamma", 7, unit="place"),
        # Fits into no natural text.
        mapped("delta", 11, unit="thing"),
        # Every answer is the first word of its query; then every second one.
        made_task("echo", [(f"w{40 + k} w{k}", f"w{40 + k}") for k in range(40)]),
        made_task(
            "half",
            [
                (f"w{40 + k} w{k}", f"w{40 + k}") if k % 2 else (f"w{40 + k}", f"w{k % SAID}")
                for k in range(40)
            ],
        ),
    )
}
FIVE = {name: TASKS[name] for name in ("alpha", "beta", "few", "gamma", "delta")}


@cache
def asked_checkpoint(seed: int = 0) -> Checkpoint:
    """A tiny random Llama that says few words, and others behind other queries."""
    made = made_checkpoint(seed)
    prompts = torch.tensor([[0, 1, 1, 42 + k, 1, 1] for k in range(40)])
    with torch.no_grad():
        # What all prompts have in common would decide alone.
        common = made.model.model(prompts).last_hidden_state[:, -1].mean(0)
        common /= common.norm()
        weight = made.model.lm_head.weight
        said = weight[2 : 2 + SAID] - torch.outer(weight[2 : 2 + SAID] @ common, common)
        weight.zero_()
        weight[2 : 2 + SAID] = 2 * said
    return Checkpoint.of_model(made.model, made.tokenizer, name=f"asked {seed}")


@cache
def engine_of(checkpoint: Checkpoint) -> Engine:
    return Engine(checkpoint)


def no_engine() -> Engine:
    raise AssertionError("the engine was asked for")


def made_readings(folder, tasks=None, checkpoint=None, engine=None, sizes=SIZES, **given):
    """Readings of made-up tasks, with a cache in a folder."""
    checkpoint = checkpoint or asked_checkpoint()
    engine = engine or (lambda: engine_of(checkpoint))
    return TaskReadings(checkpoint, engine, tasks or TASKS, sizes, Store(folder), **given)


@pytest.fixture
def readings(tmp_path):
    return made_readings(tmp_path)


def examples(questions):
    return [question.example for question in questions]


KINDS = [(part, kind) for part in ("fit", "choose", "judge") for kind in ("clean", "zero-shot")]
KINDS += [("choose", "shuffled"), ("judge", "shuffled")]


# What is asked


@pytest.mark.parametrize(
    ("part", "kind", "count"),
    [
        ("fit", "clean", 8),
        ("fit", "zero-shot", 8),
        ("choose", "shuffled", 3),
        ("choose", "zero-shot", 4),
        ("judge", "clean", 4),
        ("judge", "shuffled", 5),
        ("judge", "zero-shot", 10),
    ],
)
def test_each_kind_is_asked_as_often_as_the_sizes_say(readings, part, kind, count):
    questions = readings.questions("alpha", part, kind)
    assert len(questions) == count
    assert {question.row for question in questions} <= set(split(TASKS["alpha"], 0)[part])
    fitted = {row.input for row in split(TASKS["alpha"], 0)["fit"]}
    shots = 0 if kind == "zero-shot" else 3
    tokenizer = readings.checkpoint.tokenizer
    for question in questions:
        words = tokenizer.convert_ids_to_tokens(list(question.tokens))
        inputs = [word for word in words if word[0] == "w" and int(word[1:]) >= 40]
        assert len(inputs) == shots + 1
        assert set(inputs[:-1]) <= fitted - {question.row.input}
        assert inputs[-1] == question.row.input
        assert tokenizer.convert_ids_to_tokens(question.answer) == question.row.output
        assert len(question.answers) == shots


def test_formats_but_the_first_are_shown_in_fewer_clean_prompts(readings, tmp_path):
    first = examples(readings.questions("alpha", "fit", "clean", "qa"))
    assert len(first) == 8
    for form in ("arrow", "brackets"):
        assert examples(readings.questions("alpha", "fit", "clean", form)) == first[:6]
        # What is judged and chosen on is asked in every format alike.
        for part, kind, count in (("judge", "zero-shot", 10), ("choose", "zero-shot", 4)):
            assert len(readings.questions("alpha", part, kind, form)) == count
    arrow = made_readings(tmp_path, sizes=replace(SIZES, forms=("arrow", "qa")))
    assert len(arrow.questions("alpha", "fit", "clean")) == 8
    assert len(arrow.questions("alpha", "fit", "clean", "qa")) == 6


def test_a_split_with_fewer_rows_is_asked_as_a_whole(tmp_path):
    readings = made_readings(tmp_path, sizes=replace(SIZES, choosing=100, judged=100))
    parts = split(TASKS["alpha"], 0)
    for part in ("choose", "judge"):
        questions = readings.questions("alpha", part, "zero-shot")
        assert {question.row for question in questions} == set(parts[part])
        assert len(questions) == len(parts[part])


def test_all_kinds_ask_the_same_queries(readings, tmp_path):
    zero = examples(readings.questions("alpha", "judge", "zero-shot"))
    assert examples(readings.questions("alpha", "judge", "clean")) == zero[:4]
    assert examples(readings.in_text("alpha", "{x} means")) == zero[:4]
    many = made_readings(tmp_path, sizes=replace(SIZES, judged_clean=100))
    for part, count in (("judge", 5), ("choose", 3)):
        clean = many.questions("alpha", part, "clean")
        # Of three shots no two may share an answer, or their labels cannot be dealt out.
        possible = [q for q in clean if len({q.tokens[k] for k in q.answers}) == 3]
        asked = readings.questions("alpha", part, "shuffled")
        assert examples(asked) == examples(possible)[:count]
    for form in SIZES.forms:
        asked = readings.questions("alpha", "judge", "zero-shot", form)
        assert examples(asked) == zero


def test_questions_are_written_as_asked_or_in_the_first_format(readings):
    lengths = {
        form: {len(q.tokens) for q in readings.questions("alpha", "judge", "clean", form)}
        for form in SIZES.forms
    }
    # A token for each mark and word of three shots and a query, and the one before all.
    assert lengths == {"qa": {24}, "arrow": {12}, "brackets": {23}}
    first = readings.questions("alpha", "judge", "clean", "qa")
    assert readings.questions("alpha", "judge", "clean") == first


def copied(question):
    return question.row.output == question.row.input.split()[0]


def test_what_a_copied_query_would_answer_is_left_out(readings, tmp_path):
    parts = split(TASKS["half"], 0)
    assert any(row.output == row.input.split()[0] for part in parts.values() for row in part)
    for part, kind in KINDS:
        questions = readings.questions("half", part, kind)
        assert questions
        assert not any(copied(question) or question.copies for question in questions)
    assert not any(copied(question) for question in readings.in_text("half", "{x} means"))
    # Left out before they are counted, not behind.
    left = [row for row in parts["judge"] if " " not in row.input]
    few = made_readings(tmp_path, sizes=replace(SIZES, judged=len(left) - 1, judged_text=3))
    assert 3 < len(left) < len(parts["judge"]) - 2
    assert len(few.questions("half", "judge", "zero-shot")) == len(left) - 1
    assert len(few.in_text("half", "{x} means")) == 3
    # Shots may be what they are.
    assert any(
        len(q.tokens) > len(r.tokens)
        for q in readings.questions("half", "judge", "clean")
        for r in readings.questions("alpha", "judge", "clean")
    )


@pytest.mark.parametrize("others", [4, 5])
def test_clean_questions_about_a_task_of_copying_are_asked_as_a_whole(tmp_path, others):
    """A handful of other rows does not stand for it."""
    rows = list(TASKS["echo"].rows)
    fit = [row for k, row in enumerate(rows) if k < 20]
    fit[:others] = [Row(row.input, f"w{k}") for k, row in enumerate(fit[:others])]
    task = made_task("mostly", [(row.input, row.output) for row in fit + rows[20:]])
    parts = {"fit": fit, "choose": rows[20:30], "judge": rows[30:]}
    readings = made_readings(tmp_path, sizes=replace(SIZES, clean=20)).about(
        {"mostly": task}, {"mostly": parts}
    )
    asked = readings.questions("mostly", "fit", "clean")
    assert len(asked) == (20 if others < 5 else 5)
    assert [question.copies for question in asked] == [copied(question) for question in asked]
    assert sum(not question.copies for question in asked) == others


def test_a_task_whose_answers_all_begin_like_their_queries_cannot_be_asked(readings):
    for part, kind in KINDS:
        if kind == "clean":
            assert readings.questions("echo", part, kind)
            continue
        with pytest.raises(UnsuitableTaskError, match=r"about echo.*asked 0.*begins like its que"):
            readings.questions("echo", part, kind)
    with pytest.raises(UnsuitableTaskError, match="Nothing is left to ask about echo"):
        readings.in_text("echo", "{x} means")


def test_a_task_of_few_answers_cannot_be_asked_with_shuffled_labels(readings):
    for part in ("choose", "judge"):
        with pytest.raises(UnsuitableTaskError, match="few cannot be shuffled"):
            readings.questions("few", part, "shuffled")
        assert readings.questions("few", part, "zero-shot")


def test_the_commonest_answer_is_that_of_the_fit_rows(readings):
    rows = [
        *((f"w{40 + k}", f"w{k % 3}") for k in range(9)),
        *((f"w{50 + k}", "w5") for k in range(4)),
        # Copies are not judged, and do not count.
        *((f"w9 w{60 + k}", "w9") for k in range(7)),
    ]
    fit, judged = [Row(*row) for row in rows], [Row(f"w{70 + k}", "w7") for k in range(9)]
    task = made_task("common", [(row.input, row.output) for row in fit + judged])
    about = readings.about(
        {"common": task}, {"common": {"fit": fit, "choose": judged[:4], "judge": judged}}
    )
    tokenizer = readings.checkpoint.tokenizer
    for given in ({}, {"form": "arrow"}, {"frame": "{x} means"}):
        assert tokenizer.convert_ids_to_tokens(about.commonest("common", **given)) == "w5"
    # Neither another draw of shots nor of what is fitted changes the table.
    assert about.again(1).commonest("common") == about.commonest("common")
    with pytest.raises(UnsuitableTaskError, match="Nothing is left to ask about echo"):
        readings.commonest("echo")


def test_natural_text_is_the_frame_behind_what_comes_before(readings):
    frame, before = "w1 {x} w2", "w3 w4 "
    tokenizer = readings.checkpoint.tokenizer
    for question in readings.in_text("alpha", frame, before):
        words = tokenizer.convert_ids_to_tokens(list(question.tokens))
        assert words == ["<bos>", "w3", "w4", "w1", question.row.input, "w2"]


def test_what_is_not_there_is_refused(readings):
    with pytest.raises(UsageError, match=r"no task 'omega'. Choose one of: alpha, beta"):
        readings.questions("omega", "fit", "clean")
    with pytest.raises(UsageError, match=r"no format 'verse'. Choose one of: qa"):
        readings.questions("alpha", "fit", "clean", "verse")
    with pytest.raises(UsageError, match="no 'hard' questions"):
        readings.questions("alpha", "fit", "hard")


# What questions depend on


def test_the_same_seed_gives_the_same_questions_whatever_the_model(readings, tmp_path):
    other = made_readings(tmp_path, checkpoint=asked_checkpoint(1))
    assert other.checkpoint.digest != readings.checkpoint.digest
    again = made_readings(tmp_path)
    for part, kind in KINDS:
        questions = readings.questions("alpha", part, kind)
        assert again.questions("alpha", part, kind) == questions
        assert other.questions("alpha", part, kind) == questions
    drawn = readings.rng("alpha", "purpose").random()
    assert other.rng("alpha", "purpose").random() == drawn


def test_another_seed_gives_other_questions(readings, tmp_path):
    other = made_readings(tmp_path, seed=1)
    assert other.seed == 1
    for part, kind in KINDS:
        asked = other.questions("alpha", part, kind)
        assert examples(asked) != examples(readings.questions("alpha", part, kind))
    assert other.parts("alpha") == split(TASKS["alpha"], 1)


def test_chance_depends_on_seed_task_and_purpose(readings, tmp_path):
    chances = [
        readings.rng("alpha", "one"),
        readings.rng("alpha", "two"),
        readings.rng("beta", "one"),
        made_readings(tmp_path, seed=1).rng("alpha", "one"),
    ]
    assert len({chance.random() for chance in chances}) == 4
    assert readings.rng("alpha", "one").random() == readings.rng("alpha", "one").random()
    with pytest.raises(UsageError, match="no task 'omega'"):
        readings.rng("omega", "one")


@pytest.mark.parametrize("task", ["alpha", "half"])
def test_a_restart_draws_fit_and_choose_anew_and_leaves_judged_questions_alone(readings, task):
    again = readings.again(1)
    assert (again.restart, readings.restart) == (1, 0)
    for part, kind in KINDS:
        one, two = readings.questions(task, part, kind), again.questions(task, part, kind)
        # Shots, labels and order included.
        assert (one == two) == (part == "judge")
    assert again.in_text(task, "{x} means") == readings.in_text(task, "{x} means")
    assert again.parts(task) == readings.parts(task)
    assert again.again(0).questions(task, "fit", "clean") == readings.questions(
        task, "fit", "clean"
    )
    # Controls are not drawn anew: they belong to what is judged.
    assert again.rng(task, "control").random() == readings.rng(task, "control").random()


def test_damage_changes_no_question(readings):
    broken = readings.again(damage="what is broken")
    assert broken.damage == "what is broken"
    for part, kind in KINDS:
        assert broken.questions("alpha", part, kind) == readings.questions("alpha", part, kind)


def test_other_tasks_may_be_split_in_their_own_way(readings):
    rows = TASKS["alpha"].rows
    parts = {"fit": rows[20:], "choose": rows[:5], "judge": rows[5:20]}
    moved = readings.again(2, "broken").about(
        {"alpha": TASKS["alpha"], "beta": TASKS["beta"]}, {"alpha": parts}
    )
    assert list(moved.tasks) == ["alpha", "beta"]
    assert (moved.restart, moved.damage, moved.seed) == (2, "broken", 0)
    for part, kind in KINDS:
        assert {q.row for q in moved.questions("alpha", part, kind)} <= set(parts[part])
    assert moved.parts("beta") == split(TASKS["beta"], 0)
    assert moved.again(1).parts("alpha") == parts
    # The readings that they were made from stay as they were.
    assert readings.parts("alpha") == split(TASKS["alpha"], 0)


def test_questions_are_those_that_are_written_from_the_drawn_rows(readings):
    """Nothing is added between the draw and what is asked."""
    drawn = readings._drawn("alpha", "judge")
    rng = readings._draw_for("alpha", "judge")
    task = TASKS["alpha"]
    asked = ask(readings.checkpoint, task, drawn, "shuffled", FORMATS["arrow"], rng)
    assert readings.questions("alpha", "judge", "shuffled", "arrow") == asked[:5]
    framed = ask_in_frame(readings.checkpoint, drawn, "{x} means")
    assert readings.in_text("alpha", "{x} means") == framed[:4]


def test_depths_are_tenths_of_this_model_each_block_once(readings):
    assert [depth.block for depth in readings.depths] == list(range(BLOCKS))
    assert readings.depths[0].label == "depth0.00"
    assert readings.depths[-1].label == "depth1.00"


# What is kept


def built(readings, tasks=("alpha",), what="figures", given=None, module=None):
    """Ask for arrays; say whether they were built."""
    calls = []

    def build():
        calls.append(1)
        return {"figures": np.arange(3.0), "labels": np.array(["a", "b"])}

    module = module or "stillwired.instruments.task_readings"
    kept = readings.cached(what, tasks, given or {}, build, module)
    assert kept["figures"].tolist() == [0, 1, 2]
    assert kept["labels"].tolist() == ["a", "b"]
    return bool(calls)


def test_arrays_are_built_once(readings, tmp_path):
    assert built(readings)
    assert not built(readings)
    assert not built(made_readings(tmp_path, engine=no_engine))


def test_everything_that_arrays_depend_on_keeps_them_apart(readings, tmp_path):
    rows = [(row.input, row.output) for row in TASKS["alpha"].rows]
    changed = {**TASKS, "alpha": made_task("alpha", [*rows[:-1], ("w99", "w1")])}
    assert built(readings)
    for other in (
        readings.again(1),
        readings.again(0, "what is broken"),
        readings.again(0, "what else is broken"),
        readings.again(1, "what is broken"),
        made_readings(tmp_path, seed=1),
        made_readings(tmp_path, checkpoint=asked_checkpoint(1)),
        made_readings(tmp_path, tasks=changed),
        made_readings(tmp_path, sizes=replace(SIZES, judged=9)),
        made_readings(tmp_path, sizes=replace(SIZES, shots=2)),
        made_readings(tmp_path, sizes=replace(SIZES, forms=("arrow", "qa"))),
    ):
        assert built(other)
        assert not built(other)
    assert built(readings, ("alpha", "beta"))
    assert built(readings, what="others")
    assert built(readings, given={"task": "alpha"})
    assert built(readings, module="stillwired.instruments.head_effects")
    assert not built(readings)


def test_what_arrays_do_not_depend_on_does_not_build_them_again(readings, tmp_path):
    assert built(readings)
    rows = [(row.input, row.output) for row in TASKS["beta"].rows]
    changed = {**TASKS, "beta": made_task("beta", rows[:-1])}
    for other in (
        made_readings(tmp_path, tasks=changed),
        made_readings(tmp_path, tasks={"alpha": TASKS["alpha"]}),
        made_readings(tmp_path, sizes=replace(SIZES, tasks=("alpha",))),
        made_readings(tmp_path, sizes=replace(SIZES, forms=("qa", "arrow"))),
    ):
        assert not built(other)


def test_the_identities_are_the_engines_and_are_kept(readings, tmp_path):
    held = engine_of(readings.checkpoint).self_check
    expected = [(check.name, check.max_difference, check.tolerance) for check in held]
    assert readings.self_check == expected
    assert len(expected) > 1
    assert made_readings(tmp_path, engine=no_engine).self_check == readings.self_check


def test_every_tenth_is_told_once(tmp_path):
    told = []
    report = made_readings(tmp_path, say=told.append).tenths("counting")
    for done in range(1, 41):
        report(done, 40)
    assert told == [f"counting: {10 * k} %" for k in range(1, 11)]
    # In large steps some are left out.
    told.clear()
    report = made_readings(tmp_path, say=told.append).tenths("counting")
    for done in (1, 10, 11, 20):
        report(done, 20)
    assert told == ["counting: 50 %", "counting: 100 %"]
