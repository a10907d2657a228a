from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stillwired.judge import BesideResult, CheckResult, Claim, Level, Paper, Verdict, Word
from stillwired.records.baseline import Side
from stillwired.records.expected import Expectations, ExpectedCell
from stillwired.report.terminal import (
    STYLES,
    Row,
    beside,
    closing,
    failure,
    message,
    table,
    tally,
    title,
    unexpected,
    versions,
)

CHECKPOINT = {
    "name": "smollm2-135m-instruct",
    "origin": "SmolLM2-135M-Instruct, Q4_1 GGUF dequantised",
    "digest": "1f0c9a3b" * 8,
    "layers": 30,
    "heads": 9,
    "parameters": 134_515_008,
    "regime": {"device": "cpu", "dtype": "float32", "attention": "eager"},
}
CLAIM = Claim(
    id="some-paper/finding",
    version=1,
    says="Something is so.",
    source=Paper("some-paper", "Some Paper", "A. Author", "Venue 2026").at("Table 1"),
    published="0.5 (big model)",
    expects=(Level("arm", at_least=0.1),),
    margin=0.1,
    mutant="shuffled",
).to_json()


def verdict(word=Word.HOLDS, claim="future-lens/bigram-floor", primary=True, **more):
    given = {"estimate": 0.196, "low": 0.184, "high": 0.208, "least": "0.02", "n": 8000}
    given |= {"clusters": 312, "params": {"ahead": 1}} | more
    params = given.pop("params")
    return Verdict(claim, 1, params, primary, word, **given)


def plain(lines):
    return ["".join(span.text for span in line) for line in lines]


ROWS = [
    Row(verdict(least="0.15 … 0.30"), "0.201"),
    Row(verdict(Word.FAILS, "future-lens/linear", False, low=-0.021, high=1.5, estimate=-0.3), "1"),
    Row(
        verdict(
            Word.INCONCLUSIVE,
            "future-lens/mid-layer-peak",
            reason="about 260 documents more would settle it",
        ),
        "0.078",
    ),
    Row(
        verdict(
            Word.NOT_APPLICABLE,
            "function-vectors/transfer",
            estimate=None,
            low=None,
            high=None,
            params={"task": "antonym"},
            reason="0.08 right in context, 0.30 needed",
        ),
        "",
    ),
]


def test_a_wide_table_has_one_aligned_line_per_cell():
    assert plain(table(ROWS, 160)) == [
        "claim                       where      estimate  95 % interval   least        published"
        "  verdict",
        "future-lens/bigram-floor    N=1 *         0.196   0.184 … 0.208  0.15 … 0.30  0.201    "
        "  HOLDS",
        "future-lens/linear          N=1          −0.300  −0.021 … 1.500  0.02         1        "
        "  FAILS",
        "future-lens/mid-layer-peak  N=1 *         0.196   0.184 … 0.208  0.02         0.078    "
        "  INCONCLUSIVE  about 260 documents more would settle it",
        "function-vectors/transfer   antonym *         –  –               0.02                  "
        "  NOT APPLICABLE  0.08 right in context, 0.30 needed",
        "* primary cell: these alone decide the exit code",
    ]


def test_a_narrower_table_drops_the_published_value_and_wraps_the_reason():
    lines = plain(table(ROWS, 92))
    assert "published" not in lines[0]
    assert lines[0].endswith("verdict")
    assert lines[3].endswith("INCONCLUSIVE")
    assert lines[4] == "    about 260 documents more would settle it"


def test_a_long_reason_that_cells_share_is_written_once():
    long = "the layers of this family have no attention heads, so that none can be cut"
    missing = {"word": Word.NOT_APPLICABLE, "estimate": None, "low": None, "high": None}
    rows = [Row(verdict(**missing, params={"ahead": n}, reason=long), "") for n in (1, 2)]
    between = Row(verdict(params={"ahead": 3}), "")
    last = Row(verdict(**missing, params={"ahead": 4}, reason=long), "")
    lines = plain(table([*rows, between, last], 110))
    assert [line.strip() for line in lines if line.startswith("    ")] == [long, long]
    assert [line.endswith("NOT APPLICABLE  (as above)") for line in lines[1:5]] == [
        False,
        False,
        True,
        False,
    ]
    assert not any("(as above)" in line for line in plain(table(rows, 200)))


