"""The survey against a naive loop: one plain forward pass per passage, nothing clever."""

from __future__ import annotations

import random

import numpy as np
import pytest
import torch
from tokenizers import Tokenizer, models, pre_tokenizers, processors
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from stillwired.checkpoints.checkpoint import Checkpoint
from stillwired.data.corpus import make_corpus
from stillwired.data.document import Document
from stillwired.engine.engine import Engine
from stillwired.instruments.logit_lens import LogitLens
from stillwired.instruments.survey import AHEAD, EMBEDDING, SurveyPlan, lens_bands, take_survey
from stillwired.instruments.text import TextReadings, other_document
from stillwired.mutants.readings import SURVEYS, damaged
from stillwired.profiles import Profile
from stillwired.store.cache import Store

WORDS = [f"w{k}" for k in range(200)]
BLOCKS = 8
SMALL = Profile("small", (0.1, 0.5, 0.9, 1.0), 48, 16, 80, 4, 44, 46, 24)
PLAN = SurveyPlan(SMALL, SMALL.depths, seed=3)


@pytest.fixture(scope="module")
def checkpoint():
    """A random Llama whose tokenizer puts a token before every text, as Gemma's does."""
    inner = Tokenizer(
        models.WordLevel({w: k for k, w in enumerate(["<bos>", "<unk>", *WORDS])}, "<unk>")
    )
    inner.pre_tokenizer = pre_tokenizers.Whitespace()
    inner.post_processor = processors.TemplateProcessing(
        single="<bos> $A", special_tokens=[("<bos>", 0)]
    )
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=inner, bos_token="<bos>", unk_token="<unk>"
    )
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=len(WORDS) + 2,
        hidden_size=32,
        intermediate_size=48,
        num_hidden_layers=BLOCKS,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=128,
        initializer_range=0.3,
        attn_implementation="eager",
    )
    return Checkpoint.of_model(LlamaForCausalLM(config).eval(), tokenizer, name="tiny")


@pytest.fixture(scope="module")
def text(checkpoint, tmp_path_factory):
    rng = random.Random(0)
    documents = [
        Document(f"d{k}", "words", " ".join(rng.choices(WORDS, k=rng.randint(90, 200))))
        for k in range(60)
    ]
    corpus, store = (
        make_corpus("made up", documents, {"words": 1}),
        Store(tmp_path_factory.mktemp("c")),
    )
    engine = Engine(checkpoint)
    survey = take_survey(lambda: engine, checkpoint, corpus, PLAN, store, lambda _: None)
    return TextReadings(checkpoint, lambda: engine, corpus, PLAN, lambda: survey, store)


@pytest.fixture(scope="module")
def naive(text, checkpoint):
    """Per split: every row's document text, position, and all states of its own passage."""
    model, length = checkpoint.model, {"fit": 46, "choose": 44, "judge": 44}

    def forward(example, split):
        passage, position = example.rsplit("+", 1)
        document, start = passage.rsplit("@", 1)
        source = next(d.text for d in text.corpus.documents if d.id == document)
        words = checkpoint.encode([source[int(start) :]])[0][: length[split]]
        tokens = [*checkpoint.prefix, *words]
        with torch.no_grad():
            out = model(torch.tensor([tokens]), output_hidden_states=True)
        return tokens, int(position) + len(checkpoint.prefix), out

    return forward


@pytest.mark.parametrize("split", ["fit", "choose", "judge"])
def test_rows_and_states_equal_a_plain_forward_pass(text, naive, split):
    survey, rows = text.survey, text.rows(split)
    assert len(text.checkpoint.prefix) == 1
    for row in range(0, len(rows), 7):
        tokens, at, out = naive(rows.examples[row], split)
        assert at - 1 >= 32
        assert rows.fed[row].tolist() == tokens[at : at + 4]
        assert rows.following[row].tolist() == tokens[at + 1 : at + 5]
        said = out.logits[0].argmax(-1)
        assert rows.targets[row].tolist() == said[at : at + 4].tolist()
        for depth in text.depths[:-1]:
            expected = out.hidden_states[depth.block + 1][0, at].numpy()
            assert np.abs(survey.states(split, depth.block)[row] - expected).max() < 1e-5
        if split != "judge":
            for ahead in AHEAD:
                expected = out.hidden_states[-1][0, at + ahead].numpy()
                assert np.abs(survey.final_states(split, ahead)[row] - expected).max() < 1e-5


def test_the_lens_reads_the_first_judged_rows(text, naive):
    survey, rows = text.survey, text.rows("judge")
    for row in range(0, SMALL.lens_states, 5):
        _, at, out = naive(rows.examples[row], "judge")
        for block in (EMBEDDING, lens_bands(BLOCKS)[2][0]):
            expected = out.hidden_states[block + 1][0, at].numpy()
            assert np.abs(survey.lens_states(block)[row] - expected).max() < 1e-5


def test_the_lens_at_the_last_block_is_the_model(text, naive):
    lens, rows = LogitLens(text), text.rows("judge")
    assert lens.agreement_at_last_block() == 1.0
    assert BLOCKS - 1 not in {block for band in lens.bands for block in band}
    block = lens.bands[0][0]
    for row in range(0, SMALL.lens_states, 5):
        _, at, out = naive(rows.examples[row], "judge")
        model = text.checkpoint.model
        with torch.no_grad():
            logits = model.lm_head(model.model.norm(out.hidden_states[block + 1][0, at]))
        expected = -torch.log_softmax(logits, -1)[rows.following[row, 0]]
        assert abs(lens.surprisal([block])[row] - float(expected)) < 1e-4


def test_sums_are_those_of_the_kept_states(text):
    moments, survey = text.survey.moments(), text.survey
    assert moments.n == len(text.rows("fit"))
    for k, block in enumerate(moments.blocks):
        x = np.array(survey.states("fit", block), dtype=np.float64)
        mean = moments.origin[k] + moments.x_sum[k] / moments.n
        assert np.abs(mean - x.mean(0)).max() < 1e-4
        y = np.array(survey.final_states("fit", 2), dtype=np.float64)
        plain = (x - x.mean(0)).T @ (y - y.mean(0)) / len(x)
        assert np.abs(moments.centred_cross(block, 2) - plain).max() < 1e-3 * np.abs(plain).max()


def test_a_second_survey_comes_from_the_cache(text):
    def never():
        raise AssertionError("the text was read again")

    again = take_survey(never, text.checkpoint, text.corpus, PLAN, text._store, lambda _: None)
    assert np.array_equal(again.rows("judge").targets, text.rows("judge").targets)


def test_other_document_moves_every_row():
    documents = np.repeat([f"d{k}" for k in range(9)], 5)
    order = other_document(documents, np.random.default_rng(0))
    assert sorted(order) == list(range(45))
    assert not np.any(documents[order] == documents)


@pytest.mark.parametrize("damage", SURVEYS)
def test_damage_leaves_what_the_model_says_and_the_last_block_alone(text, damage):
    broken = damaged(text, damage)
    for split in ("fit", "choose", "judge"):
        sound, rows = text.rows(split), broken.rows(split)
        assert np.array_equal(rows.targets[:, 0], sound.targets[:, 0])
        assert np.array_equal(rows.next_is_right, sound.next_is_right)
    assert LogitLens(broken).agreement_at_last_block() == 1.0
