from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

import pytest

from stillwired.data import sources
from stillwired.data.document import Document
from stillwired.data.sources import Domain, domains, read_domain
from stillwired.errors import CorpusError, FetchError
from stillwired.store.cache import Store

Read = Callable[[str], list[Document]]


@pytest.fixture
def read(made_up_sources: Mapping[str, Domain], tmp_path: Path) -> Read:
    store = Store(tmp_path / "cache")
    return lambda reader: read_domain(store, made_up_sources[reader], lambda _: None)


def test_pins_are_complete_and_weights_sum_to_one() -> None:
    labels = [domain.label for domain in domains()]
    assert len(set(labels)) == len(labels)
    assert sum(domain.weight for domain in domains()) == pytest.approx(1.0, abs=1e-12)
    for domain in domains():
        assert domain.reader in sources.READERS
        digests = [domain.wheel.sha256, *domain.members.values()]
        assert all(len(digest) == 64 and int(digest, 16) for digest in digests)
        assert domain.wheel.filename.endswith(".whl")
        assert f"-{domain.wheel.version}-" in domain.wheel.filename
        assert domain.wheel.size > 0
        for words in (domain.title, domain.licence, domain.credit, domain.changes):
            assert words.strip()
        # A wheel that fits one platform only is asked for by that platform.
        assert ("none-any" in domain.wheel.filename) == (domain.wheel.platform is None)


def test_articles_are_prose_and_redirects_stubs_and_talk_are_left_out(read: Read) -> None:
    (article,) = read("articles")
    assert article.id == "articles-domain/Tea & milk"
    assert article.text.startswith("Tea ")


def test_leads_with_a_hole_are_left_out(read: Read) -> None:
    (lead,) = read("leads")
    assert lead.id == "leads-domain/Hat"
    assert lead.text.startswith("A hat is worn. ")
    assert lead.text.count("\n\n") == 1


def test_each_line_is_an_item(read: Read) -> None:
    assert [d.id for d in read("lines")] == ["lines-domain/0001", "lines-domain/0003"]


def test_drawings_overstrikes_columns_and_tiny_quotations_are_left_out(read: Read) -> None:
    (quotation,) = read("quotations")
    assert quotation.id == "quotations-domain/00001"
    assert quotation.text.endswith("\n-- Someone")


def test_services_lose_tags_and_what_another_one_said(read: Read, filler: str) -> None:
    alpha, beta = read("service_models")
    assert (alpha.id, beta.id) == ("service-models-domain/alpha", "service-models-domain/beta")
    assert alpha.text.startswith("Stores things. ")
    assert "Gets a thing." in alpha.text
    assert alpha.text.count(filler) == 1
    assert filler not in beta.text
    assert "<" not in alpha.text


def test_a_long_service_is_cut_at_a_paragraph(read: Read, monkeypatch: pytest.MonkeyPatch) -> None:
    (whole, _) = read("service_models")
    monkeypatch.setattr(sources, "SERVICE_CHARACTERS", len(whole.text) - 5)
    (cut, _) = read("service_models")
    assert len(cut.text) < len(whole.text) - 5
    assert whole.text.startswith(cut.text + "\n")


def test_modules_of_a_folder_are_one_document_within_limits(read: Read) -> None:
    core, sets = read("modules")
    assert (core.id, sets.id) == ("modules-domain/pkg.core", "modules-domain/pkg.sets")
    assert core.text.count("x = 1") == sources.MODULE_CHARACTERS // len("x = 1\n")
    assert "def f():\n    return" in core.text
    assert 0 < core.text.count("z = 3") < core.text.count("x = 1")
    assert len(core.text) <= sources.PACKAGE_CHARACTERS


def test_a_member_that_is_not_the_pinned_one_is_refused(
    made_up_sources: Mapping[str, Domain], tmp_path: Path
) -> None:
    domain = made_up_sources["lines"]
    altered = replace(domain, members=dict.fromkeys(domain.members, "0" * 64))
    with pytest.raises(FetchError, match=r"news\.cor"):
        read_domain(Store(tmp_path / "cache"), altered, lambda _: None)


def test_two_documents_of_one_name_are_a_fault(read: Read, monkeypatch: pytest.MonkeyPatch) -> None:
    twice = [("same", "x" * 400), ("same", "y" * 400)]
    monkeypatch.setitem(sources.READERS, "lines", lambda _: iter(twice))  # type: ignore[arg-type]
    with pytest.raises(CorpusError, match="lines-domain/same"):
        read("lines")
