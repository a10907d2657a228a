from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stillwired.errors import ClaimError
from stillwired.judge import Claim, Difference, Level, Needs, Paper, Steps
from stillwired.judge.claims import expectation_from_json

PAPER = Paper("a-paper", "A Paper", "Someone", "Somewhere 2023")
figures = st.floats(0.001, 10, allow_nan=False)
names = st.sampled_from(["linear", "bigram", "states shuffled", "rate → depth"])
REPORTED = (Level("a", reported=True), Difference("a", "b", reported=True))


@st.composite
def expectations(draw, reported=None):
    """With a region or reported, as it is asked for; otherwise either."""
    low = draw(st.floats(-5, 5, allow_nan=False))
    regions = [
        {"at_least": draw(figures)},
        {"at_most": low},
        {"between": (low, low + draw(figures))},
        {"within": draw(figures)},
    ]
    choices = {True: [], False: regions, None: regions}[reported]
    region = draw(st.sampled_from([*choices, *([] if reported is False else [{"reported": True}])]))
    region["labelled"] = draw(st.none() | st.just("the difference"))
    return draw(
        st.sampled_from(
            [Level(draw(names), **region), Difference("a", "b", **region), Steps("a", **region)]
        )
    )


@st.composite
def needs(draw):
    side = draw(st.sampled_from(["at_least", "at_most"]))
    otherwise = draw(st.sampled_from(["not applicable", "undecided", "not held", "not failed"]))
    return Needs(draw(names), unit=draw(names), otherwise=otherwise, **{side: draw(figures)})


@st.composite
def claims(draw):
    reported = draw(st.booleans())
    expects = tuple(draw(st.lists(expectations(reported), min_size=1, max_size=3)))
    left_out = st.none() if reported else st.nothing()
    return Claim(
        id="a-paper/finding-2",
        version=draw(st.integers(1, 9)),
        says="It is so.",
        source=PAPER.at("Table 1"),
        published="0.3",
        expects=expects,
        margin=draw(left_out | figures),
        mutant=draw(left_out | st.just("shuffled heads")),
        applies=tuple(draw(st.lists(needs(), max_size=2))),
        null=draw(st.none() if reported else st.none() | st.just("shuffled")),
        sensitivity=0.05 if any(e.within for e in expects) else None,
        primary=draw(
            st.dictionaries(names, st.integers() | st.booleans() | figures | names, max_size=2)
        ),
        unit=draw(st.sampled_from(["documents", "word pairs"])),
    )


@given(claims())
def test_a_claim_survives_json(claim):
    copy = Claim.from_json(json.loads(json.dumps(claim.to_json())))
    assert copy == claim
    assert [type(e) for e in copy.expects] == [type(e) for e in claim.expects]
    assert copy.reported == claim.reported


@given(expectations())
def test_an_expectation_survives_json(expectation):
    copy = expectation_from_json(json.loads(json.dumps(expectation.to_json())))
    assert copy == expectation
    assert copy.region == expectation.region


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: Level("a"), "no region"),
        (lambda: Level("a", at_least=0.1, within=0.1), "at_least and within"),
        (lambda: Level("a", reported=False), "no region.*within, reported"),
        (lambda: Steps("a", at_most=0.1, reported=True), "at_most and reported"),
        (lambda: Level("a", reported=0.201), "reported is 0.201.*published value"),
        (lambda: Difference("a", "b", at_least=0), "dead mechanism"),
        (lambda: Difference("a", "b", at_least=-0.1), "dead mechanism"),
        (lambda: Difference("a", "b", within=0), "above 0"),
        (lambda: Level("a", between=(0.3, 0.1)), "low end comes first"),
        (lambda: Level("a", between=(0.1, 0.2, 0.3)), "takes"),
        (lambda: Level("a", at_most=float("nan")), "finite"),
        (lambda: Needs("top-1", float("inf")), "finite"),
        (lambda: Needs("top-1"), "exactly one"),
        (lambda: Needs("top-1", at_least=0.1, at_most=0.2), "exactly one"),
        (lambda: Needs("top-1", at_least=0.1, otherwise="skipped"), "cannot otherwise"),
    ],
)
def test_an_expectation_without_meaning_is_refused(build, message):
    with pytest.raises(ClaimError, match=message):
        build()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"id": "Future Lens/x"}, "paper/finding"),
        ({"id": "future-lens"}, "paper/finding"),
        ({"version": 0}, "version"),
        ({"says": " "}, "says is empty"),
        ({"mutant": ""}, "mutant is empty"),
        ({"expects": ()}, "expects nothing"),
        ({"expects": Level("a", at_least=1)}, "one item needs a comma"),
        ({"rivals": "floor"}, "one item needs a comma"),
        ({"margin": 0}, "margin"),
        ({"margin": None}, "margin is missing.*two checkpoints"),
        ({"mutant": None}, "mutant is missing.*must make the claim fail"),
        (
            {"expects": (Level("a", at_most=1), Level("b", reported=True))},
            "b is only reported, a has a region. Declare two claims",
        ),
        ({"expects": REPORTED, "null": "shuffled"}, "null is declared, but .* only reported"),
        ({"expects": REPORTED, "null": ""}, "null is declared"),
        ({"expects": REPORTED, "sensitivity": 0.1}, "sensitivity is declared"),
        ({"expects": REPORTED, "rivals": ("floor",)}, "rivals is declared"),
        ({"expects": REPORTED, "margin": -1}, "margin is -1"),
        ({"expects": REPORTED, "mutant": " "}, "mutant is empty"),
        ({"null": " "}, "null is empty"),
        ({"expects": (Level("a", within=0.1),)}, "a is expected to be no difference.*two dead"),
        (
            {"expects": (Level("a", within=0.1), Level("linear", at_least=0.1))},
            "two dead arms differ in nothing. Expect a least effect of one of them",
        ),
        (
            {"expects": (Level("a", at_most=0.1),), "rivals": (), "sensitivity": 0.1},
            "without an expectation that could miss a difference",
        ),
        ({"expects": (Level("a", within=0.1),), "sensitivity": -1}, "above 0"),
        ({"rivals": ("floor", "floor")}, "twice"),
        ({"rivals": ("linear",)}, "its own rival"),
        ({"expects": (Level("a", at_most=1),), "rivals": ("floor",)}, "arm to beat"),
        ({"primary": {"ahead": [1]}}, "list"),
    ],
)
def test_a_declaration_without_meaning_is_refused(claim, changes, message):
    with pytest.raises(ClaimError, match=message):
        claim(**changes)


