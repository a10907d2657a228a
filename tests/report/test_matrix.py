"""The matrix on a page: a letter for each verdict, a number for each mutant, and what survived."""

from __future__ import annotations

from pathlib import Path

import pytest

from stillwired.judge import Word
from stillwired.mutants.catalogue import MUTANTS, mutant_named
from stillwired.records.matrix import Matrix, Row
from stillwired.records.survivors import Decision, Survivors, decide
from stillwired.report.matrix import LETTERS, matrix_lines
from stillwired.report.summary import Page

OWN = mutant_named("the same target whatever N")
OTHER = mutant_named("patches forgotten")
HARMLESS = mutant_named("rounded to 8 bits")
THREE = (OWN, OTHER, HARMLESS)


def row(claim, sound, *words, killed_by=(), mutants=THREE, params=None):
    damaged = {m: Word(w) for m, w in zip(mutants, words, strict=True) if w}
    return Row(f"p/{claim}", params or {"ahead": 1}, OWN.name, Word(sound), damaged, killed_by)


def matrix(*rows, mutants=THREE, noticed=(OWN,)):
    return Matrix(
        Path("/r/record-m.json"), "m", "ab", "mutants", 0, mutants, rows, frozenset(noticed)
    )


def plain(lines):
    return ["".join(span.text for span in line).rstrip() for line in lines]


def shown(found, page=Page(120), survivors=None, written=None):  # noqa: B008
    lines = plain(matrix_lines(found, decide(found, survivors), page, survivors, written))
    return lines[1:] if page.quiet < 2 else lines


def test_a_letter_stands_under_the_number_of_its_mutant():
    found = matrix(
        row("a", "HOLDS", "FAILS", "", "HOLDS", killed_by=(OWN,)),
        row("longer", "INCONCLUSIVE", "BROKEN", "NOT APPLICABLE", "INCONCLUSIVE"),
    )
    lines = shown(found)
    assert lines[0] == "m under 3 mutants  mutants  seed 0"
    assert lines[2:5] == [
        "claim     where  0  123",
        "p/a       N=1    H  F·H",
        "p/longer  N=1    I  BNI",
    ]
    assert "H holds   F fails   I inconclusive" in lines[6]
    assert lines[7:11] == [
        "  0  undamaged",
        f"  1  {OWN.name} (instrument)",
        f"  2  {OTHER.name} (instrument)",
        f"  3  {HARMLESS.name} (checkpoint, meant to be harmless)",
    ]


def test_every_word_has_a_letter_of_its_own():
    assert set(LETTERS) == {str(word) for word in Word}
    assert len(set(LETTERS.values())) == len(LETTERS)


@pytest.mark.parametrize("width", [60, 100, 160])
def test_columns_that_do_not_fit_go_on_beneath(width):
    words = ["FAILS" if k % 3 else "HOLDS" for k in range(len(MUTANTS))]
    found = matrix(row("a", "HOLDS", *words, mutants=MUTANTS), mutants=MUTANTS, noticed=MUTANTS)
    lines = shown(found, Page(width))
    letters = "".join(line.split("  ")[-1] for line in lines if line.startswith("p/a "))
    assert letters.replace(" ", "") == "".join(word[0] for word in words)
    head = [line for line in lines if line.startswith("claim ")]
    digits = "".join(line.split("  ")[-1] for line in head).replace(" ", "")
    assert digits == "".join(str(k % 10) for k in range(1, len(MUTANTS) + 1))
    # Every block of columns shows the undamaged verdict again.
    assert len([line for line in lines if line.startswith("p/a ") and "  H  " in line]) == len(head)
    table = lines[: lines.index("  0  undamaged") - 2]
    assert max(map(len, table)) <= width


def test_tens_stand_above_the_numbers_that_end_in_zero():
    mutants = MUTANTS[:24]
    found = matrix(row("a", "HOLDS", *["HOLDS"] * 24, mutants=mutants), mutants=mutants)
    tens, units = shown(found)[2:4]
    assert [units[k] for k, digit in enumerate(tens) if digit.strip()] == ["0", "0"]
    assert tens.split() == ["1", "2"]


def test_lists_name_what_survived_and_what_it_came_out_as():
    found = matrix(
        row("a", "HOLDS", "HOLDS", "HOLDS", "FAILS"), row("b", "HOLDS", "FAILS", "", "HOLDS")
    )
    lines = shown(found)
    start = lines.index("claims that their own mutant left standing: 2")
    assert lines[start + 1] == f"  p/a: HOLDS, damaged HOLDS ({OWN.name})"
    assert "damaged instruments that nobody noticed: 1" in lines
    assert any(line.startswith(f"  {OTHER.name}: no cell") for line in lines)
    assert "harmless mutants that cost a HOLDS: 1" in lines
    assert f"  {HARMLESS.name}: p/a[ahead=1]: FAILS" in lines
    assert lines[-1].startswith("0 of 2 claims fail under their own mutant   1 of 2 damaged")


def test_known_survivors_stand_with_their_reason_and_others_in_red():
    found = matrix(row("a", "HOLDS", "HOLDS", "", ""), row("b", "HOLDS", "HOLDS", "", ""))
    known = Survivors(Path("s.json"), "m", "mutants", {"p/a": "It is small."}, {OTHER.name: "Hm."})
    lines = matrix_lines(found, decide(found, known), Page(160), known)
    styles = {span.text.split(":")[0].strip(): span.style for line in lines for span in line}
    assert styles["p/a"] == styles[OTHER.name] == "light"
    assert styles["p/b"] == "red"
    assert any("known: It is small." in text for text in plain(lines))


def test_nothing_survives_quietly():
    found = matrix(row("a", "HOLDS", "FAILS", "FAILS", "HOLDS", killed_by=(OWN,)), noticed=THREE)
    lines = shown(found, written=Path("/r/matrix-m.json"))
    assert sum(line.endswith(": none") for line in lines) == 3
    assert lines[-1] == (
        "1 of 1 claims fail under their own mutant   2 of 2 damaged instruments were noticed   "
        "matrix: /r/matrix-m.json"
    )
    (head, last) = shown(found, Page(160, quiet=2))
    assert head.startswith("m under")
    assert last.startswith("1 of 1")


def test_what_is_listed_and_fell_is_told():
    found = matrix(row("a", "HOLDS", "FAILS", "FAILS", "HOLDS", killed_by=(OWN,)), noticed=THREE)
    decision = Decision(False, ("p/a is listed as a survivor and is none any more",))
    last = matrix_lines(found, decision, Page(120))[-1]
    assert last[0].style == "red"
    assert last[0].text.startswith("p/a is listed")


def test_the_letter_of_a_claims_own_mutant_stands_out():
    lines = matrix_lines(matrix(row("a", "HOLDS", "FAILS", "FAILS", "")), Decision(True), Page(120))
    (line,) = [line for line in lines if line and line[0].text.startswith("p/a ")]
    letters = [span for span in line[1:] if span.text.strip()]
    assert [span.style for span in letters] == ["green", "red bold", "red", "light"]


def test_a_plain_terminal_gets_plain_letters():
    lines = shown(matrix(row("a", "HOLDS", "FAILS", "", "HOLDS")), Page(120, ascii_only=True))
    assert "".join(lines).isascii()
    assert "p/a    N=1    H  F.H" in lines