def test_a_narrow_table_groups_cells_beneath_their_claim():
    lines = plain(table([*ROWS[:1], Row(verdict(params={"ahead": 2}), "0.2"), *ROWS[1:]], 72))
    assert lines[0].split() == ["where", "estimate", "95", "%", "interval", "least", "verdict"]
    assert lines.count("future-lens/bigram-floor") == 1
    assert lines[1] == "future-lens/bigram-floor"
    assert lines[2].startswith("    N=1 *")
    assert lines[3].startswith("    N=2 *")


@given(
    st.lists(
        st.tuples(
            st.sampled_from(list(Word)),
            st.floats(-200, 200),
            st.integers(0, 60),
            st.sampled_from(["", "about 260 documents more would settle it"]),
            st.booleans(),
        ),
        min_size=1,
        max_size=6,
    ),
    st.integers(100, 200),
    st.booleans(),
)
def test_tables_keep_to_their_width_and_their_columns(cells, width, ascii_only):
    rows = [
        Row(
            verdict(
                word,
                claim=f"paper/{'x' * (1 + name)}",
                primary=primary,
                estimate=value,
                low=value - 1,
                high=value + 1,
                reason=reason,
            ),
            "0.2",
        )
        for word, value, name, reason, primary in cells
    ]
    lines = plain(table(rows, width, ascii_only=ascii_only))
    assert all(len(line) <= width for line in lines)
    if ascii_only:
        assert all(line.isascii() for line in lines)
    else:
        # The three dots of every interval stand below each other.
        assert len({line.index("…") for line in lines if "…" in line}) == 1
    at = lines[0].index("verdict")
    for word, *_ in cells:
        assert any(line[at:].startswith(str(word)) for line in lines[1:])


def test_only_the_verdict_is_coloured_and_primary_names_are_bold():
    lines = table(ROWS, 160)
    styles = {span.text.strip(): span.style for line in lines for span in line}
    for word in ("HOLDS", "FAILS", "INCONCLUSIVE", "NOT APPLICABLE"):
        assert styles[word] == STYLES[word]
    assert styles["future-lens/bigram-floor"] == "bold"
    assert styles["future-lens/linear"] == ""


def test_without_other_cells_nothing_is_marked_as_primary():
    lines = plain(table(ROWS[:1], 160))
    assert "*" not in "".join(lines)


def test_notes_stand_in_brackets():
    (line,) = plain(table([Row(verdict(Word.FAILS), "", "not after correction")], 160))[1:]
    assert line.endswith("FAILS (not after correction)")


def test_no_rows_no_table():
    assert table([], 80) == []


def test_the_title_is_one_line_if_that_fits():
    assert title(CHECKPOINT, "quick", 0, 160) == [
        "stillwired  smollm2-135m-instruct (SmolLM2-135M-Instruct, Q4_1 GGUF dequantised, "
        "sha256 1f0c9a3b…, 30 × 9 heads)  cpu fp32 eager  quick  seed 0"
    ]


def test_a_long_title_continues_beneath():
    assert title(CHECKPOINT, "quick", 0, 100) == [
        "stillwired  smollm2-135m-instruct  cpu fp32 eager  quick  seed 0",
        "            SmolLM2-135M-Instruct, Q4_1 GGUF dequantised, sha256 1f0c9a3b…, 30 × 9 heads",
    ]
    assert all(len(line) <= 60 for line in title(CHECKPOINT, "quick", 0, 60))


def test_the_title_says_where_passes_ran():
    regime = {**CHECKPOINT["regime"], "remote": "https://api.ndif.us"}
    (line,) = title({**CHECKPOINT, "regime": regime}, "quick", 0, 200)
    assert "cpu fp32 eager at https://api.ndif.us" in line
    regime = {**CHECKPOINT["regime"], "device": "cuda", "accelerator": "2 x NVIDIA L4"}
    (line,) = title({**CHECKPOINT, "regime": regime}, "quick", 0, 200)
    assert "cuda (2 x NVIDIA L4) fp32 eager" in line


