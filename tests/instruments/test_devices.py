"""Instruments on GPUs, as far as that can be pretended: nothing meets on two devices."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from stillwired.checkpoints.checkpoint import Checkpoint
from stillwired.engine.engine import Engine
from stillwired.instruments.function_vectors import TaskVectors
from stillwired.instruments.future_lens import FutureLens
from stillwired.instruments.head_outcomes import HeadOutcomes
from stillwired.instruments.logit_lens import LogitLens
from stillwired.instruments.prompt_recipes import Recipe
from stillwired.instruments.vector_meaning import VectorMeaning
from stillwired.instruments.vector_outcomes import VectorOutcomes
from tests.engine.pretend import FIRST, Pretended, put, spread
from tests.instruments.conftest import made_checkpoint, readings_of
from tests.instruments.test_task_readings import FIVE, asked_checkpoint, made_readings

FEW = Recipe(vectors=3, rate=0.02, steps=2, batch=4, every=1)


def placed(checkpoint, how):
    """The same weights on one pretended device, or on two."""
    model = checkpoint.model
    if how == "one":
        put(model, FIRST)
    else:
        spread(model, checkpoint.anatomy.within(0, ""))
    return Checkpoint.of_model(model, checkpoint.tokenizer, name=checkpoint.name)


@pytest.fixture(params=["one", "two"])
def how(request):
    return request.param


@pytest.fixture
def pretended():
    threads = torch.get_num_threads()
    # Tiny products gain nothing from threads, and lose much where others compute too.
    torch.set_num_threads(1)
    with Pretended():
        yield
    torch.set_num_threads(threads)


READERS = {
    "linear": lambda lens: lens.linear(1, few=True),
    "vocabulary": lambda lens: lens.read("vocabulary", 1, lens.middle, few=True),
    "fed": lambda lens: lens.fair_linear(1, few=True),
    "learned": lambda lens: lens.learned(2, few=True),
    "learned, as tokens": lambda lens: lens.learned(1, as_tokens=True, few=True),
    "no state": lambda lens: lens.no_state(1, few=True),
    "wrong token": lambda lens: lens.learned(2, fed="wrong first", few=True),
    "itself": lambda lens: lens.own_drop(2),
}


def test_readers_of_the_text_say_what_they_say_on_the_cpu(how, text, corpus, tmp_path, pretended):
    checkpoint = placed(made_checkpoint(), how)
    assert checkpoint.regime.device == FIRST
    there = readings_of(checkpoint, Engine(checkpoint), corpus, tmp_path)
    for split in ("fit", "choose", "judge"):
        for depth in text.depths:
            ours, theirs = (t.survey.states(split, depth.block) for t in (there, text))
            # Batches on a GPU are larger, and sums are rounded otherwise.
            np.testing.assert_allclose(ours, theirs, atol=1e-5)
    lenses = FutureLens(there, FEW, first=20), FutureLens(text, FEW, first=20)
    for name, read in READERS.items():
        ours, theirs = (read(lens).scores for lens in lenses)
        assert len(ours) == len(theirs)
        # A guess between two tokens that are as likely may fall either way.
        assert np.mean(~np.isclose(ours, theirs, atol=1e-3)) <= 0.05, name
    ours, theirs = (LogitLens(t).agreement_at_last_block() for t in (there, text))
    assert ours == theirs == 1.0


class Able(TaskVectors):
    """Takes the tiny model for one that can do every task: it is right now and then."""

    def can_do(self, name):
        return True


VECTORS = {
    "lift": lambda v, task: VectorOutcomes(v, task).lift("top"),
    "zero-shot": lambda v, task: VectorOutcomes(v, task).zero_shot("own"),
    "in text": lambda v, task: VectorOutcomes(v, task).in_text("own"),
    "attention": lambda v, task: HeadOutcomes(v, task).attention_on_answers("top"),
    "induction": lambda v, task: HeadOutcomes(v, task).induction("top"),
    "decoded": lambda v, task: VectorMeaning(v, task).names_answers("own"),
    "rebuilt": lambda v, task: VectorMeaning(v, task).with_rebuilt(),
    "offset": lambda v, task: VectorMeaning(v, task).with_offset("embedding"),
}


def test_function_vectors_are_those_of_the_cpu(how, tmp_path, pretended):
    here = asked_checkpoint()
    again = made_checkpoint()
    again.model.load_state_dict(here.model.state_dict())
    checkpoint = placed(again, how)
    engine = Engine(checkpoint)
    there = Able(
        made_readings(tmp_path / "there", FIVE, checkpoint=checkpoint, engine=lambda: engine)
    )
    plain = Able(made_readings(tmp_path / "here", FIVE))
    assert there.carriers == plain.carriers
    for task in plain.carriers:
        np.testing.assert_allclose(there.effects(task), plain.effects(task), atol=1e-5)
    assert there.heads() == plain.heads()
    task = plain.carriers[0]
    for name, measure in VECTORS.items():
        ours, theirs = (measure(vectors, task).scores for vectors in (there, plain))
        np.testing.assert_allclose(ours, theirs, atol=1e-3, err_msg=name)
