"""Every layer at every token of one text, read aloud: the Future Lens table, and the logit lens.

Pal, Sun, Yuan, Wallace and Bau (2023), "Future Lens", close with a tool: the state after each
block at each token is put behind one learned prompt (`stillwired.instruments.prompt_readers`),
and the model goes on from there by itself. The first token is what it is about to say (N = 0),
the next ones are what the state foresees; each is the likeliest and is fed back. As in the
paper's tool, one prompt serves all layers: the one that was trained for N = 1 at a middle depth.

Unlike in the claims, which feed the text's own tokens, an error at one N carries on to the next
ones here. At the last block a state reaches no later position: what is said there for N ≥ 1
follows from the token for N = 0 alone.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from stillwired.checkpoints.checkpoint import Checkpoint
from stillwired.data.corpus import load_corpus
from stillwired.engine.cone import Cone
from stillwired.engine.edits import Edit
from stillwired.engine.engine import Engine
from stillwired.engine.sites import embedding, final, residual
from stillwired.instruments.lens_prompt import prompt_for_lens
from stillwired.instruments.lens_task import Task, layers_of, tokens_of
from stillwired.instruments.prompt_readers import LIKELIEST, ROWS, Prompt, Spoken
from stillwired.instruments.survey import Say
from stillwired.instruments.telling import shares
from stillwired.store.cache import Store

Words = Callable[[int], str]


@dataclass(frozen=True, eq=False)
class Grid:
    """What each layer says at each token of a text.

    Attributes:
        kind: ``future``: the last axis is N, one token for each. ``logit``: the last axis holds
            the likeliest tokens for N = 0, falling.
        layers: Block numbers, from the first to the last that was read.
        tokens: The text's tokens as strings.
        words: Tokens as strings, object array [layers, tokens, shown].
        probabilities: Of those tokens, [layers, tokens, shown].
    """

    kind: Literal["future", "logit"]
    layers: tuple[int, ...]
    tokens: tuple[str, ...]
    words: NDArray[np.object_]
    probabilities: NDArray[np.float32]

    @property
    def confidence(self) -> NDArray[np.float32]:
        """What shades a cell, [layers, tokens].

        The mean probability over N, as in the paper's tool; of the logit lens, whose tokens are
        rivals, that of the likeliest one.
        """
        if self.kind == "logit":
            return self.probabilities[..., 0]
        mean: NDArray[np.float32] = self.probabilities.mean(axis=-1)
        return mean


def read_lens(checkpoint: Checkpoint, task: Task, store: Store, say: Say) -> tuple[Grid, str]:
    """Do what is asked, training a prompt if none is kept.

    Returns:
        The grid, and in words what it was read with.

    Raises:
        UsageError: As `tokens_of`, `layers_of` and `prompt_for_lens`.
        EngineError: As `future_grid` and `learned_prompt`.
    """
    blocks = checkpoint.prepared.layers
    layers = layers_of(task.layers, blocks)
    say(f"loading {checkpoint.name}")
    tokens, words = tokens_of(checkpoint, task.text), namer(checkpoint)
    first = len(checkpoint.prefix)
    engine = Engine(checkpoint)
    if task.logit:
        grid = logit_grid(engine, tokens, layers, words, first)
        return grid, "the final norm and the unembedding, straight from each layer"
    corpus = load_corpus(store, say=say)
    learned = prompt_for_lens(checkpoint, engine, corpus, store, task, say=say)
    grid = future_grid(Cone(engine), learned.prompt, tokens, layers, task.ahead, words, first, say)
    block, losses = learned.about["block"], learned.about["choose_losses"]
    return grid, (
        f"one prompt of {len(learned.vectors)} learned vectors, trained for N = 1 at layer {block} "
        f"(relative depth {block / (blocks - 1):.2f}) on the {task.profile.name} survey of the "
        f"{corpus.name}, seed {task.seed}: divergence on held-out text {min(losses):.2f} nats, "
        f"{losses[0]:.2f} untrained"
    )


def future_grid(
    cone: Cone,
    prompt: Prompt,
    tokens: Sequence[int],
    layers: Sequence[int],
    ahead: int,
    words: Words,
    first: int = 0,
    say: Say = lambda _: None,
) -> Grid:
    """Read all states of a text with one prompt, free-running.

    All states come from one pass; then one sweep for each N, over all (layer, token) at once,
    feeds what the earlier sweeps said. Memory is the states, layers x tokens x width, and one
    pack of the cone; logits are made a few rows at a time.

    Args:
        cone: What runs the sweeps.
        prompt: Its last position receives the states.
        tokens: The text's token ids, with those that the tokenizer puts before a text.
        layers: Blocks that are read.
        ahead: The largest N.
        words: Names a token.
        first: Tokens before this one are read by the model and not shown.
        say: Told about progress.

    Raises:
        EngineError: As `Cone.plan` and `Plan.run`.
        MismatchError: As `Plan.run`.
    """
    engine, shown = cone.engine, len(tokens) - first
    states = _states(engine, tokens, layers, first)
    spoken = Spoken.empty(len(layers) * shown, ahead + 1, engine.anatomy.vocabulary)
    for step in range(ahead + 1):
        length = len(prompt.tokens) + step
        prompts = [(*prompt.tokens, *fed) for fed in spoken.tokens[:, :step].tolist()]
        edits = [
            Edit(embedding(place - length), "replace", vector)
            for place, vector in enumerate(prompt.vectors if prompt.vectors is not None else ())
        ]
        edits += [
            Edit(
                residual(layer, -step - 1),
                "replace",
                here,
                rows=range(index * shown, (index + 1) * shown),
            )
            for index, (layer, here) in enumerate(zip(layers, states, strict=True))
        ]
        plan = cone.plan(prompts, edits, [final(-1)])
        about = f"reading N = {step} of {len(prompts):,} states"
        runs = plan.run(progress=shares(say, about, 5))
        while (reading := next(runs, None)) is not None:
            rows = np.array(reading.rows, dtype=np.int64)
            spoken.hear(engine, rows, step, reading[final(-1)], None)
            # The next pack is computed before the name is bound again.
            del reading
    shape = (len(layers), shown, ahead + 1)
    return _grid(
        "future",
        layers,
        tokens[first:],
        spoken.tokens.reshape(shape),
        spoken.probabilities.reshape(shape),
        words,
    )


def logit_grid(
    engine: Engine, tokens: Sequence[int], layers: Sequence[int], words: Words, first: int = 0
) -> Grid:
    """Read all states of a text through the final norm and the unembedding.

    nostalgebraist (2020), "interpreting GPT: the logit lens". Arguments as for `future_grid`.

    Raises:
        EngineError: As `Engine.read`.
    """
    states = _states(engine, tokens, layers, first)
    likeliest, probabilities = [], []
    kept = min(LIKELIEST, engine.anatomy.vocabulary)
    for part in torch.split(states.flatten(0, 1), ROWS):
        scores = engine.unembed(engine.final_norm(part)).float().softmax(-1)
        best, ids = scores.topk(kept, -1)
        likeliest.append(ids.cpu().numpy())
        probabilities.append(best.cpu().numpy())
    shape = (len(layers), len(tokens) - first, kept)
    return _grid(
        "logit",
        layers,
        tokens[first:],
        np.concatenate(likeliest).reshape(shape),
        np.concatenate(probabilities).reshape(shape),
        words,
    )


def namer(checkpoint: Checkpoint) -> Words:
    """Return what names a token of a checkpoint by the text that it stands for.

    A tokenizer may drop the space of a token that comes first, so that each is decoded behind
    another one. Bytes that make no character by themselves are written as ``<0xE2>``.
    """
    tokenizer = checkpoint.tokenizer
    anchor = checkpoint.encode(["a"])[0]
    known: dict[int, str] = {}

    def decoded(ids: list[int]) -> str:
        return str(
            tokenizer.decode(ids, skip_special_tokens=False, clean_up_tokenization_spaces=False)
        )

    start = decoded(anchor)
    rows = len(tokenizer)

    def name(token: int) -> str:
        if token not in known:
            # Embeddings are padded to round numbers: such rows have no token.
            piece = tokenizer.convert_ids_to_tokens(token) if token < rows else None
            text = decoded([*anchor, token]) if piece is not None else ""
            text = text[len(start) :] if text.startswith(start) else decoded([token])
            if "\ufffd" in text and piece is not None:
                text = _bytes_of(piece) or text
            known[token] = text or piece or f"<token {token}>"
        return known[token]

    return name


def _states(engine: Engine, tokens: Sequence[int], layers: Sequence[int], first: int) -> Tensor:
    """Read the blocks' outputs in one pass, [layers, tokens, width]."""
    (reading,) = engine.read([list(tokens)], [residual(layer) for layer in layers])
    return torch.stack([reading[residual(layer)][0, first:].float() for layer in layers])


