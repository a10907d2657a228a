"""One pass over the text that feeds every reader of it.

The Future Lens readers and the logit lens ask for overlapping sites of the same passages.
The survey asks the engine once for their union and keeps, in the cache, only what is needed
later: states at the declared depths, the final states that maps are fitted to, what the model
itself was about to say, and the sums from which the linear maps of those depths are solved.
States are written to disk as they come, so memory does not grow with the amount of text.

Population (Future Lens, section 3 and appendix, restated): a position ``t`` has at least 32
tokens before it and 4 after it. ``N`` counts ahead: the target of ``N`` is the model's own
argmax at position ``t + N`` of the source text, so ``N = 0`` is the token that it is about
to say.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import torch
from numpy.typing import NDArray

from stillwired.checkpoints.checkpoint import Checkpoint
from stillwired.data.corpus import Corpus
from stillwired.data.passages import Passage, draw_passages, positions
from stillwired.data.splits import SPLITS
from stillwired.engine.engine import Engine
from stillwired.engine.reading import Reading
from stillwired.engine.sites import Site, embedding, final, residual
from stillwired.errors import UsageError
from stillwired.instruments.depths import Depth, even_blocks, resolve_depth, resolve_depths
from stillwired.instruments.moments import Moments
from stillwired.profiles import Profile
from stillwired.store.cache import Store
from stillwired.store.code import code_digest

AHEAD = (0, 1, 2, 3)
FIRST_POSITION = 32
FURTHEST = max(AHEAD)
ALWAYS = (0.1, 0.5, 0.9, 1.0)
"""Depths that stand for the first, the middle and the late blocks, and the last block."""
EMBEDDING = -1
"""Stands for the input of the first block where a block number is expected."""
LENS_BANDS = 6
LENS_EARLY = 0.15
BATCH_TOKENS = {True: 1024, False: 16_384}
"""Tokens in a batch, on a CPU (where the states should stay in its cache) and elsewhere."""
LENS_BLOCKS_PER_BAND = 2

Say = Callable[[str], None]


@dataclass(frozen=True)
class SurveyPlan:
    """What a survey reads. Two equal plans on equal data read the same positions.

    Attributes:
        profile: Sizes.
        depths: Declared depths, as asked (float: relative, int: block). Those that stand for
            the first, the middle, the late and the last blocks are read in any case, since
            claims compare them.
        seed: The suite's seed.
    """

    profile: Profile
    depths: tuple[float | int, ...]
    seed: int

    def resolved(self, blocks: int) -> tuple[Depth, ...]:
        """Return the depths for a model of some number of blocks."""
        return resolve_depths((*self.depths, *ALWAYS), blocks)

    def key(self) -> dict[str, Any]:
        """Return what the cache has to know of the plan."""
        others = ("name", "depths", "few_states", "names", "trains_more")
        sizes = {k: v for k, v in vars(self.profile).items() if k not in others}
        return {"sizes": sizes, "depths": list(self.depths), "seed": self.seed}


@dataclass(frozen=True)
class Rows:
    """Positions of one split, and what the text and the model say there.

    Attributes:
        examples: Example ids, shape [rows].
        documents: The document of each row: the unit that is resampled, shape [rows].
        fed: Source tokens at ``t … t+3``, shape [rows, 4].
        following: Source tokens at ``t+1 … t+4``, shape [rows, 4].
        targets: The model's own argmax at ``t … t+3``, shape [rows, 4].
    """

    examples: NDArray[np.str_]
    documents: NDArray[np.str_]
    fed: NDArray[np.int64]
    following: NDArray[np.int64]
    targets: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.examples)

    @property
    def next_is_right(self) -> NDArray[np.bool_]:
        """Rows whose next token the model gets right, the paper's stated filter."""
        right: NDArray[np.bool_] = self.targets[:, 0] == self.following[:, 0]
        return right


