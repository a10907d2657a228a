from __future__ import annotations

import json

import pytest

from stillwired.errors import RecordError
from stillwired.records.record import read_record
from stillwired.records.refits import read_refits
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
    assert read_refits([two, one, one], CELLS) == {
        'p/wins[ahead=1, form="arrow"]': {"a − b": 0.012},
        "p/only": {"a": 0.03, "b": 0.0},
    }


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
    page = module._page(SimpleNamespace(name="m", digest="ab"), 5, found)
    (tmp_path / "refits.json").write_text(page, encoding="utf-8")
    assert read_refits([tmp_path], CELLS) == {"p/wins[ahead=2]": {"a − b": 0.15811}}


def test_a_record_keeps_those_of_its_own_cells_and_else_stays_as_it_was(tmp_path):
    cells = [(claim("a"), {}, evidence(0.3))]
    plain = read_record(record(tmp_path / "plain.json", cells)).data
    assert "refits" not in plain
    other = read_record(record(tmp_path / "o.json", cells, refits={"some-paper/z": {"x": 1.0}}))
    assert other.data["digest"] == plain["digest"]
    known = {"some-paper/z": {"x": 1.0}, "some-paper/a": {"reader − floor": 0.01}}
    kept = read_record(record(tmp_path / "kept.json", cells, refits=known)).data
    assert kept["refits"] == {"some-paper/a": {"reader − floor": 0.01}}
    assert kept["digest"] != plain["digest"]
