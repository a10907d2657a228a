from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

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


@pytest.mark.parametrize(
    ("line", "mended"),
    [
        ("A chair ( ) is a seat", "A chair is a seat"),
        ("Cerreto (, also, Italian: x; 9 August)", "Cerreto (also, Italian: x; 9 August)"),
        ("Albedo (; born 1776) and", "Albedo (born 1776) and"),
        ("known as pops . Modern", "known as pops. Modern"),
        ("Call <x> to  \u00a0 it ; then", "Call <x> to it; then"),
        ("parody ... is imitation", "parody ... is imitation"),
        ("one, , two", "one, two"),
        ("soft\u00adhyphen\u200b", "softhyphen"),
        ("keep 3.5 and (a) as is", "keep 3.5 and (a) as is"),
    ],
)
def test_debris_of_removals_is_mended(line: str, mended: str) -> None:
    assert tidy_line(line) == mended


@given(st.text(alphabet="ab (),.;:[]\u00a0\t", max_size=40))
def test_tidied_lines_have_no_double_space_or_empty_brackets(line: str) -> None:
    tidied = tidy_line(line)
    assert "  " not in tidied
    assert tidied == tidied.strip()
    assert "\u00a0" not in tidied
    assert "\t" not in tidied


@pytest.mark.parametrize(
    ("text", "hole"),
    [
        ("an extension field  of the field", True),
        ("has finite degree .\nThus", True),
        ("A whole sentence. And another.", False),
        ("a pause ... and on", False),
    ],
)
def test_holes_are_seen(text: str, hole: bool) -> None:
    assert has_hole(text) is hole


def test_html_keeps_words_and_paragraphs_and_loses_tags_and_entities() -> None:
    markup = (
        "<fullname>Queues</fullname><p>Use <code> <a href='x'>Add</a> </code>, which is\nfast "
        "&amp; safe.</p><ul><li><p>1 &lt; 2</p></li></ul><!-- no -->"
    )
    assert html_paragraphs(markup) == ["Queues", "Use Add, which is fast & safe.", "1 < 2"]


def test_headings_links_and_labels_are_not_prose() -> None:
    sentence = "Deletes the queue, whatever it holds, and all of its messages at once."
    assert is_prose(sentence)
    assert not is_prose("Amazon SQS Product Page")
    assert not is_prose(sentence[:-1])
    assert not is_prose(f"See http://example.org for more. {sentence}")
    assert not is_prose("Averyverylongwordwithoutanyspacesinitwhichisnotprosewhateveritslength.")


def test_quotations_are_unwrapped_but_verse_and_attribution_stay() -> None:
    item = (
        "Look, we trade every day out there with hustlers, deal-makers, shysters,\n"
        "con-men.  That's the way businesses get started.\n\t\t-- Hubert Allen"
    )
    assert quotation(item) == (
        "Look, we trade every day out there with hustlers, deal-makers, shysters, "
        "con-men. That's the way businesses get started.\n-- Hubert Allen"
    )
    verse = "Tyger Tyger, burning bright,\nIn the forests of the night;"
    assert quotation(verse) == verse
    dialogue = f'"{"Is this a very long question that fills a line to its end, sir" * 1}?"\n"No."'
    assert quotation(dialogue) == dialogue


def test_drawings_and_columns_are_told_from_text() -> None:
    assert letters_share("+---+ /\\/\\ | x |") < 0.2 < 0.9 < letters_share("Plain words here.")
    assert letters_share(" \n") == 0.0
    assert has_columns("left      right\nleft      right")
    assert not has_columns("Two spaces.  After a stop.\n      indented\nA dot.  Again.")


def test_code_keeps_its_indentation() -> None:
    code = "def f():\r\n\treturn 1   \r\n\r\n\r\n\r\n\r\n\r\nx = 2\r\n"
    assert source_code(code) == "def f():\n    return 1\n\n\nx = 2"


@given(st.text(alphabet="ab \n", max_size=60), st.integers(1, 40))
def test_a_cut_keeps_whole_lines_and_never_exceeds_its_limit(text: str, limit: int) -> None:
    cut = cut_at_line(text, limit)
    assert len(cut) <= limit
    assert text.startswith(cut)
    if len(text) <= limit:
        assert cut == text


def test_a_cut_falls_at_a_line_end_else_at_a_space() -> None:
    assert cut_at_line("one two\nthree four", 12) == "one two"
    assert cut_at_line("one two three", 9) == "one two"
    assert cut_at_line("onetwothree", 5) == "onetw"
