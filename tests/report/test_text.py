from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stillwired.report import text


@pytest.mark.parametrize(
    ("value", "written"),
    [
        (None, "–"),
        (0.1034, "0.103"),
        (-0.0214, "−0.021"),
        (-0.0002, "0.000"),
        (0.0, "0.000"),
        (12.34567, "12.346"),
        (-123.456, "−123.5"),
    ],
)
def test_numbers(value, written):
    assert text.number(value) == written


def test_intervals_have_open_ends_or_are_none():
    assert text.interval(-0.5, 0.25) == "−0.500 … 0.250"
    assert text.interval(0.1, None) == "0.100 … –"
    assert text.interval(None, None) == "–"


@pytest.mark.parametrize(
    ("value", "written"),
    [
        (5760, "5,760"),
        (-5760, "−5,760"),
        (0.25, "0.25"),
        (0.0000025, "2.5e−06"),
        ("states-only", "states-only"),
    ],
)
def test_facts(value, written):
    assert text.fact(value) == written


@pytest.mark.parametrize(
    ("seconds", "written"),
    [
        (0.04, "0.0 s"),
        (9.94, "9.9 s"),
        (9.96, "10 s"),
        (59.4, "59 s"),
        (59.6, "1 min 00 s"),
        (372, "6 min 12 s"),
        (3725, "1 h 02 min"),
    ],
)
def test_durations(seconds, written):
    assert text.duration(seconds) == written


@pytest.mark.parametrize(
    ("params", "written"),
    [
        ({}, "–"),
        ({"ahead": 1}, "N=1"),
        ({"depth": 0.5}, "depth 0.50"),
        ({"depth": 0.125}, "depth 0.125"),
        ({"block": 15}, "block 15"),
        ({"task": "antonym"}, "antonym"),
        ({"shots": 10, "task": "antonym"}, "shots=10, antonym"),
        ({"flag": True}, "flag=true"),
    ],
)
def test_parameters(params, written):
    assert text.where(params) == written


@pytest.mark.parametrize(
    ("published", "written"),
    [
        ("0.201", "0.201"),
        ("0.484 against 0.292 (GPT-J-6B, N=1)", "0.484 against 0.292"),
        ("(no number given)", "(no number given)"),
        ("0.57 in the mean over all pairs", "0.57 in the mean over…"),
    ],
)
def test_published_values(published, written):
    assert text.published(published) == written


def test_sizes_and_counts():
    assert text.size(134_515_008) == "134.5 M"
    assert text.size(6_053_381_344) == "6.1 B"
    assert text.size(1_234) == "1.2 k"
    assert text.size(12) == "12"
    assert text.count(8000) == "8,000"
    assert text.dtype("float32") == "fp32"
    assert text.dtype("int8") == "int8"


def test_paths_can_be_pasted(tmp_path):
    assert text.path(tmp_path / "a" / "b", tmp_path) == str(Path("a", "b"))
    assert text.path(Path("/x/y"), tmp_path) == "/x/y"


@given(st.text(alphabet="−–…×±≤≥’abc 0.5"))
def test_ascii_loses_no_figure(original):
    plain = text.to_ascii(original)
    assert plain.isascii()
    assert "?" not in plain
    assert [sign for sign in plain if sign.isdigit()] == [s for s in original if s.isdigit()]


@given(st.text(alphabet="abc−漢é́"), st.integers(0, 30))
def test_padding_counts_cells_not_signs(original, more):
    width = text.width_of(original) + more
    assert text.width_of(text.pad(original, width)) == width
    assert text.width_of(text.pad(original, width, right=True)) == width
    assert text.pad(original, width).startswith(original)
    assert text.pad(original, width, right=True).endswith(original)


def test_wide_and_combining_signs():
    assert text.width_of("漢字") == 4
    assert text.width_of("e\u0301") == 1


@given(st.lists(st.text("ab", min_size=1, max_size=12), max_size=12), st.integers(12, 60))
def test_folding_keeps_every_chunk_within_the_width(chunks, width):
    lines = text.fold(chunks, width)
    assert " ".join(lines).split() == chunks
    assert all(len(line) <= width for line in lines)


def test_wrapping_never_breaks_a_word():
    lines = text.wrap("needs a-very-long-word/that-does-not-fit-anywhere here", 20, 4)
    assert "    a-very-long-word/that-does-not-fit-anywhere" in lines
    assert all(line.startswith("    ") for line in lines)
    assert text.wrap("", 20, 4) == []
