from __future__ import annotations

import json

import pytest

from stillwired.errors import RecordError
from stillwired.records.record import read_record
from stillwired.records.refits import read_refits, refits_of
from tests.records.made_records import claim, evidence, record

CELLS = {
    'p/wins[ahead=1, form="arrow"]': ("p/wins", {"form": "arrow", "ahead": 1}),
    "p/wins[ahead=2]": ("p/wins", {"ahead": 2}),
    "p/only": ("p/only", {}),
    "p/other": ("p/other", {}),
}


def content(restarts=5, **changes):
    part = {"sd": 0.012, "estimates": [0.1, 0.11]}
    return {
        "checkpoint": "m",
        "digest": "ab",
        "profile": "quick",
        "restarts": restarts,
        "claims": {
            "p/wins": {
                "ahead=1, form=arrow": {"a − b": part},
                "ahead=1": {"a − b": {**part, "sd": 0.5}},
            },
            "p/only": {"-": {"a": {**part, "sd": 0.03}, "b": {**part, "sd": 0}}},
        },
        **changes,
    }


def write(folder, data):
    folder.mkdir(exist_ok=True)
    (folder / "refits.json").write_text(json.dumps(data), encoding="utf-8")
    return folder


def test_cells_are_found_whatever_the_order_of_their_parameters(tmp_path):
    one, two = write(tmp_path / "a", content()), tmp_path / "b"
    found = read_refits([two, one, one], CELLS)
    assert found['p/wins[ahead=1, form="arrow"]'] == {"a − b": 0.012}
    assert found["p/only"] == {"a": 0.03, "b": 0.0}


def test_the_largest_of_a_claim_stands_in_for_cells_that_were_not_measured(tmp_path):
    """And for parts that were not; who reads it learns whose it is."""
    data = content()
    data["claims"]["p/wins"]["ahead=3"] = {"a − c": {"sd": 0.2}, "a − b": {"sd": 0.1}}
    found = read_refits([write(tmp_path / "a", data)], CELLS)
    assert found["p/wins[ahead=2]"] == {
        "a − b": {"sd": 0.5, "of": "ahead=1"},
        "a − c": {"sd": 0.2, "of": "ahead=3"},
    }
    assert found['p/wins[ahead=1, form="arrow"]'] == {
        "a − b": 0.012,
        "a − c": {"sd": 0.2, "of": "ahead=3"},
    }
    assert "p/other" not in found


@pytest.mark.parametrize(
    ("unmeasured", "keys"),
    [
        ({"p/other": [{}]}, {"p/other"}),
        ({"p/more": [{"reader": "learned"}]}, {'p/more[n=1, reader="learned"]'}),
        ({"p/more": [{"reader": "a"}, {"n": 1}]}, {'p/more[n=1, reader="learned"]'}),
        ({"p/more": [{"reader": "linear"}], "p/elsewhere": [{}]}, set()),
        ({"p/only": [{}]}, set()),
    ],
)
def test_what_is_fitted_and_was_never_measured_is_told_from_what_is_not(unmeasured, keys, tmp_path):
    cells = CELLS | {'p/more[n=1, reader="learned"]': ("p/more", {"reader": "learned", "n": 1})}
    found = read_refits([write(tmp_path / "a", content(unmeasured=unmeasured))], cells)
    assert {key for key, parts in found.items() if not parts} == keys


def test_two_records_know_what_either_does():
    borrowed = {"sd": 0.4, "of": "ahead=1"}
    old = {"refits": {"c": {"x": 0.01, "y": borrowed, "z": borrowed}, "empty": {}, "late": {}}}
    new = {
        "refits": {
            "c": {"x": 0.02, "y": 0.03, "z": {"sd": 0.5, "of": "ahead=2"}},
            "late": {"x": 0.01},
        }
    }
    for records in ((old, new), (new, old)):
        assert refits_of("c", *records) == ({"x": 0.02, "y": 0.03, "z": 0.5}, {"z": "ahead=2"})
        assert refits_of("empty", *records) == ({}, {})
        assert refits_of("late", *records) == ({"x": 0.01}, {})
        assert refits_of("not fitted", *records) == (None, {})
    assert refits_of("c", {}, {}) == (None, {})


def test_without_a_file_nothing_is_known(tmp_path):
    assert read_refits([tmp_path], CELLS) == {}
    assert read_refits([], CELLS) == {}


def test_a_file_that_is_still_being_measured_is_not_there_yet(tmp_path):
    unfinished = content(1)
    unfinished["claims"]["p/only"]["-"]["a"]["sd"] = None
    assert read_refits([write(tmp_path / "a", unfinished)], CELLS) == {}
    assert read_refits([write(tmp_path / "b", content(4))], CELLS) == {}
    assert read_refits([write(tmp_path / "c", content(5))], CELLS) != {}


@pytest.mark.parametrize(
    "data",
    [
        [],
        {"claims": {}},
        content(claims=[]),
        content(claims={"p/only": {"-": {"a": {"estimates": []}}}}),
        content(claims={"p/only": {"-": {"a": {"sd": "much"}}}}),
        content(claims={"p/only": {"-": {"a": {"sd": None}}}}),
        content("five"),
        content(unmeasured={"p/only": 3}),
        content(unmeasured=["p/only"]),
    ],
)
def test_another_form_is_refused(data, tmp_path):
    with pytest.raises(RecordError, match=r"refits.json is not of the form that benchmarks"):
        read_refits([write(tmp_path / "a", data)], CELLS)


def test_what_is_measured_is_read(tmp_path):
    """The benchmark's own page."""
    import importlib.util
    from pathlib import Path
    from types import SimpleNamespace

    script = Path(__file__).parents[2] / "benchmarks" / "refit_variance.py"
    spec = importlib.util.spec_from_file_location("refit_variance_for_tests", script)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    found = {"p/wins": {"ahead=2": {"a − b": [0.1, 0.2, 0.3, 0.4, 0.5]}}, "p/only": {"-": {}}}
    lacking = {"p/other": [{}]}
    page = module._page(SimpleNamespace(name="m", digest="ab"), 5, found, lacking)
    (tmp_path / "refits.json").write_text(page, encoding="utf-8")
    assert read_refits([tmp_path], CELLS) == {
        'p/wins[ahead=1, form="arrow"]': {"a − b": {"sd": 0.15811, "of": "ahead=2"}},
        "p/wins[ahead=2]": {"a − b": 0.15811},
        "p/only": {},
        "p/other": {},
    }


def test_a_record_keeps_those_of_its_own_cells_and_else_stays_as_it_was(tmp_path):
    cells = [(claim("a"), {}, evidence(0.3))]
    plain = read_record(record(tmp_path / "plain.json", cells)).data
    assert "refits" not in plain
    other = read_record(record(tmp_path / "o.json", cells, refits={"some-paper/z": {"x": 1.0}}))
    assert other.data["digest"] == plain["digest"]
    for parts in ({"reader − floor": 0.01}, {}):
        known = {"some-paper/z": {"x": 1.0}, "some-paper/a": parts}
        kept = read_record(record(tmp_path / "kept.json", cells, refits=known)).data
        assert kept["refits"] == {"some-paper/a": parts}
        assert kept["digest"] != plain["digest"]