def _grid(
    kind: Literal["future", "logit"],
    layers: Sequence[int],
    tokens: Sequence[int],
    ids: NDArray[np.int64],
    probabilities: NDArray[np.float32],
    words: Words,
) -> Grid:
    # Objects: numpy's own strings lose the NULs at their end.
    named = np.empty(ids.size, dtype=object)
    named[:] = [words(token) for token in ids.reshape(-1).tolist()]
    shown = tuple(words(token) for token in tokens)
    return Grid(kind, tuple(layers), shown, named.reshape(ids.shape), probabilities)


def _bytes_of(piece: str) -> str:
    """Write the bytes of a piece of a byte-level vocabulary; nothing if it is none."""
    if piece.startswith("<0x"):
        return piece
    table = _byte_signs()
    if not set(piece) <= set(table):
        return ""
    values = (table[sign] for sign in piece)
    return "".join(chr(v) if 0x20 <= v < 0x7F else f"<0x{v:02X}>" for v in values)


def _byte_signs() -> dict[str, int]:
    """The signs that byte-level vocabularies of GPT-2's kind write bytes with."""
    printable = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    others = [byte for byte in range(256) if byte not in printable]
    signs = {chr(byte): byte for byte in printable}
    return signs | {chr(256 + k): byte for k, byte in enumerate(others)}
