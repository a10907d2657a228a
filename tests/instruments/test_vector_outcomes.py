"""Function vectors as outcomes: which intervention stands behind each label, and on which rows."""

from __future__ import annotations

import hashlib
from collections import Counter
from functools import cache

import numpy as np
import pytest

from stillwired.data.task_prompts import frames
from stillwired.data.task_sizes import DEPTHS
from stillwired.data.tasks import split
from stillwired.errors import UnsuitableTaskError
from stillwired.instruments import function_vectors, vector_trials
from stillwired.instruments.depths import resolve_depth
from stillwired.instruments.function_vectors import COMMONEST, DRAWS, VECTORS, TaskVectors
from stillwired.instruments.head_effects import ranked, replacing
from stillwired.instruments.interventions import Answers, Insert, answers
from stillwired.instruments.vector_outcomes import ALL_TASKS, EARLY, LATE, VectorOutcomes, reaches
from stillwired.instruments.vector_trials import LONG_BEFORE
from stillwired.outcomes import paired
from tests.instruments.conftest import BLOCKS
from tests.instruments.test_task_readings import (
    FIVE,
    SIZES,
    TASKS,
    examples,
    made_readings,
    no_engine,
)

CARRIERS = ("alpha", "gamma", "delta")
FOUR = {name: FIVE[name] for name in ("alpha", "few", "gamma", "delta")}
COUNT = 3
RIVALS = ("another task's", "random")


def told(question, one):
    """What stands for a probability: a number for each question and intervention."""
    what = None
    if isinstance(one, Insert):
        what = one.block, one.vector.round(decimals=3).tolist()
    elif one is not None:
        values = one.values.round(decimals=3).tolist()
        what = sorted(zip(one.heads, values, strict=True))
    digest = hashlib.sha256(repr((question.example, question.tokens, what)).encode()).digest()
    return int.from_bytes(digest[:8], "big") / 2**64


