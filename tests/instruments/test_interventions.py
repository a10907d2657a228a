"""Interventions: what is answered must be what plain hooks on the model answer."""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest
import torch

from stillwired.data.tasks import Row
from stillwired.engine.cone import Cone
from stillwired.engine.engine import Engine
from stillwired.errors import EngineError, MissingComponentError
from stillwired.instruments import interventions as module
from stillwired.instruments.interventions import Insert, Replace, answers
from stillwired.instruments.questions import Question
from tests.engine.tiny import HEADS, LAYERS, VOCABULARY, WIDTH, prompts, tiny

HEAD_DIM = {"llama": 8, "gpt2": 8, "gemma3": 12}
PLACES = {
    "llama": ("model.layers", "self_attn.o_proj"),
    "gpt2": ("transformer.h", "attn.c_proj"),
    "gemma3": ("model.layers", "self_attn.o_proj"),
}
FIRST, SECOND, LONG = prompts(7, 7, 12)
# Two lengths; one prompt twice, two that part at their end, one that goes on where another ends.
PROMPTS = [FIRST, LONG, FIRST, [*FIRST[:6], 3], SECOND, [*SECOND, 5, 9]]


@pytest.fixture(autouse=True)
def one_thread():
    """Tiny products gain nothing from threads, and lose much where others compute too."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def question(tokens, answer, example="made"):
    return Question(
        example=example,
        cluster="a | b",
        tokens=tuple(tokens),
        query=(3,),
        answer=answer,
        pieces=1,
        copies=False,
        answers=(),
        row=Row("a", "b"),
    )


@cache
def engine_of(family):
    return Engine(tiny(family))


def vector(*shape, seed):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def tried_on(family):
    size = HEAD_DIM[family]
    return [
        Insert(0, vector(WIDTH, seed=1)),
        Replace(((1, 3),), vector(1, size, seed=2)),
        None,
        Insert(LAYERS - 1, 3 * vector(WIDTH, seed=3)),
        Insert(0, vector(WIDTH, seed=4)),
        # Out of order, several of one layer, and one that other interventions touch as well.
        Replace(((2, 1), (0, 0), (1, 3), (0, 2)), vector(4, size, seed=5)),
        Insert(1, vector(WIDTH, seed=6)),
    ]


def plain(family, model, tokens, intervention):
    """Logits behind one prompt that runs alone under hooks."""
    layers, projection = PLACES[family]
    size, handles = HEAD_DIM[family], []

    def adding(given):
        def hook(_, __, output):
            whole = output[0] if isinstance(output, tuple) else output
            whole = whole.clone()
            whole[0, -1] += given
            return (whole, *output[1:]) if isinstance(output, tuple) else whole

        return hook

    def replacing(number, value):
        def hook(_, args):
            whole = args[0].clone()
            whole[0, -1, number * size : (number + 1) * size] = value
            return (whole, *args[1:])

        return hook

    if isinstance(intervention, Insert):
        block = model.get_submodule(f"{layers}.{intervention.block}")
        handles.append(block.register_forward_hook(adding(intervention.vector)))
    elif intervention is not None:
        for (layer, number), value in zip(intervention.heads, intervention.values, strict=True):
            place = model.get_submodule(f"{layers}.{layer}.{projection}")
            handles.append(place.register_forward_pre_hook(replacing(number, value)))
    try:
        with torch.no_grad():
            return model(torch.tensor([list(tokens)]), use_cache=False).logits[0, -1]
    finally:
        for handle in handles:
            handle.remove()


def asked(family):
    """Questions whose answers are what some of the interventions bring about."""
    model = engine_of(family).checkpoint.model
    wanted = tried_on(family)
    return [
        question(tokens, int(plain(family, model, tokens, wanted[k]).argmax()))
        for k, tokens in enumerate(PROMPTS)
    ]


def expected(family, questions, interventions):
    model = engine_of(family).checkpoint.model
    shape = (len(questions), len(interventions))
    probabilities, hits = np.zeros(shape), np.zeros(shape, bool)
    for row, one in enumerate(questions):
        for column, intervention in enumerate(interventions):
            logits = plain(family, model, one.tokens, intervention)
            probabilities[row, column] = logits.double().softmax(-1)[one.answer]
            hits[row, column] = int(logits.argmax()) == one.answer
    return probabilities, hits


@pytest.mark.parametrize("family", PLACES)
def test_answers_are_those_of_plain_hooks(family):
    questions, tried = asked(family), tried_on(family)
    found = answers(Cone(engine_of(family)), questions, tried)
    probabilities, hits = expected(family, questions, tried)
    np.testing.assert_allclose(found.probabilities, probabilities, rtol=1e-3, atol=1e-6)
    assert np.array_equal(found.hits, hits)
    assert found.ties == 0
    # The comparison is about something: every intervention changes every question.
    changed = np.abs(probabilities - probabilities[:, [2]]) > 1e-5
    assert np.delete(changed, 2, axis=1).mean() > 0.9
    assert hits.any(axis=1).all()
    assert not hits.all()


@pytest.mark.parametrize("family", ["llama", "gpt2"])
def test_an_edit_of_one_question_does_not_reach_another(family):
    questions, tried = asked(family), tried_on(family)
    together = answers(Cone(engine_of(family)), questions, tried)
    for row, one in enumerate(questions):
        alone = answers(Cone(engine_of(family)), [one], tried)
        np.testing.assert_allclose(together.probabilities[row], alone.probabilities[0], rtol=1e-3)
        assert np.array_equal(together.hits[row], alone.hits[0])
    for column, intervention in enumerate(tried):
        alone = answers(Cone(engine_of(family)), questions, [intervention])
        np.testing.assert_allclose(
            together.probabilities[:, column], alone.probabilities[:, 0], rtol=1e-3
        )


def test_nothing_put_in_is_the_plain_pass():
    """Alone as well as beside interventions, and at every second place."""
    questions = asked("llama")
    probabilities, hits = expected("llama", questions, [None])
    alone = answers(Cone(engine_of("llama")), questions, [None])
    np.testing.assert_allclose(alone.probabilities, probabilities, rtol=1e-3)
    assert np.array_equal(alone.hits, hits)
    tried = [None, Insert(1, vector(WIDTH, seed=6)), None]
    beside = answers(Cone(engine_of("llama")), questions, tried).probabilities
    np.testing.assert_allclose(beside[:, [0, 2]], np.repeat(probabilities, 2, 1), rtol=1e-3)


def test_the_model_stays_as_it_was():
    model = engine_of("llama").checkpoint.model
    before = plain("llama", model, FIRST, None)
    answers(Cone(engine_of("llama")), asked("llama"), tried_on("llama"))
    assert torch.equal(plain("llama", model, FIRST, None), before)


@pytest.mark.parametrize("rows", [1, 4])
def test_unembedding_in_parts_changes_nothing(monkeypatch, rows):
    questions, tried = asked("llama"), tried_on("llama")
    whole = answers(Cone(engine_of("llama")), questions, tried)
    monkeypatch.setattr(module, "ROWS", rows)
    parts = answers(Cone(engine_of("llama")), questions, tried)
    np.testing.assert_allclose(parts.probabilities, whole.probabilities, rtol=1e-5)
    assert np.array_equal(parts.hits, whole.hits)


def test_small_packs_change_nothing():
    questions, tried = asked("llama"), tried_on("llama")
    whole = answers(Cone(engine_of("llama")), questions, tried)
    parts = answers(Cone(engine_of("llama"), pack_cells=24), questions, tried)
    np.testing.assert_allclose(parts.probabilities, whole.probabilities, rtol=1e-3)
    assert np.array_equal(parts.hits, whole.hits)


def test_of_equally_likely_tokens_the_first_counts():
    made = tiny("llama")
    states = []
    hook = made.model.model.norm.register_forward_hook(lambda _, __, out: states.append(out[0, -1]))
    plain("llama", made.model, FIRST, None)
    hook.remove()
    with torch.no_grad():
        for token in (20, 40):
            made.model.lm_head.weight[token] = 10 * states[0] / states[0].norm()
    cone = Cone(Engine(made))
    questions = [question(FIRST, token) for token in (20, 40, 41)]
    found = answers(cone, questions, [None])
    assert found.hits[:, 0].tolist() == [True, False, False]
    assert found.probabilities[0] == found.probabilities[1]
    assert found.ties == 1
    # Each answer is counted for itself.
    assert answers(cone, questions[1:2] * 3, [None, None]).ties == 6


def test_what_a_sweep_costs_is_counted_in_cells():
    questions, tried = asked("llama"), tried_on("llama")
    cone = Cone(engine_of("llama"))
    found = answers(cone, questions, tried)
    full = LAYERS * sum(len(question.tokens) for question in questions) * len(tried)
    assert found.full_cells == full
    # A prompt runs once for all that is tried on it, and once for equal questions.
    once = LAYERS * sum(len(tokens) for tokens in {tuple(tokens) for tokens in PROMPTS})
    assert found.cells < once + LAYERS * len(questions) * len(tried)
    # One that nothing is tried on costs what it costs anyway.
    assert answers(cone, questions[1:2], [None]).full_cells == LAYERS * 12


def test_progress_ends_with_everything_done():
    told = []
    questions, tried = asked("llama"), tried_on("llama")
    cone = Cone(engine_of("llama"), pack_cells=24)
    answers(cone, questions, tried, lambda done, total: told.append((done, total)))
    assert len(told) > 1
    assert told == sorted(told)
    assert told[-1][0] == told[-1][1]


def test_nothing_asked_or_nothing_tried_is_nothing_answered():
    none = answers(None, [], tried_on("llama"))
    assert none.probabilities.shape == none.hits.shape == (0, 7)
    untried = answers(None, asked("llama"), [])
    assert untried.probabilities.shape == untried.hits.shape == (6, 0)
    assert none.ties == untried.ties == 0


def test_what_changes_nothing_is_refused():
    with pytest.raises(EngineError, match="changed nothing"):
        answers(Cone(engine_of("llama")), asked("llama"), [None, Insert(1, torch.zeros(WIDTH))])
    with pytest.raises(EngineError, match="not finite"):
        answers(
            Cone(engine_of("llama")), asked("llama"), [Insert(1, torch.full((WIDTH,), torch.nan))]
        )


def test_heads_that_are_not_there_are_refused():
    with pytest.raises(MissingComponentError, match="no component 'head' in layer 0"):
        answers(
            Cone(engine_of("jamba")),
            [question(FIRST, 1)],
            [Replace(((0, 0),), vector(1, 8, seed=0))],
        )


def test_the_made_prompts_fit_the_model():
    assert max(max(tokens) for tokens in PROMPTS) < VOCABULARY
    assert all(number < HEADS for one in (1, 5) for _, number in tried_on("llama")[one].heads)