class Survey:
    """The result of one pass: rows in memory, states on disk until they are asked for."""

    def __init__(self, folder: Path, file: Callable[[str], Path] | None = None) -> None:
        """Open a finished survey.

        Args:
            folder: Where it lies.
            file: Gives a file of it by name, whole and sound; by default it is taken as it is.
        """
        self.folder = folder
        self.file = file or folder.joinpath
        about = json.loads(self.file("survey.json").read_text())
        self.depths = tuple(Depth(**depth) for depth in about["depths"])
        self.lens_blocks: tuple[int, ...] = tuple(about["lens_blocks"])
        self.self_check: list[tuple[str, float, float]] = [tuple(c) for c in about["self_check"]]
        self._rows: dict[str, Rows] = {}

    def rows(self, split: str) -> Rows:
        """Return the rows of ``fit``, ``choose`` or ``judge``."""
        if split not in self._rows:
            with np.load(self.file(f"{split}.rows.npz"), allow_pickle=False) as kept:
                self._rows[split] = Rows(**{name: kept[name] for name in kept.files})
        return self._rows[split]

    def states(self, split: str, block: int) -> NDArray[np.float32]:
        """Return the outputs of a declared block at the rows of a split, [rows, width]."""
        states: NDArray[np.float32] = np.load(self.file(f"{split}.block{block}.npy"), mmap_mode="r")
        return states

    def final_states(self, split: str, ahead: int) -> NDArray[np.float32]:
        """Return the normed final states at ``t + ahead`` (fit and choose), [rows, width]."""
        states: NDArray[np.float32] = np.load(self.file(f"{split}.final{ahead}.npy"), mmap_mode="r")
        return states

    def lens_states(self, block: int) -> NDArray[np.float32]:
        """Return what the logit lens reads: judge rows at a block; -1 is the embedding."""
        states: NDArray[np.float32] = np.load(self.file(f"lens.block{block}.npy"), mmap_mode="r")
        return states

    def moments(self) -> Moments:
        """Return the sums from which the linear maps of the declared depths are solved."""
        return Moments.load(self.file("moments.npz"))


def take_survey(
    engine: Callable[[], Engine],
    checkpoint: Checkpoint,
    corpus: Corpus,
    plan: SurveyPlan,
    store: Store,
    say: Say,
    splits: Sequence[str] = SPLITS,
    cut: int = 1,
) -> Survey:
    """Read the text once, or open what an earlier run has read.

    Args:
        engine: Gives the engine when the cache has no survey; it is not called otherwise.
        checkpoint: What is read.
        corpus: The text.
        plan: Sizes, depths and seed.
        store: The cache.
        say: Told about progress.
        splits: What is read; a survey of fewer splits has nothing of the others.
        cut: Into how many parts each of the usual batches is cut.
    """
    inputs = {"checkpoint": checkpoint.key, "corpus": corpus.digest, "plan": plan.key()}
    if (tuple(splits), cut) != (SPLITS, 1):
        inputs["read"] = {"splits": list(splits), "cut": cut}

    def build(folder: Path) -> None:
        _read_text(engine(), checkpoint, corpus, plan, folder, say, splits, cut)

    code, need = code_digest(__name__), _bytes_needed(checkpoint, plan)

    def file(name: str) -> Path:
        # Hundreds of megabytes, of which a run with everything in the cache reads the rows alone.
        return store.file("survey", inputs, name, build, code=code, need=need)

    return Survey(file("survey.json").parent, file)


def lens_bands(blocks: int) -> tuple[tuple[int, ...], ...]:
    """Blocks that the logit lens reads, by band of equal depth.

    The last block is left out: there the lens is the model itself. Models with too few blocks
    for six bands get a band per block.

    Raises:
        UsageError: If there are fewer than four blocks, too few for a first and a last third.
    """
    if blocks < 4:
        raise UsageError(f"Claims about depth need at least four blocks; this model has {blocks}.")
    return even_blocks(blocks - 1, min(LENS_BANDS, blocks - 1), LENS_BLOCKS_PER_BAND)


def lens_early_block(blocks: int) -> int:
    """The block at relative depth 0.15."""
    return resolve_depth(LENS_EARLY, blocks).block


