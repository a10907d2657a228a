from __future__ import annotations

import re
import tomllib
from collections import Counter
from itertools import chain
from pathlib import Path

from stillwired.data.names import KINDS, NamedText, load_names

ROOT = Path(__file__).parents[2]
SHARED_WORDS = 8


def holds_word(text: str, word: str) -> bool:
    pattern = rf"(?<!\w){re.escape(word)}(?!\w)"
    return re.search(pattern, text, re.IGNORECASE) is not None


def runs(named: NamedText) -> set[tuple[str, ...]]:
    """All runs of eight words of a text."""
    words = re.findall(r"[\w'-]+", named.text.lower())
    starts = range(len(words) - SHARED_WORDS + 1)
    return {tuple(words[start : start + SHARED_WORDS]) for start in starts}


def test_there_are_many_names_and_each_comes_once() -> None:
    names = [named.name.lower() for named in load_names()]
    assert len(names) >= 150
    assert len(set(names)) == len(names)


def test_every_kind_is_well_represented() -> None:
    kinds = Counter(named.kind for named in load_names())
    assert set(kinds) == set(KINDS)
    assert min(kinds.values()) >= 20


def test_no_two_texts_share_a_run_of_words() -> None:
    holders = Counter(chain.from_iterable(runs(named) for named in load_names()))
    assert [run for run, count in holders.items() if count > 1] == []


def test_the_text_is_the_name_between_its_two_sides() -> None:
    named = NamedText("Lake Titicaca", "place", "We crossed", ", slowly.")
    assert named.text == "We crossed Lake Titicaca, slowly."


def test_the_list_is_shipped_with_the_package() -> None:
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    shipped = settings["tool"]["setuptools"]["package-data"]["stillwired"]
    assert "**/*.jsonl" in shipped


def test_the_text_before_is_long_enough_to_read_every_position_of_the_name() -> None:
    assert [named.name for named in load_names() if len(named.before.split()) < 35] == []


def test_the_text_before_gives_neither_the_name_nor_its_last_word_away() -> None:
    given_away = [
        named.name
        for named in load_names()
        if named.name.lower() in named.before.lower()
        or holds_word(named.before, named.name.split()[-1])
    ]
    assert given_away == []


def test_the_text_goes_on_after_the_name_and_ends_its_sentence() -> None:
    for named in load_names():
        assert named.before == named.before.strip(), named.name
        assert re.match(r"[ ,;:.!?]", named.after), named.name
        assert named.after.endswith("."), named.name
        assert 4 <= len(named.after.split()) <= 10, named.name


def test_only_the_name_itself_needs_more_than_ascii() -> None:
    for named in load_names():
        assert (named.before + named.after).isascii(), named.name
        assert all(letter.isascii() or letter.isalpha() for letter in named.name), named.name
