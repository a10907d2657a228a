from __future__ import annotations

from stillwired.data.credits import credits_text
from stillwired.data.sources import domains


def test_every_source_is_named_with_licence_credit_and_digest() -> None:
    text = credits_text()
    flat = " ".join(text.split())
    for domain in domains():
        assert domain.label in flat
        assert domain.licence in flat
        assert domain.credit in flat
        assert domain.wheel.sha256 in flat
        assert f"{domain.wheel.name} {domain.wheel.version}" in flat


def test_it_fits_a_terminal() -> None:
    assert max(map(len, credits_text().splitlines())) <= 100