def test_a_title_without_a_checkpoint():
    assert title(None, "quick", 3, 100) == ["stillwired  no checkpoint  quick  seed 3"]


def test_versions_name_parameters_and_libraries():
    assert versions(CHECKPOINT, {"torch": "2.13.0"}, 100) == [
        "            134.5 M parameters  torch 2.13.0"
    ]


def test_the_tally_counts_every_word():
    assert tally([verdict()]) == "1 holds, 0 fail, 0 inconclusive, 0 not applicable, 0 broken"
    many = [verdict(), verdict(), verdict(Word.FAILS), verdict(Word.BROKEN)]
    assert tally(many) == "2 hold, 1 fails, 0 inconclusive, 0 not applicable, 1 broken"
    several = [verdict(Word.REPORTED)] * 3
    assert tally(several) == (
        "0 hold, 0 fail, 0 inconclusive, 0 not applicable, 0 broken, 3 reported"
    )


def test_the_table_shows_the_interval_of_a_report_and_marks_it_as_not_primary():
    row = Row(verdict(Word.REPORTED, primary=False, least=""), "0.201")
    _, line, *rest = table([row], 160)
    assert "".join(span.text for span in line).split() == [
        *("future-lens/bigram-floor", "N=1", "0.196", "0.184", "…", "0.208", "–", "0.201"),
        "REPORTED",
    ]
    assert line[-1].style == STYLES["REPORTED"]
    assert rest == []
    assert "* primary cell" in plain(table([row, ROWS[0]], 160))[-1]


BESIDE = {
    "beside": (
        BesideResult("no state", 0.123, 0.1, 0.146, 8000, 312),
        BesideResult("rate [late]", -1.5, None, None, 10, 1),
    ),
    "facts": {"trained parameters, learned": 5760, "loss": -2.5e-6, "by": "Adam", "rate": 0.1},
}
SHOWN = [
    "  beside       no state: 0.123, 95 % interval 0.100 … 0.146, 8,000 examples in 312 documents",
    "  beside       rate [late]: −1.500, 95 % interval – … –, 10 examples in 1 documents",
    "  fact         trained parameters, learned: 5,760",
    "  fact         loss: −2.5e−06",
    "  fact         by: Adam",
    "  fact         rate: 0.1",
]


def test_what_stands_beside_is_said_in_the_message_and_not_in_the_table():
    failed = verdict(Word.FAILS, reason="arm is 0.196, below 0.3")
    text = message(CLAIM, failed)
    assert message(CLAIM, replace(failed, **BESIDE)).splitlines() == [*text.splitlines(), *SHOWN]
    assert beside(replace(failed, **BESIDE), "documents") == SHOWN
    assert beside(failed, "documents") == []
    row = Row(failed, "0.2")
    assert table([row], 160) == table([replace(row, verdict=replace(failed, **BESIDE))], 160)


def test_the_message_of_a_report_names_no_region():
    text = message(CLAIM, verdict(Word.REPORTED, least=""))
    assert text.startswith("REPORTED: future-lens/bigram-floor\n")
    assert "measured     0.196" in text
    assert "needed" not in text


def test_the_closing_lines_fit_and_say_where_everything_lies(tmp_path):
    def lines(width):
        return closing(
            [verdict()],
            tmp_path / "out" / "record.json",
            Path("/cache"),
            372,
            start=tmp_path,
            width=width,
        )

    assert lines(160) == [
        "1 holds, 0 fail, 0 inconclusive, 0 not applicable, 0 broken   6 min 12 s   "
        "record: out/record.json   cache: /cache"
    ]
    assert lines(80)[1:] == ["record: out/record.json   cache: /cache"]


