"""Passages and positions: drawn from the corpus without knowing the checkpoint.

Two checkpoints must see the same examples, so nothing here looks at a model. Windows of
characters are laid out and ordered by hashes of the seed, the corpus digest and the purpose;
the tokenizer has the last word only, when it cuts a window to the wanted number of tokens.
Hashes instead of a random generator: their order is the same on every machine and version.

Documents are the clusters of every interval, so a draw takes one window of each document
before it takes a second one of any.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import count as count_from
from itertools import islice

from stillwired.data.corpus import Corpus
from stillwired.data.document import Document
from stillwired.errors import CorpusError

Encode = Callable[[list[str]], list[list[int]]]

CHARACTERS_PER_TOKEN = 6
"""Width of a window. English takes 4 to 5 characters a token, code and verse fewer, so nearly
every window holds enough tokens for any vocabulary of the usual size."""

_WORD_START = re.compile(r"(?<=\s)\S")
_LAST_SPACE = re.compile(r"\s+\S*\Z")


@dataclass(frozen=True, slots=True)
class Passage:
    """A run of tokens of one document.

    Attributes:
        id: ``document@start``, the start in characters; the same for every checkpoint.
        document: Id of the document, the cluster.
        domain: Its domain.
        tokens: Special tokens first, then exactly as many tokens of text as were asked for.
        prefix: How many of the tokens are special ones that the tokenizer puts first.
    """

    id: str
    document: str
    domain: str
    tokens: tuple[int, ...]
    prefix: int


@dataclass(frozen=True, slots=True)
class _Window:
    document: Document
    start: int
    end: int

    @property
    def text(self) -> str:
        return self.document.text[self.start : self.end]


class _Order:
    """An order that depends on the key alone."""

    def __init__(self, *key: object) -> None:
        self._base = hashlib.sha256("\x1f".join(map(str, key)).encode())

    def rank(self, *parts: object) -> int:
        """Return a number of 64 bits for the parts, as good as drawn at random."""
        digest = self._base.copy()
        digest.update("\x1f".join(["", *map(str, parts)]).encode())
        return int.from_bytes(digest.digest()[:8], "big")


def _windows(document: Document, width: int, order: _Order) -> list[_Window]:
    """Lay windows of at most ``width`` characters into a document, none over another.

    A document no longer than that is one window. Windows start and end at word boundaries;
    where the first one starts is drawn from the room that the whole number of them leaves.
    """
    text = document.text
    count = len(text) // width
    if count == 0 or len(text) == width:
        return [_Window(document, 0, len(text))]
    offset = order.rank("offset", document.id) % (len(text) - count * width + 1)
    windows = []
    for left in range(offset, offset + count * width, width):
        right = left + width
        start = left
        if left > 0:
            word = _WORD_START.search(text, left, right)
            if word is None:
                continue
            start = word.start()
        end = right
        if right < len(text) and not text[right].isspace():
            space = _LAST_SPACE.search(text, start, right)
            end = space.start() if space else right
        if end > start:
            windows.append(_Window(document, start, end))
    return windows


def _in_turn(documents: Sequence[Document], width: int, order: _Order) -> Iterator[_Window]:
    """Yield one window of every document in a drawn order, then a second one of each, ..."""
    left: list[list[_Window]] = []
    for document in documents:
        own = _windows(document, width, order)
        own.sort(key=lambda w: order.rank("window", w.document.id, w.start), reverse=True)
        left.append(own)
    for turn in count_from():
        if not left:
            return
        ranked = [(order.rank("turn", turn, own[0].document.id), own) for own in left]
        ranked.sort(key=lambda pair: pair[0])
        for _, own in ranked:
            yield own.pop()
        left = [own for own in left if own]


def domain_sequence(weights: Mapping[str, float], count: int) -> list[str]:
    """Return which domain each of ``count`` passages comes from.

    The domain furthest behind its share is next, so that every beginning of the list holds
    the domains by weight, within about one passage.

    Args:
        weights: Shares; they sum to 1.
        count: Length of the list.
    """
    labels = sorted(weights, key=lambda label: (-weights[label], label))
    given = dict.fromkeys(labels, 0)
    sequence = []
    for number in range(1, count + 1):
        label = max(labels, key=lambda name: weights[name] * number - given[name])
        given[label] += 1
        sequence.append(label)
    return sequence


def _take(
    windows: Iterator[_Window], count: int, length: int, encode: Encode, prefix: Sequence[int]
) -> list[Passage]:
    """Encode windows, cut them and return the first ``count`` that are long enough."""
    passages: list[Passage] = []
    exhausted = False
    while len(passages) < count and not exhausted:
        wanted = count - len(passages)
        batch = list(islice(windows, wanted + wanted // 4 + 8))
        exhausted = not batch
        for window, tokens in zip(batch, encode([w.text for w in batch]), strict=True):
            if len(tokens) >= length and len(passages) < count:
                document = window.document
                passages.append(
                    Passage(
                        id=f"{document.id}@{window.start}",
                        document=document.id,
                        domain=document.domain,
                        tokens=(*prefix, *tokens[:length]),
                        prefix=len(prefix),
                    )
                )
    return passages


def draw_passages(
    corpus: Corpus,
    split: str,
    count: int,
    length: int,
    encode: Encode,
    prefix: Sequence[int],
    *,
    seed: int,
    purpose: str,
) -> list[Passage]:
    """Draw passages of equal length from one split, domains by weight, documents in turn.

    Args:
        corpus: Where from.
        split: ``fit``, ``choose`` or ``judge``.
        count: How many passages.
        length: Tokens of text in each.
        encode: Tokenizer: texts to token ids, without special tokens.
        prefix: Special tokens that the tokenizer puts before a text.
        seed: The suite's seed.
        purpose: What the passages are for; other purposes get other draws.

    Returns:
        ``count`` passages, every beginning of the list mixed by weight.

    Raises:
        CorpusError: If a domain has too little text, with how many passages it does give.
    """
    if count < 1 or length < 1:
        raise CorpusError(
            f"Asked for {count} passages of {length} tokens. Ask for at least one of each."
        )
    order = _Order(seed, corpus.digest, split, purpose)
    sequence = domain_sequence(corpus.weights, count)
    drawn: dict[str, Iterator[Passage]] = {}
    possible = count
    scarce: list[str] = []
    for domain in corpus.weights:
        wanted = sequence.count(domain)
        documents = [d for d in corpus.documents_of(split) if d.domain == domain]
        windows = _in_turn(documents, CHARACTERS_PER_TOKEN * length, order)
        found = _take(windows, wanted, length, encode, prefix)
        if len(found) < wanted:
            possible = min(possible, int(len(found) / corpus.weights[domain]))
            scarce.append(f"{len(found):,} instead of {wanted:,} in the domain {domain!r}")
        drawn[domain] = iter(found)
    if scarce:
        raise CorpusError(
            f"The {split} split of the {corpus.name} gives about {possible:,} passages of "
            f"{length} tokens, but {count:,} are needed ({'; '.join(scarce)}). Add text, or "
            "take a smaller profile."
        )
    return [next(drawn[domain]) for domain in sequence]


def positions(
    passages: Sequence[Passage],
    per_passage: int | None,
    first: int = 32,
    last_margin: int = 3,
    seed: int = 0,
) -> list[tuple[int, ...]]:
    """Draw positions in each passage, without looking at the checkpoint.

    A position has at least ``first`` tokens of text before it and ``last_margin`` after it,
    so that the tokens up to N = ``last_margin`` further on are known.

    Args:
        passages: Where.
        per_passage: How many in each; None for every one that is usable.
        first: Tokens of text before a position.
        last_margin: Tokens after a position.
        seed: The suite's seed.

    Returns:
        For each passage, ascending indices into its ``tokens`` (special tokens counted).

    Raises:
        CorpusError: If a passage is too short for that many.
    """
    drawn = []
    for passage in passages:
        usable = range(passage.prefix + first, len(passage.tokens) - last_margin)
        if len(usable) < max(per_passage or 1, 1):
            raise CorpusError(
                f"A passage of {len(passage.tokens) - passage.prefix} tokens has {len(usable)} "
                f"usable positions, but {per_passage or 1} are needed. Ask for longer passages."
            )
        if per_passage is None:
            drawn.append(tuple(usable))
            continue
        order = _Order(seed, passage.id)
        chosen = sorted(usable, key=lambda at: order.rank(at - passage.prefix))[:per_passage]
        drawn.append(tuple(sorted(chosen)))
    return drawn
