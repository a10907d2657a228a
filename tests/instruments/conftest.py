"""A tiny random Llama, a made-up corpus, one survey of it, and the same read the plain way."""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tokenizers import Tokenizer, models, pre_tokenizers, processors
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from stillwired.checkpoints.checkpoint import Checkpoint
from stillwired.data.corpus import Corpus, make_corpus
from stillwired.data.document import Document
from stillwired.engine.engine import Engine
from stillwired.instruments.survey import SurveyPlan, take_survey
from stillwired.instruments.text import TextReadings
from stillwired.profiles import Profile
from stillwired.store.cache import Store

WORDS = [f"w{k}" for k in range(100)]
BLOCKS, WIDTH = 8, 32
# 10 fitting passages of 60 positions, 20 judged and 4 choosing ones of 4; 30 is no whole number
# of judged passages, so the lens reads 32 rows.
SMALL = Profile(
    "small",
    (0.1, 0.5, 0.9, 1.0),
    judge_states=80,
    choose_states=16,
    fit_states=600,
    per_passage=4,
    judge_tokens=44,
    fit_tokens=96,
    lens_states=30,
)
PLAN = SurveyPlan(SMALL, SMALL.depths, seed=3)
LENS_ROWS = 32


def made_checkpoint(seed: int = 0) -> Checkpoint:
    """A random Llama whose tokenizer puts a token before every text, as Gemma's does."""
    vocabulary = {word: k for k, word in enumerate(["<bos>", "<unk>", *WORDS])}
    inner = Tokenizer(models.WordLevel(vocabulary, "<unk>"))
    inner.pre_tokenizer = pre_tokenizers.Whitespace()
    inner.post_processor = processors.TemplateProcessing(
        single="<bos> $A", special_tokens=[("<bos>", 0)]
    )
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=inner, bos_token="<bos>", unk_token="<unk>"
    )
    torch.manual_seed(seed)
    config = LlamaConfig(
        vocab_size=len(vocabulary),
        hidden_size=WIDTH,
        intermediate_size=48,
        num_hidden_layers=BLOCKS,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=128,
        initializer_range=0.3,
        attn_implementation="eager",
    )
    model = LlamaForCausalLM(config).eval()
    with torch.no_grad():
        model.model.norm.weight.normal_(1.0, 0.3)
    return Checkpoint.of_model(model, tokenizer, name="tiny")


def made_corpus(seed: int = 0) -> Corpus:
    """80 documents: 56 to fit, 4 to choose, 20 to judge."""
    rng = random.Random(seed)
    documents = [
        Document(f"d{k}", "words", " ".join(rng.choices(WORDS, k=rng.randint(150, 220))))
        for k in range(80)
    ]
    return make_corpus("made up", documents, {"words": 1})


def readings_of(
    checkpoint: Checkpoint, engine: Any, corpus: Corpus, folder: Path, plan: SurveyPlan = PLAN
) -> TextReadings:
    """Take a survey into a cache of its own."""
    store = Store(folder)
    survey = take_survey(lambda: engine, checkpoint, corpus, plan, store, lambda _: None)
    return TextReadings(checkpoint, lambda: engine, corpus, plan, lambda: survey, store)


@pytest.fixture(scope="session")
def checkpoint() -> Checkpoint:
    return made_checkpoint()


@pytest.fixture(scope="session")
def engine(checkpoint: Checkpoint) -> Engine:
    return Engine(checkpoint)


@pytest.fixture(scope="session")
def corpus() -> Corpus:
    return made_corpus()


@pytest.fixture(scope="session")
def text(
    checkpoint: Checkpoint,
    engine: Engine,
    corpus: Corpus,
    tmp_path_factory: pytest.TempPathFactory,
) -> TextReadings:
    return readings_of(checkpoint, engine, corpus, tmp_path_factory.mktemp("cache"))


@pytest.fixture
def apart_from(text: TextReadings, tmp_path: Path) -> TextReadings:
    """The same readings with an empty cache for what is derived from them."""
    return TextReadings(
        text.checkpoint,
        text.engine,
        text.corpus,
        text.plan,
        lambda: text.survey,
        Store(tmp_path / "derived"),
    )


@pytest.fixture(scope="session")
def naive(checkpoint: Checkpoint, corpus: Corpus) -> Callable[[str, str], dict[str, Any]]:
    """Read an example with one plain forward pass of its own passage, from its id alone."""
    passes: dict[tuple[str, str], dict[str, Any]] = {}
    texts = {document.id: document.text for document in corpus.documents}

    def forward(passage: str, split: str) -> dict[str, Any]:
        document, start = passage.rsplit("@", 1)
        length = SMALL.fit_tokens if split == "fit" else SMALL.judge_tokens
        words = checkpoint.tokenizer.tokenize(texts[document][int(start) :])[:length]
        tokens = [0, *checkpoint.tokenizer.convert_tokens_to_ids(words)]
        last: list[torch.Tensor] = []
        norm = checkpoint.model.model.norm
        hook = norm.register_forward_pre_hook(lambda _, given: last.append(given[0]))
        with torch.no_grad():
            out = checkpoint.model(torch.tensor([tokens]), output_hidden_states=True)
        hook.remove()
        # transformers hands out the last block's output after the final norm only.
        blocks = [*out.hidden_states[:-1], last[0]]
        return {
            "document": document,
            "tokens": tokens,
            "embedding": blocks[0][0].numpy(),
            "blocks": [block[0].numpy() for block in blocks[1:]],
            "final": out.hidden_states[-1][0].numpy(),
            "said": out.logits[0].argmax(-1).numpy(),
        }

    def read(example: str, split: str) -> dict[str, Any]:
        passage, position = example.rsplit("+", 1)
        if (passage, split) not in passes:
            passes[passage, split] = forward(passage, split)
        return {**passes[passage, split], "at": int(position) + 1}

    return read


@pytest.fixture(scope="session")
def surprisals(checkpoint: Checkpoint) -> Callable[[np.ndarray], np.ndarray]:
    """Minus log-probabilities of all tokens under a plain final norm and unembedding."""

    def read(states: np.ndarray, normed: bool = False) -> np.ndarray:
        model = checkpoint.model
        with torch.no_grad():
            given = torch.from_numpy(np.array(states))
            logits = model.lm_head(given if normed else model.model.norm(given))
        wide = logits.numpy().astype(np.float64)
        wide -= wide.max(-1, keepdims=True)
        return np.log(np.exp(wide).sum(-1, keepdims=True)) - wide

    return read