def test_the_message_of_a_failed_claim_is_statistical():
    failed = verdict(
        Word.FAILS,
        reason="arm is 0.196, below 0.3",
        checks=(
            CheckResult("null", "shuffled", None, "undecided"),
            CheckResult("instrument", "adds up", True, "2e-6"),
        ),
    )
    assert message(CLAIM, failed).splitlines() == [
        "arm is 0.196, below 0.3",
        "  claim        Something is so.",
        "  measured     0.196, 95 % interval 0.184 … 0.208, 8,000 examples in 312 documents",
        "  needed       0.02",
        "  published    0.5 (big model)",
        "  source       Some Paper, Table 1",
        "  null         shuffled: undecided",
    ]


def test_a_message_says_nothing_twice():
    why = "0.3 one way, 0.4 the other"
    check = CheckResult("instrument", "repeated another way", False, why)
    text = message(CLAIM, verdict(Word.BROKEN, reason=why, estimate=None, checks=(check,)))
    assert text.count(why) == 1


@pytest.mark.parametrize(
    ("word", "says"),
    [
        (Word.NOT_APPLICABLE, "NOT APPLICABLE, where m.json expects REPORTED, as every reported"),
        (Word.INCONCLUSIVE, "INCONCLUSIVE, where m.json expects REPORTED, as every reported cell"),
    ],
)
def test_a_report_that_did_not_come_about_says_what_was_expected(word, says):
    expected = Expectations(Path("ci/m.json"), "m", "quick", {})
    assert unexpected(CLAIM, verdict(word, reported=True), expected).startswith(says)


@pytest.mark.parametrize(
    ("word", "fails", "fails_where_failure_is_expected"),
    [
        (Word.HOLDS, False, True),
        (Word.FAILS, True, False),
        (Word.BROKEN, True, True),
        (Word.INCONCLUSIVE, False, True),
        (Word.NOT_APPLICABLE, False, True),
    ],
)
def test_a_test_fails_by_its_verdict_or_by_what_is_expected(
    word, fails, fails_where_failure_is_expected
):
    found = verdict(word)
    assert failure(CLAIM, found, None) == (message(CLAIM, found) if fails else "")
    cell = ExpectedCell(found.claim, found.params, (Word.FAILS,), "too small a model")
    expected = Expectations(Path("ci/m.json"), "m", "quick", {cell.key: cell})
    said = unexpected(CLAIM, found, expected) if fails_where_failure_is_expected else ""
    assert failure(CLAIM, found, expected) == said


@pytest.mark.parametrize(
    ("word", "held", "fails"),
    [
        (Word.HOLDS, True, False),
        (Word.FAILS, True, True),
        (Word.FAILS, False, False),
        (Word.BROKEN, True, True),
        (Word.BROKEN, False, True),
        (Word.INCONCLUSIVE, True, False),
        (Word.NOT_APPLICABLE, True, True),
        (Word.NOT_APPLICABLE, False, False),
    ],
)
def test_with_a_baseline_a_test_fails_if_its_claim_held_before_and_does_not_now(word, held, fails):
    found = verdict(word)
    stored = {**found.to_json(), "verdict": "HOLDS" if held else "FAILS"}
    baseline = Side(Path("ci/base.json"), {}, {found.key: stored})
    said = failure(CLAIM, found, None, baseline)
    assert bool(said) is fails
    if fails and word is not Word.BROKEN:
        assert said == f"{word}, and it held in base.json\n{message(CLAIM, found)}"
    elsewhere = Side(Path("ci/base.json"), {}, {})
    assert bool(failure(CLAIM, found, None, elsewhere)) is (word is Word.BROKEN)


@pytest.mark.parametrize("listed", [True, False])
def test_an_unexpected_verdict_says_what_to_do(listed):
    better = verdict(Word.HOLDS)
    cell = ExpectedCell(better.claim, better.params, (Word.FAILS,), "too small a model")
    expected = Expectations(Path("ci/m.json"), "m", "quick", {cell.key: cell} if listed else {})
    first, *rest = unexpected(CLAIM, better, expected).splitlines()
    if listed:
        assert first == "HOLDS, where m.json expects FAILS (too small a model)"
    else:
        assert first.startswith("HOLDS, where m.json expects HOLDS, as every cell")
    assert rest[-1] == (
        "  remedy       if this verdict is right, write it into ci/m.json with its reason"
    )