def test_the_primary_cell_is_found_by_its_parameters(claim):
    declared = claim(primary={"ahead": 1})
    assert declared.is_primary({"ahead": 1, "depth": "last"})
    assert not declared.is_primary({"ahead": 2})
    assert not declared.is_primary({"depth": "last"})
    assert claim().is_primary({})


def test_the_first_cell_is_primary_where_a_run_has_no_declared_one(claim):
    declared = claim(primary={"task": "present-past", "form": "arrow"})
    own = [{"form": form, "task": task} for task in ("mine", "yours") for form in ("qa", "arrow")]

    def primary(cells):
        return [cell for cell in cells if declared.is_primary(cell, cells)]

    assert primary(own) == [{"form": "arrow", "task": "mine"}]
    assert primary(own[::-1]) == [{"form": "arrow", "task": "yours"}]
    built_in = {"form": "arrow", "task": "present-past"}
    assert primary([*own, built_in]) == [built_in]
    # What is declared is kept as far as it goes: its task, here in another format.
    rest = [*own, {"form": "json", "task": "present-past"}]
    assert primary(rest) == [rest[-1]]
    assert primary([{"task": "mine"}]) == []
    assert not any(declared.is_primary(cell) for cell in own)


def test_a_claim_that_is_only_reported_needs_nothing_that_decides(claim):
    declared = claim(expects=REPORTED, margin=None, mutant=None)
    assert declared.reported
    assert (declared.arms, declared.challenged) == (("a", "b"), ())
    assert not claim().reported


@pytest.mark.parametrize("primary", [{}, {"ahead": 1}])
def test_no_cell_of_a_reported_claim_is_primary(claim, primary):
    declared = claim(expects=REPORTED, margin=None, mutant=None, primary=primary)
    assert not declared.is_primary({"ahead": 1})
    assert not declared.is_primary({})


def test_declarations_without_anything_reported_are_written_as_ever(claim):
    """Readers that know of nothing reported can read them, and digests stay."""
    data = claim().to_json()
    assert list(data) == [
        *("id", "version", "says", "source", "published", "expects", "margin", "applies"),
        *("rivals", "null", "sensitivity", "primary", "mutant", "unit"),
    ]
    assert data["expects"] == [
        {"kind": "difference", "at_least": 0.02, "plus": "linear", "minus": "bigram"}
    ]


def test_arms_and_rivals_are_listed_once(claim):
    declared = claim(
        expects=(Difference("a", "b", at_least=1), Difference("a", "c", at_most=1)),
        rivals=("floor", "b"),
    )
    assert declared.arms == ("a", "b", "c", "floor")
    assert declared.challenged == ("a",)


def test_a_declaration_of_another_version_is_named(claim):
    data = claim().to_json()
    with pytest.raises(ClaimError, match="KeyError"):
        Claim.from_json({k: v for k, v in data.items() if k != "source"})
    with pytest.raises(ClaimError, match="unheard"):
        Claim.from_json({**data, "unheard": 1})
    with pytest.raises(ClaimError, match="no expectation of kind 'ratio'"):
        Claim.from_json({**data, "expects": [{"kind": "ratio", "arm": "a"}]})