def answering(cone, questions, interventions, progress=None):
    """Answer half of everything rightly, so that no two interventions look alike."""
    found = np.array([[told(question, one) for one in interventions] for question in questions])
    full = BLOCKS * sum(len(question.tokens) for question in questions) * len(interventions)
    return Answers(found, found > 0.5, 0, full // 3, full)


@pytest.fixture(scope="module", autouse=True)
def any_task():
    """A random model does nothing well, and hardly anything that is judged is answered rightly."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(function_vectors, "ABLE", -1.0)
        patch.setattr(vector_trials, "answers", answering)
        yield


def vectors_in(folder, tasks=FOUR, **given):
    made = TaskVectors(made_readings(folder, tasks, **given))
    made.count = COUNT
    # They are asked for again and again.
    made.effects, made.choice = cache(made.effects), cache(made.choice)
    return made


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(scope="module")
def vectors(folder):
    return vectors_in(folder)


@pytest.fixture(scope="module")
def on(vectors):
    """What is judged on the first task."""
    return VectorOutcomes(vectors, "alpha")


@pytest.fixture(scope="module")
def on_all(vectors):
    return VectorOutcomes(vectors, ALL_TASKS)


def tried(vectors, questions, *interventions):
    """Ask directly: probabilities and hits [questions, interventions]."""
    found = answering(None, questions, list(interventions))
    return found.probabilities, found.hits.astype(float)


def best(vectors, name, vector):
    return vectors.inserted(name, vector, vectors.depth(name, vector))


def zero_shot(vectors, name="alpha", form=""):
    return vectors.readings.questions(name, "judge", "zero-shot", form)


def shuffled(vectors, name="alpha"):
    return vectors.readings.questions(name, "judge", "shuffled")


def about(outcome, questions):
    """Whether an outcome is about some questions, in their order and clusters."""
    return outcome.examples.tolist() == examples(questions) and outcome.clusters.tolist() == [
        question.cluster for question in questions
    ]


# Heads put back


def groups(vectors, name):
    """Heads by label, drawn here again."""
    without = [n for n in CARRIERS if n != name]
    mean = np.mean([vectors.effects(n).mean(0) for n in without], axis=0)
    every = np.mean([vectors.effects(n).mean(0) for n in CARRIERS], axis=0)
    top, found = ranked(every)[:COUNT], ranked(mean)[:COUNT]

    def others(first, heads):
        return [vectors.random_heads(name, first + k, heads) for k in range(DRAWS)]

    return {
        "top": [top],
        "first": [top[:1]],
        "doubled": [ranked(every)[: 2 * COUNT]],
        "random": others(0, top),
        "other random": others(DRAWS, top),
        "without": [found],
        "random for without": others(2 * DRAWS, found),
        "other random for without": others(3 * DRAWS, found),
    }


def test_lifts_are_gains_of_probability_with_the_heads_that_they_name(vectors, on):
    means, questions = vectors.means("alpha"), shuffled(vectors)
    by_label = groups(vectors, "alpha")
    flat = [replacing(means, heads) for drawn in by_label.values() for heads in drawn]
    probabilities, _ = tried(vectors, questions, None, *flat)
    gains = iter((probabilities[:, 1:] - probabilities[:, :1]).T)
    seen = []
    for label, drawn in by_label.items():
        expected = np.mean([next(gains) for _ in drawn], axis=0)
        outcome = on.lift(label)
        np.testing.assert_allclose(outcome.scores, expected, atol=1e-6)
        assert about(outcome, questions)
        assert outcome.factors == {"task": "alpha", "heads": label}
        assert outcome.name == f"alpha: lift, {label} heads"
        seen.append(tuple(outcome.scores.round(9)))
    assert len(questions) == SIZES.judged_shuffled
    # All are lifts of their own, but for groups of heads that happen to be the same.
    same = {label: tuple(map(frozenset, drawn)) for label, drawn in by_label.items()}
    assert len(set(seen)) == len(set(same.values()))


def test_random_heads_are_never_those_that_they_stand_against(vectors):
    by_label = groups(vectors, "alpha")
    for label, against in (
        ("random", "top"),
        ("other random", "top"),
        ("random for without", "without"),
        ("other random for without", "without"),
    ):
        (heads,) = by_label[against]
        for drawn in by_label[label]:
            assert not set(drawn) & set(heads)
            assert sorted(n for n, _ in drawn) == sorted(n for n, _ in heads)
    assert by_label["random"] != by_label["other random"]


def test_rescues_are_hits_on_shuffled_labels(vectors, on):
    questions = shuffled(vectors)
    _, hits = tried(vectors, questions, None, *(best(vectors, "alpha", v) for v in VECTORS))
    for label, expected in zip(("nothing", *VECTORS), hits.T, strict=True):
        outcome = on.rescue(label)
        assert np.array_equal(outcome.scores, expected)
        assert about(outcome, questions)
        assert outcome.factors == {"task": "alpha", "vector": label}


@pytest.mark.parametrize(("name", "right"), [("alpha", False), ("few", True)])
def test_the_commonest_answer_is_a_vector_that_says_nothing_else(vectors, name, right):
    on, readings = VectorOutcomes(vectors, name), vectors.readings
    found = {
        "zero-shot": (on.zero_shot(COMMONEST), zero_shot(vectors, name)),
        "arrow": (on.transferred("arrow", COMMONEST), zero_shot(vectors, name, "arrow")),
        "text": (on.in_text(COMMONEST), readings.in_text(name, frames(FIVE[name])[0])),
    }
    if name != "few":
        found["shuffled"] = on.rescue(COMMONEST), shuffled(vectors, name)
    fit = Counter(row.output for row in split(FIVE[name], 0)["fit"])
    common = fit.most_common(1)[0][0]
    assert fit[common] > 1
    for outcome, questions in found.values():
        assert outcome.scores.tolist() == [q.row.output == common for q in questions]
        assert about(outcome, questions)
        assert outcome.factors["vector"] == COMMONEST
        assert outcome.name.endswith(", commonest answer")
    assert found["zero-shot"][0].scores.any() == right


def test_the_commonest_answer_is_that_of_each_way_of_writing(tmp_path, monkeypatch):
    apart = vectors_in(tmp_path)
    tokens = {
        "qa": 3,
        "arrow": 4,
        **{frame: 5 + k for k, frame in enumerate(frames(FIVE["gamma"]))},
    }

    def commonest(name, form="", frame=""):
        return 2 + tokens[frame or form or "qa"]

    monkeypatch.setattr(apart.readings, "commonest", commonest)
    on = VectorOutcomes(apart, "gamma")
    said = {"qa": on.zero_shot(COMMONEST), "arrow": on.transferred("arrow", COMMONEST)}
    for form, outcome in said.items():
        expected = [q.row.output == f"w{tokens[form]}" for q in zero_shot(apart, "gamma", form)]
        assert outcome.scores.tolist() == expected
    shown = frames(FIVE["gamma"])
    hits = [
        [q.row.output == f"w{tokens[frame]}" for q in apart.readings.in_text("gamma", frame)]
        for frame in shown
    ]
    assert np.sum(hits) > 0
    np.testing.assert_allclose(on.in_text(COMMONEST).scores, np.mean(hits, axis=0))


def test_what_was_not_tried_is_named(on):
    with pytest.raises(UnsuitableTaskError, match=r"'best' could not be tried. Tried were: nothi"):
        on.lift("best")
    for read in (on.rescue, on.zero_shot, on.in_text):
        with pytest.raises(UnsuitableTaskError, match="'best' could not be tried"):
            read("best")


def test_heads_of_other_tasks_need_other_tasks(tmp_path):
    tasks = {"alpha": FIVE["alpha"], "few": FIVE["few"]}
    alone = VectorOutcomes(vectors_in(tmp_path, tasks), "alpha")
    assert alone.vectors.carriers == ("alpha",)
    assert len(alone.lift("top")) == SIZES.judged_shuffled
    for label in ("without", "random for without", "other random for without"):
        with pytest.raises(UnsuitableTaskError, match=f"'{label}' could not be tried"):
            alone.lift(label)


def test_a_task_that_cannot_be_shuffled_has_no_lift(vectors):
    few = VectorOutcomes(vectors, "few")
    with pytest.raises(UnsuitableTaskError, match="few cannot be shuffled"):
        few.lift("top")
    assert len(few.zero_shot("own")) == SIZES.judged


# Where nothing shows the task


def test_zero_shot_hits_are_those_of_each_vector_at_its_own_best_depth(vectors, on):
    questions, name = zero_shot(vectors), "alpha"
    doubled = vectors.vector(name, heads=vectors.heads(2 * COUNT))
    expected = {
        "nothing": None,
        **{vector: best(vectors, name, vector) for vector in VECTORS},
        "doubled": Insert(vectors.depth(name).block, doubled),
    }
    _, hits = tried(vectors, questions, *expected.values())
    for label, scores in zip(expected, hits.T, strict=True):
        outcome = on.zero_shot(label)
        assert np.array_equal(outcome.scores, scores)
        assert about(outcome, questions)
        assert outcome.factors["vector"] == label
    assert on.zero_shot("own").factors["depth"] == vectors.depth(name).label
    assert len(questions) == SIZES.judged
    assert len({tuple(scores) for scores in hits.T}) == len(expected)


def test_each_depth_is_read_where_it_lies(vectors, on):
    questions, blocks = zero_shot(vectors), range(8)
    tries = [Insert(block, vectors.vector("alpha")) for block in blocks]
    _, hits = tried(vectors, questions, *tries)
    by_depth = on.by_depth()
    assert list(by_depth) == [depth.label for depth in vectors.readings.depths]
    for depth, outcome, scores in zip(
        vectors.readings.depths, by_depth.values(), hits.T, strict=True
    ):
        assert np.array_equal(outcome.scores, scores)
        assert about(outcome, questions)
        assert outcome.factors["depth"] == depth.label
    # Two depths that mean one block of a shallow model read the same.
    for asked, block in ((0.0, 0), (0.1, 1), (0.2, 1), (0.5, 4), (0.6, 4), (1.0, 7)):
        assert np.array_equal(on.at_depth(asked).scores, hits[:, block])
    own = on.zero_shot("own").scores
    assert np.array_equal(own, hits[:, vectors.depth("alpha").block])


def with_curve(vectors, peaks, monkeypatch):
    """Let the choose split prefer some blocks, the later ones of the list more."""
    curve = np.zeros((len(VECTORS), 8))
    for rank, block in enumerate(peaks, 1):
        curve[VECTORS.index("own"), block] = rank
    # What other vectors prefer is of no concern.
    curve[1:, 2] = curve[1:, 7] = 9
    monkeypatch.setattr(vectors, "choice", lambda name: curve)


@pytest.mark.parametrize(
    ("peaks", "early", "late"),
    [((4, 7, 5), 4, 7), ((2, 3, 6), 3, 6), ((6, 7, 3, 2, 0), 2, 7), ((), 1, 6)],
)
def test_bands_are_read_where_the_choose_split_prefers(
    vectors, on, monkeypatch, peaks, early, late
):
    by_depth = list(on.by_depth().values())
    with_curve(vectors, peaks, monkeypatch)
    for found, block in ((on.early_to_middle(), early), (on.late(), late)):
        assert np.array_equal(found.scores, by_depth[block].scores)
        assert found.factors["depth"] == vectors.readings.depths[block].label


@pytest.mark.parametrize("blocks", [12, 18, 22, 24, 28, 30, 32, 44, 48, 64, 80])
def test_bands_hold_the_declared_depths_whatever_the_number_of_blocks(blocks):
    for band, low, high in ((EARLY, 0.2, 0.6), (LATE, 0.8, 1.0)):
        for asked in DEPTHS:
            depth = resolve_depth(asked, blocks)
            assert reaches(band, depth, blocks) is (low <= asked <= high)


def test_where_no_head_is_left_nothing_stands_for_random_ones(tmp_path, monkeypatch):
    alone = VectorOutcomes(vectors_in(tmp_path), "alpha")
    monkeypatch.setattr(alone.vectors, "random_heads", lambda name, draw, heads: ())
    with pytest.raises(UnsuitableTaskError, match="'random' could not be tried"):
        alone.lift("random")
    assert len(alone.lift("top").scores) == SIZES.judged_shuffled


# Other formats


def test_transferred_hits_are_the_mean_over_the_other_formats(vectors, on):
    name = "alpha"
    at = vectors.depth(name).block
    for form in SIZES.forms:
        questions = zero_shot(vectors, form=form)
        tries = [Insert(at, vectors.vector(name, of)) for of in SIZES.forms]
        tries += [None, *(best(vectors, name, vector) for vector in RIVALS)]
        _, hits = tried(vectors, questions, *tries)
        others = [k for k, of in enumerate(SIZES.forms) if of != form]
        assert len(others) == 2
        expected = {
            "own": hits[:, others].mean(1),
            **dict(zip(("nothing", *RIVALS), hits[:, 3:].T, strict=True)),
        }
        for vector, scores in expected.items():
            outcome = on.transferred(form, vector)
            np.testing.assert_allclose(outcome.scores, scores)
            assert about(outcome, questions)
            assert outcome.factors == {"task": name, "form": form, "vector": vector}
        each = on.from_each_form(form)
        assert list(each) == list(SIZES.forms)
        for of, outcome, scores in zip(SIZES.forms, each.values(), hits.T, strict=False):
            assert np.array_equal(outcome.scores, scores)
            assert outcome.factors == {"task": name, "form": form, "extracted": of}
            assert about(outcome, questions)


# Natural text


@pytest.mark.parametrize("long", [False, True])
def test_hits_in_text_are_averaged_over_frames(vectors, long):
    name, before = "gamma", LONG_BEFORE if long else ""
    shown = frames(FIVE[name])
    assert len(shown) == 3
    tries = [best(vectors, name, vector) for vector in ("own", *RIVALS)]
    means = []
    for frame in shown:
        questions = vectors.readings.in_text(name, frame, before)
        means.append(tried(vectors, questions, None, *tries)[1])
    on = VectorOutcomes(vectors, name)
    for label, scores in zip(("nothing", "own", *RIVALS), np.mean(means, axis=0).T, strict=True):
        outcome = on.in_text(label, long)
        np.testing.assert_allclose(outcome.scores, scores)
        assert about(outcome, questions)
        assert ("long" in outcome.name) == long
    gain = on.gain_in_text(long)
    own, nothing = on.in_text("own", long), on.in_text("nothing", long)
    np.testing.assert_allclose(gain.scores, own.scores - nothing.scores)
    assert about(gain, questions)
    assert len(questions) == SIZES.judged_text


def test_only_what_every_frame_can_ask_is_judged(vectors, tmp_path, monkeypatch):
    """Each frame but one joins a word of its own."""
    name = "gamma"
    shown = frames(FIVE[name])
    whole = vectors.readings.in_text(name, shown[0])
    asked = {shown[0]: [0, 1, 3], shown[1]: [0, 1, 2, 3], shown[2]: [0, 2, 3]}
    left = [0, 3]
    apart = vectors_in(tmp_path)
    sound = apart.readings.in_text

    def in_text(task, frame, before=""):
        questions = sound(task, frame, before)
        return [questions[k] for k in asked[frame]]

    monkeypatch.setattr(apart.readings, "in_text", in_text)
    tries = [None, *(best(vectors, name, vector) for vector in ("own", *RIVALS))]
    hits = []
    for frame in shown:
        questions = vectors.readings.in_text(name, frame)
        assert examples(questions) == examples(whole)
        hits.append(tried(vectors, [questions[k] for k in left], *tries)[1])
    for label, expected in zip(("nothing", "own", *RIVALS), np.mean(hits, axis=0).T, strict=True):
        found = VectorOutcomes(apart, name).in_text(label)
        assert about(found, [whole[k] for k in left])
        np.testing.assert_allclose(found.scores, expected)
    asked[shown[1]] = [1, 2]
    asked[shown[2]] = [0]
    with pytest.raises(UnsuitableTaskError, match="No question about gamma can be asked in every"):
        VectorOutcomes(apart, name).in_text("own", long=True)


def test_a_task_that_fits_into_no_text_has_no_hits_there(vectors):
    delta = VectorOutcomes(vectors, "delta")
    for read in (delta.in_text, lambda vector: delta.gain_in_text()):
        with pytest.raises(UnsuitableTaskError, match="delta fit into no natural text"):
            read("own")


# What it costs


def test_what_was_asked_is_counted_once_and_from_the_cache_too(vectors, folder):
    by_task = {name: vectors_in(folder) for name in ("alpha", "gamma")}
    for name, apart in by_task.items():
        on = VectorOutcomes(apart, name)
        for _ in range(2):
            on.zero_shot("own")
            on.transferred("arrow", "own")
    cost = {name: apart.readings.cost for name, apart in by_task.items()}
    both = vectors_in(folder, engine=no_engine)
    for name in by_task:
        VectorOutcomes(both, name).zero_shot("own")
    found = both.readings.cost["zero-shot questions"]
    assert found == tuple(sum(np.array(c["zero-shot questions"]) for c in cost.values()))
    assert both.readings.cost.keys() <= cost["alpha"].keys()
    # Eight depths, three rivals, twice as many heads, and nothing.
    tokens = sum(len(question.tokens) for question in zero_shot(vectors))
    assert cost["alpha"]["zero-shot questions"][1] == 8 * tokens * (8 + 3 + 1 + 1)
    tokens = sum(len(question.tokens) for question in zero_shot(vectors, form="arrow"))
    assert cost["alpha"]["questions written as arrow"][1] == 8 * tokens * (1 + 3 + 2)
    for what in cost["alpha"].values():
        assert 0 < what[0] <= what[1]


def test_the_cost_of_natural_text_is_that_of_all_frames(vectors):
    vectors.readings._cells.clear()
    VectorOutcomes(vectors, "gamma").in_text("own")
    tokens = 0
    for frame in frames(FIVE["gamma"]):
        tokens += sum(len(q.tokens) for q in vectors.readings.in_text("gamma", frame))
    assert vectors.readings.cost["natural text"][1] == 8 * tokens * 4


# One task's outcomes together


def test_outcomes_that_are_compared_share_examples_and_clusters(on):
    lifts = [on.lift(heads) for heads in ("top", "first", "random", "other random", "without")]
    zero = [on.zero_shot(v) for v in ("nothing", "own", "doubled", "random")]
    zero += [on.early_to_middle(), on.late(), *on.by_depth().values()]
    arrow = [on.transferred("arrow", v) for v in ("own", "nothing", *RIVALS)]
    arrow += on.from_each_form("arrow").values()
    text = [on.in_text(v) for v in ("own", "nothing", *RIVALS)]
    text += [on.gain_in_text(), on.gain_in_text(long=True)]
    rescued = [on.rescue(v) for v in ("nothing", *VECTORS)]
    for together in (lifts, zero, arrow, text, rescued):
        for other in together[1:]:
            ours, theirs = paired(together[0], other)
            assert np.array_equal(ours, together[0].scores)
            assert np.array_equal(theirs, other.scores)
            assert other.clusters.tolist() == together[0].clusters.tolist()


def test_names_tell_outcomes_apart(on):
    found = [
        *(on.lift(heads) for heads in ("top", "first", "random", "other random", "without")),
        *(on.rescue(vector) for vector in ("nothing", *VECTORS)),
        *(on.zero_shot(vector) for vector in ("nothing", *VECTORS, "doubled")),
        *(on.transferred("arrow", vector) for vector in ("own", "nothing", *RIVALS)),
        *on.from_each_form("arrow").values(),
        *(on.in_text(vector, long) for vector in ("own", "nothing") for long in (True, False)),
        on.gain_in_text(),
        on.gain_in_text(long=True),
    ]
    assert len({outcome.name for outcome in found}) == len(found)
    assert all(outcome.name.startswith("alpha: ") for outcome in found)


# All tasks


READS = {
    "lift": lambda on: on.lift("random"),
    "rescue": lambda on: on.rescue("another task's"),
    "zero-shot": lambda on: on.zero_shot("own"),
    "doubled": lambda on: on.zero_shot("doubled"),
    "commonest": lambda on: on.zero_shot(COMMONEST),
    "depth": lambda on: on.at_depth(0.5),
    "early": lambda on: on.early_to_middle(),
    "transferred": lambda on: on.transferred("arrow", "own"),
    "from a form": lambda on: on.from_each_form("arrow")["brackets"],
}


@pytest.mark.parametrize("read", READS)
def test_all_tasks_are_one_row_each_with_the_tasks_mean(vectors, on_all, read):
    outcome = READS[read](on_all)
    each = [READS[read](VectorOutcomes(vectors, name)) for name in CARRIERS]
    # The task whose labels cannot be shuffled carries nothing, and is left out everywhere.
    assert outcome.examples.tolist() == outcome.clusters.tolist() == list(CARRIERS)
    np.testing.assert_allclose(outcome.scores, [one.scores.mean() for one in each])
    assert outcome.factors["task"] == ALL_TASKS
    assert outcome.name.startswith("all tasks: ")


def test_all_tasks_in_text_are_those_that_fit(vectors, on_all):
    outcome = on_all.in_text("own")
    assert outcome.examples.tolist() == ["alpha", "gamma"]
    each = [VectorOutcomes(vectors, name).in_text("own") for name in ("alpha", "gamma")]
    np.testing.assert_allclose(outcome.scores, [one.scores.mean() for one in each])


def test_no_task_that_fits_is_refused(vectors, monkeypatch):
    monkeypatch.setattr(vectors, "carriers", ("delta",))
    with pytest.raises(UnsuitableTaskError, match=r"None of the tasks .* fits here"):
        VectorOutcomes(vectors, ALL_TASKS).in_text("own")


def test_a_depth_that_differs_between_tasks_is_not_told_of_all(vectors, on_all, monkeypatch):
    depths = dict(zip(CARRIERS, vectors.readings.depths[2:5], strict=True))
    monkeypatch.setattr(vectors, "depth", lambda name, vector="own": depths[name])
    outcome = on_all.zero_shot("own")
    assert depths["alpha"].label not in outcome.name
    assert outcome.factors.get("depth") != depths["alpha"].label


# On a model


def test_answers_are_the_models(vectors, tmp_path, monkeypatch):
    monkeypatch.setattr(vector_trials, "answers", answers)
    apart, cone, name = vectors_in(tmp_path), vectors.readings.cone, "gamma"
    on = VectorOutcomes(apart, name)
    means, top = vectors.means(name), vectors.heads()
    tries = [None, replacing(means, top), replacing(means, top[:1])]
    found = answers(cone, shuffled(vectors, name), [*tries, best(vectors, name, "own")])
    gains = found.probabilities - found.probabilities[:, :1]
    for label, expected in (("top", gains[:, 1]), ("first", gains[:, 2])):
        np.testing.assert_allclose(on.lift(label).scores, expected, atol=1e-6)
    assert on.rescue("own").scores.tolist() == found.hits[:, 3].tolist()
    tries = [Insert(block, vectors.vector(name)) for block in range(BLOCKS)]
    found = answers(cone, zero_shot(vectors, name), [None, *tries])
    for outcome, hits in zip(on.by_depth().values(), found.hits[:, 1:].T, strict=True):
        assert outcome.scores.tolist() == hits.tolist()
    assert on.zero_shot("nothing").scores.tolist() == found.hits[:, 0].tolist()
    assert 0 < found.hits.sum() < found.hits.size
    assert np.abs(gains[:, 1:3]).min() > 0


# What is kept


def test_what_was_asked_once_needs_no_model(vectors, on, folder):
    asked = {
        "lift": on.lift("top"),
        "zero-shot": on.zero_shot("own"),
        "arrow": on.transferred("arrow", "own"),
        "text": on.in_text("own"),
        "long": on.in_text("own", long=True),
        "rescue": on.rescue("random"),
    }
    again = VectorOutcomes(vectors_in(folder, engine=no_engine), "alpha")
    for one, other in (
        (asked["lift"], again.lift("top")),
        (asked["zero-shot"], again.zero_shot("own")),
        (asked["arrow"], again.transferred("arrow", "own")),
        (asked["text"], again.in_text("own")),
        (asked["long"], again.in_text("own", long=True)),
        (asked["rescue"], again.rescue("random")),
    ):
        assert np.array_equal(one.scores, other.scores)
        assert one.examples.tolist() == other.examples.tolist()
        assert one.factors == other.factors
    # A vector of another draw is asked for anew.
    anew = vectors_in(folder, engine=no_engine, restart=1)
    with pytest.raises(AssertionError, match="the engine was asked for"):
        VectorOutcomes(anew, "alpha").zero_shot("own")


def test_made_tasks_are_what_the_tests_suppose(vectors):
    assert vectors.carriers == CARRIERS
    assert TASKS["few"].answers < 10 <= TASKS["alpha"].answers
