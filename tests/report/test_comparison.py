from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from stillwired.judge import Word
from stillwired.judge.changes import Change, ChangeWord, PartChange
from stillwired.judge.gate import Gate
from stillwired.judge.regions import Region
from stillwired.records.compare import Comparison
from stillwired.report.comparison import comparison_lines, tally
from stillwired.report.summary import Page

H, F, I, N, B, R = Word  # noqa: E741
KEPT, GAINED, LOST, UNDECIDED, BROKEN, NEW, NOT_COMPARED = ChangeWord


def change(name, word, then=H, now=H, *, kept=None, primary=True, **more):
    part = None
    if word in (KEPT, GAINED, LOST, UNDECIDED) and not more.get("cause"):
        kept = kept or Region("at least", low=-0.02)
        figures = (name, word, -0.05, -0.073, -0.027, kept, 0.001, 320, 40, True, 0, "t")
        part = PartChange(*figures)
    return Change(f"p/{name}", {"ahead": 1}, primary, then, now, word, decided=part, **more)


CHANGES = (
    change("gone", UNDECIDED, now=F),
    change("broken", BROKEN, now=B, reason="The null shows it."),
    change("lost", LOST),
    change("perhaps", LOST),
    change("cannot", LOST, now=N, cause="ability", reason="0.08, 0.3 needed"),
    change("missing", LOST, now=None, cause="missing"),
    change("kept", KEPT, primary=False),
    change("found", GAINED, then=F),
    change("fresh", NEW, then=None),
)


def made(*changes, **more):
    given = {
        "path": Path("/r/ci/base.json"),
        "then": {"name": "m", "digest": "ab" * 32},
        "now": {"name": "n", "digest": "cd" * 32},
        "accepted": "2026-11-26",
        "note": "First.",
        "remarks": ("The regimes differ: cpu then, cuda now.",),
        "changes": changes or CHANGES,
        "gate": Gate(
            False, ("p/lost is LOST",), {"p/lost[ahead=1]": True, "p/perhaps[ahead=1]": False}
        ),
    }
    return Comparison(**given | more)


def plain(lines):
    return ["".join(span.text for span in line).rstrip() for line in lines]


def test_a_comparison_has_title_table_and_counts():
    lines = plain(comparison_lines(made(), Page(160, start=Path("/r"))))
    assert lines[:3] == [
        "n (sha256 cdcdcdcd…) compared with m (sha256 abababab…)",
        "from ci/base.json, accepted 2026-11-26: First.",
        "The regimes differ: cpu then, cuda now.",
    ]
    assert [" ".join(line.split()) for line in lines[3:13]] == [
        "claim where then now change 95 % interval allowed word",
        "p/gone N=1 * HOLDS FAILS −0.050 −0.073 … −0.027 −0.02 UNDECIDED",
        "p/broken N=1 * HOLDS BROKEN – – – BROKEN The null shows it.",
        "p/lost N=1 * HOLDS HOLDS −0.050 −0.073 … −0.027 −0.02 LOST",
        "p/perhaps N=1 * HOLDS HOLDS −0.050 −0.073 … −0.027 −0.02 LOST (not after correction)",
        "p/cannot N=1 * HOLDS NOT APPLICABLE – – – LOST (ability) 0.08, 0.3 needed",
        "p/missing N=1 * HOLDS – – – – LOST (missing)",
        "p/kept N=1 HOLDS HOLDS −0.050 −0.073 … −0.027 −0.02 KEPT",
        "p/found N=1 FAILS HOLDS −0.050 −0.073 … −0.027 −0.02 GAINED",
        "p/fresh N=1 – HOLDS – – – NEW",
    ]
    assert lines[13].startswith("* primary cell that held")
    held = "7 held before: 1 broken, 4 lost, 1 undecided, 1 kept, 0 gained"
    assert lines[14:] == [f"{held}   2 did not: 1 gained, 1 new"]


def test_a_record_has_no_date_and_no_note():
    lines = plain(comparison_lines(made(accepted="", note="", remarks=()), Page(160)))
    assert lines[1] == "from /r/ci/base.json"
    assert lines[2].startswith("claim")
    bare = made(then={"spec": None}, now={"spec": None})
    assert (
        plain(comparison_lines(bare, Page(160)))[0] == "no checkpoint compared with no checkpoint"
    )


@pytest.mark.parametrize(
    ("kept", "allowed"),
    [
        (Region("at least", low=-0.02), "−0.02"),
        (Region("at most", high=0.0125), "+0.0125"),
        (Region("within", low=-0.1, high=0.1), "±0.1"),
    ],
)
def test_what_is_allowed_has_a_sign(kept, allowed):
    line = plain(comparison_lines(made(change("a", KEPT, kept=kept)), Page(160)))[4]
    assert line.split()[-2] == allowed


def test_an_end_without_a_bound_is_a_dash():
    part = replace(change("a", UNDECIDED).decided, low=None, high=None)
    one = replace(change("a", UNDECIDED), decided=part)
    assert plain(comparison_lines(made(one), Page(160)))[4].split()[-4:] == [
        "−0.050",
        "–",
        "−0.02",
        "UNDECIDED",
    ]


def test_quiet_leaves_out_what_is_well_and_very_quiet_the_table():
    quiet = plain(comparison_lines(made(), Page(160, quiet=1)))
    assert not any(word in line for line in quiet[:-1] for word in ("KEPT", "GAINED", "NEW"))
    assert sum("LOST" in line for line in quiet) == 4
    (only,) = plain(comparison_lines(made(), Page(160, quiet=2)))
    assert only.startswith("7 held before")
    well = plain(comparison_lines(made(change("a", KEPT)), Page(160, quiet=1)))
    assert not any(line.startswith("claim") for line in well)


def test_narrow_terminals_drop_what_is_allowed_and_group_cells():
    wide = [*CHANGES, change("a-claim-of-a-longer-name", KEPT)]
    lines = plain(comparison_lines(made(*wide), Page(90)))
    head = next(line for line in lines if "change" in line)
    assert "allowed" not in head
    assert "p/lost" in lines
    assert max(len(line) for line in lines) <= 90


def test_words_have_colours_and_cells_that_count_stand_out():
    lines = comparison_lines(made(), Page(160))
    styles = {
        line[0].text.strip(): (line[0].style, line[7].style) for line in lines if len(line) > 7
    }
    assert styles["p/lost"] == ("bold", "red")
    assert styles["p/kept"] == ("", "green")
    assert styles["p/found"] == ("", "blue")


def test_ascii_pages_hold_ascii_only():
    page = Page(160, ascii_only=True)
    assert all(line.isascii() for line in plain(comparison_lines(made(), page)))


def test_what_held_is_counted_apart():
    assert tally([]) == ["0 held before: 0 lost, 0 undecided, 0 kept, 0 gained"]
    assert tally([change("a", NOT_COMPARED)]) == [
        "1 held before: 0 lost, 0 undecided, 1 not compared, 0 kept, 0 gained"
    ]