def _lens_blocks(blocks: int) -> list[int]:
    in_bands = {block for band in lens_bands(blocks) for block in band}
    return sorted({EMBEDDING, lens_early_block(blocks), blocks - 1, *in_bands})


def _bytes_needed(checkpoint: Checkpoint, plan: SurveyPlan) -> int:
    """About how much disk a survey takes."""
    sizes, blocks = plan.profile, checkpoint.prepared.layers
    depths = len(plan.resolved(blocks))
    states = sizes.fit_states * (depths + len(AHEAD)) + sizes.judge_states * depths
    states += sizes.lens_states * len(_lens_blocks(blocks))
    width = checkpoint.prepared.width
    return 4 * width * states + 8 * depths * (len(AHEAD) + 1) * width**2


def _read_text(
    engine: Engine,
    checkpoint: Checkpoint,
    corpus: Corpus,
    plan: SurveyPlan,
    folder: Path,
    say: Say,
    splits: Sequence[str],
    cut: int,
) -> None:
    sizes, blocks = plan.profile, checkpoint.prepared.layers
    depths = plan.resolved(blocks)

    # Drawn before anything is read: a text that is too short for one split is told at once.
    drawn = {split: draw(checkpoint, corpus, plan, split) for split in splits}
    for split, (passages, places) in drawn.items():
        keepers: list[_Keeper] = [
            _Keeper(folder / f"{split}.block{depth.block}.npy", residual(depth.block), places)
            for depth in depths
        ]
        if split != "judge":
            keepers += [
                _Keeper(folder / f"{split}.final{ahead}.npy", final(), places + ahead)
                for ahead in AHEAD
            ]
        if split == "choose":
            keepers.append(
                _Keeper(folder / f"{split}.block{EMBEDDING}.npy", _site(EMBEDDING), places)
            )
        if split == "judge":
            few = places[: -(-sizes.lens_states // places.shape[1])]
            keepers += [
                _Keeper(folder / f"lens.block{block}.npy", _site(block), few)
                for block in _lens_blocks(blocks)
            ]
        spoken = _Spoken(engine, passages, places)
        consumers: list[Any] = [*keepers, spoken]
        moments = None
        if split == "fit":
            first = passages[0].prefix + FIRST_POSITION
            moments = Moments(tuple(depth.block for depth in depths), AHEAD, first)
            consumers.append(moments)
        with contextlib.ExitStack() as files:
            # Whatever happens: a file that stays open keeps its part of the disk, deleted or not.
            for keeper in keepers:
                files.callback(keeper.close)
            engine.stream(
                [passage.tokens for passage in passages],
                consumers,
                batch_tokens=BATCH_TOKENS[checkpoint.regime.device == "cpu"] // cut,
                progress=_progress(say, f"reading {split} text"),
            )
        if moments is not None:
            moments.save(folder / "moments.npz")
        _save_rows(folder / f"{split}.rows.npz", passages, places, spoken.argmax)
    about = {
        "depths": [vars(depth) for depth in depths],
        "lens_blocks": _lens_blocks(blocks),
        "self_check": [list(check) for check in engine.self_check],
    }
    (folder / "survey.json").write_text(json.dumps(about, indent=1))


def _site(block: int) -> Site:
    return embedding() if block == EMBEDDING else residual(block)


def draw(
    checkpoint: Checkpoint, corpus: Corpus, plan: SurveyPlan, split: str
) -> tuple[list[Passage], NDArray[np.int64]]:
    """Draw passages of a split and the positions that are read in each [passages, k].

    A position counts from the passage's first token, special ones included.
    """
    sizes = plan.profile
    length = sizes.fit_tokens if split == "fit" else sizes.judge_tokens
    # The token after the furthest target must exist too: it is what the text says there.
    margin = FURTHEST + 1
    states, each = {
        "fit": (sizes.fit_states, None),
        "choose": (sizes.choose_states, sizes.per_passage),
        "judge": (sizes.judge_states, sizes.per_passage),
    }[split]
    passages = draw_passages(
        corpus,
        split,
        -(-states // (each or length - FIRST_POSITION - margin)),
        length,
        checkpoint.encode,
        checkpoint.prefix,
        seed=plan.seed,
        purpose="future-lens",
    )
    places = positions(passages, each, FIRST_POSITION, margin, seed=plan.seed)
    return passages, np.array(places, dtype=np.int64)


class _Keeper:
    """Writes the values of one site at given positions of each passage to one ``.npy`` file.

    Written, not mapped: a full disk raises where it is written to and kills where it is mapped.
    """

    def __init__(self, path: Path, site: Site, places: NDArray[np.int64]) -> None:
        self.sites = frozenset({site})
        self._path, self._site, self._places = path, site, places
        self._file: BinaryIO | None = None
        self._start = 0

    def take(self, reading: Reading) -> None:
        inside = [k for k, row in enumerate(reading.rows) if row < len(self._places)]
        if not inside:
            return
        rows = [reading.rows[k] for k in inside]
        values = reading[self._site][inside]
        places = torch.as_tensor(self._places[rows], device=values.device)
        picked = torch.take_along_dim(values, places[:, :, None], dim=1).float().cpu().numpy()
        file = self._open(values.shape[-1])
        for row, states in zip(rows, picked, strict=True):
            file.seek(self._start + row * states.nbytes)
            file.write(states.tobytes())

    def close(self) -> None:
        if self._file is not None:
            self._file.close()
            self._file = None

    def _open(self, width: int) -> BinaryIO:
        if self._file is None:
            self._file = self._path.open("wb")
            header = {"descr": "<f4", "fortran_order": False, "shape": (self._places.size, width)}
            np.lib.format.write_array_header_1_0(self._file, header)
            self._start = self._file.tell()
        return self._file


class _Spoken:
    """What the model is about to say wherever a row asks for it."""

    def __init__(
        self, engine: Engine, passages: Sequence[Passage], places: NDArray[np.int64]
    ) -> None:
        self.sites = frozenset({final()})
        self._engine = engine
        self.argmax = np.zeros((len(passages), len(passages[0].tokens)), dtype=np.int64)
        # A vocabulary of logits costs about as much as a third of the blocks of a small model.
        self._asked = np.zeros(self.argmax.shape, dtype=bool)
        self._asked[np.arange(len(passages))[:, None, None], places[:, :, None] + AHEAD] = True

    def take(self, reading: Reading) -> None:
        rows, positions = np.nonzero(self._asked[reading.rows])
        states = reading[final()]
        asked = states[torch.from_numpy(rows), torch.from_numpy(positions)]
        parts = torch.split(asked, 1024)
        spoken = torch.cat([self._engine.unembed(part).argmax(-1) for part in parts])
        self.argmax[np.asarray(reading.rows)[rows], positions] = spoken.cpu().numpy()


def _save_rows(
    path: Path, passages: Sequence[Passage], places: NDArray[np.int64], argmax: NDArray[np.int64]
) -> None:
    tokens = np.array([passage.tokens for passage in passages], dtype=np.int64)
    each = places.shape[1]
    window = places[:, :, None] + np.array(AHEAD)
    passage = np.arange(len(passages))[:, None, None]
    np.savez(
        path,
        examples=np.array(
            [f"{p.id}+{t - p.prefix}" for p, ts in zip(passages, places, strict=True) for t in ts]
        ),
        documents=np.repeat([p.document for p in passages], each),
        fed=tokens[passage, window].reshape(-1, len(AHEAD)),
        following=tokens[passage, window + 1].reshape(-1, len(AHEAD)),
        targets=argmax[passage, window].reshape(-1, len(AHEAD)),
    )


def _progress(say: Say, what: str) -> Callable[[int, int], None]:
    """Report every tenth of the work, once."""
    told = -1

    def report(done: int, total: int) -> None:
        nonlocal told
        tenth = 10 * done // max(total, 1)
        if tenth > told:
            told = tenth
            say(f"{what}: {done:,} of {total:,} tokens")

    return report
