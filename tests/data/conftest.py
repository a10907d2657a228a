"""Small wheels with one document or more of every kind, and the domains that read them."""

from __future__ import annotations

import bz2
import gzip
import hashlib
import json
import random
import zipfile
from collections.abc import Mapping
from pathlib import Path

import pytest

from stillwired.data.sources import Domain
from stillwired.store.wheels import WheelPin

FILLER = "It is described in many old books, and it has been studied for a very long time."


def sentence(rng: random.Random) -> str:
    words = ["".join(rng.choices("abcdefghijklmnop", k=6)) for _ in range(9)]
    return " ".join(words).capitalize() + "."


def sentences(seed: int, count: int = 12) -> str:
    rng = random.Random(seed)
    return " ".join(sentence(rng) for _ in range(count))


def page(title: str, text: str, ns: int = 0) -> str:
    return (
        f"<page><title>{title}</title><ns>{ns}</ns><revision>"
        f'<text xml:space="preserve">{text}</text></revision></page>'
    )


def members() -> dict[str, dict[str, bytes]]:
    """Return the members of a made-up wheel, by reader."""
    dump = "<mediawiki>" + "".join(
        [
            page("Tea &amp; milk", f"&lt;!-- x --&gt;'''Tea''' {sentences(1)}"),
            page("Old name", "#REDIRECT [[Tea]]"),
            page("Tea (disambiguation)", sentences(2)),
            page("Talk:Tea", sentences(3), ns=1),
            page("Stub", "Short."),
        ]
    )
    leads = {
        "Hat": {"extract": f"A hat ( ) is worn. {sentences(4)}\n{sentences(5)}"},
        "Field": {"extract": f"A field  of the field. {sentences(6)}"},
        "Silicate": {"extract": f"With 0 < x < 2. {sentences(7)}"},
    }
    service = {
        "documentation": f"<p>Stores <i>things</i>. {sentences(8, 3)}</p><p>{FILLER}</p>",
        "operations": {
            "Get": {"documentation": f"<p>Gets a thing. {sentences(9, 3)}</p><p>{FILLER}</p>"},
            "Put": {},
        },
    }
    other = {"documentation": f"<p>{FILLER}</p><p>{sentences(10, 4)}</p>", "operations": {}}
    return {
        "articles": {"pkg/dump.bz2": bz2.compress(dump.encode())},
        "leads": {"pkg/leads.json": json.dumps(leads).encode()},
        "lines": {"pkg/news.cor": f"{sentences(11)}\nToo short.\n{sentences(12)}\n".encode()},
        "quotations": {
            "pkg/fortunes": "\n%\n".join(
                [
                    sentences(13, 2) + "\n\t\t-- Someone",
                    "++++/\\++++" * 20,
                    f"{sentences(14, 2)}\n__\b\b__",
                    "left     right\n" * 12,
                    "Tiny.",
                ]
            ).encode()
        },
        "service_models": {
            "pkg/data/alpha/2020-01-01/service-2.json.gz": gzip.compress(
                json.dumps(service).encode(), mtime=0
            ),
            "pkg/data/beta/2021-01-01/service-2.json.gz": gzip.compress(
                json.dumps(other).encode(), mtime=0
            ),
        },
        "modules": {
            "pkg/core/a.py": ("x = 1\n" * 3000).encode(),
            "pkg/core/b.py": f"def f():\n\treturn '{sentences(15)}'\n".encode(),
            "pkg/core/c.py": ("z = 3\n" * 3000).encode(),
            "pkg/sets/a.py": f"'''{sentences(16)}'''\n".encode(),
        },
    }


def wheel(path: Path, content: dict[str, bytes]) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in content.items():
            archive.writestr(name, data)
    return path


def made_up_domains(folder: Path) -> tuple[dict[str, Path], tuple[Domain, ...]]:
    """Write a wheel for every reader; return the wheels by file name, and the domains."""
    wheels: dict[str, Path] = {}
    made = []
    for number, (reader, content) in enumerate(members().items(), 1):
        filename = f"{reader}-1-py3-none-any.whl"
        path = wheels[filename] = wheel(folder / filename, content)
        pin = WheelPin(reader, "1", hashlib.sha256(path.read_bytes()).hexdigest(), filename)
        made.append(
            Domain(
                label=f"{reader.replace('_', '-')}-domain",
                wheel=pin,
                members={name: hashlib.sha256(data).hexdigest() for name, data in content.items()},
                reader=reader,
                unit="piece",
                weight=number / 21,
                title=f"Title of {reader}",
                licence=f"Licence of {reader}",
                credit=f"Credit of {reader}",
                changes="Changed",
            )
        )
    return wheels, tuple(made)


@pytest.fixture(scope="session")
def filler() -> str:
    """A sentence that both made-up services have."""
    return FILLER


@pytest.fixture
def made_up_sources(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Mapping[str, Domain]:
    """Replace the pinned packages by made-up ones; returns their domains by reader."""
    folder = tmp_path / "wheels"
    folder.mkdir()
    wheels, domains = made_up_domains(folder)
    monkeypatch.setattr(
        "stillwired.data.sources.fetch_wheel", lambda _store, pin, _say: wheels[pin.filename]
    )
    monkeypatch.setattr("stillwired.data.corpus.domains", lambda: domains)
    return {domain.reader: domain for domain in domains}
