from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stillwired.errors import RecordError
from stillwired.judge import Evidence, InstrumentCheck, Obstacle, Outcome
from stillwired.records.evidence import (
    describe,
    evidence_from_json,
    evidence_to_json,
    load_outcomes,
    outcome_id,
    outcome_ids,
    read_table,
    save_outcomes,
    write_table,
)
from stillwired.records.files import plain_json

names = st.text(max_size=8).filter(lambda text: "\x00" not in text)


@st.composite
def outcomes(draw):
    examples = draw(st.lists(names, min_size=1, max_size=6, unique=True))
    return Outcome(
        name=draw(names),
        examples=examples,
        clusters=[draw(names) for _ in examples],
        scores=[draw(st.floats(-1e6, 1e6)) for _ in examples],
        factors=draw(st.dictionaries(names, st.one_of(names, st.integers(), st.floats(-9, 9)))),
    )


def outcome(name="a", scores=(0.0, 1.0, 1.0), **factors):
    rows = range(len(scores))
    return Outcome(name, [f"d{i}:0" for i in rows], [f"d{i}" for i in rows], scores, factors)


def equal(a, b):
    return (
        a.name == b.name
        and dict(a.factors) == dict(b.factors)
        and np.array_equal(a.examples, b.examples)
        and np.array_equal(a.clusters, b.clusters)
        and a.scores.tobytes() == b.scores.tobytes()
    )


@settings(deadline=None, max_examples=40)
@given(table=st.lists(outcomes(), max_size=4))
def test_tables_read_back_bit_for_bit(table, tmp_path_factory):
    path = tmp_path_factory.mktemp("t") / "outcomes.parquet"
    by_id = {outcome_id(one): one for one in table}
    write_table(path, by_id)
    read = read_table(path, {name: describe(one) for name, one in by_id.items()})
    assert list(read) == list(by_id)
    assert all(equal(read[name], one) for name, one in by_id.items())


def test_a_small_table_reads_back_like_any_other(tmp_path):
    examples = [f"document {k}:0" for k in range(2000)]
    clusters = [f"document {k}" for k in range(2000)]
    by_id = {
        outcome_id(one): one
        for one in (Outcome("a", examples, clusters, [k] * 2000) for k in range(5))
    }
    described = {name: describe(one) for name, one in by_id.items()}
    sizes = []
    for small in (False, True):
        path = tmp_path / f"{small}.parquet"
        write_table(path, by_id, small=small)
        sizes.append(path.stat().st_size)
        read = read_table(path, described)
        assert list(read) == list(by_id)
        assert all(equal(read[name], one) for name, one in by_id.items())
        (last,) = read_table(path, dict(list(described.items())[-1:])).values()
        assert last.scores[0] == 4
    # Names are most of it, and are not told five times.
    assert sizes[1] < 0.5 * sizes[0]
    write_table(tmp_path / "none.parquet", {}, small=True)
    assert read_table(tmp_path / "none.parquet", {}) == {}


def test_the_columns_are_the_documented_ones(tmp_path):
    import pyarrow.parquet as pq

    one = outcome(ahead=1)
    write_table(tmp_path / "o.parquet", {outcome_id(one): one})
    table = pq.read_table(tmp_path / "o.parquet")
    assert table.column_names == ["outcome", "example", "cluster", "score"]
    assert table.column("score").to_pylist() == [0.0, 1.0, 1.0]
    assert table.column("outcome").to_pylist() == [outcome_id(one)] * 3


@pytest.mark.parametrize(
    "other",
    [
        outcome("b"),
        outcome(scores=(0.0, 1.0, 0.0)),
        outcome(ahead=1),
        outcome(scores=(0.0, 1.0)),
        Outcome("a", ["d0:0", "d1:0", "d2:0"], ["d0", "d1", "d1"], [0.0, 1.0, 1.0]),
        Outcome("a", ["d0:0", "d1:0", "d3:0"], ["d0", "d1", "d2"], [0.0, 1.0, 1.0]),
    ],
)
def test_any_difference_changes_the_id(other):
    assert outcome_id(outcome()) == outcome_id(outcome())
    assert outcome_id(other) != outcome_id(outcome())


def evidence():
    shared = outcome("bigram")
    return Evidence(
        arms={"linear": {"late": outcome("l"), "first": outcome("f")}, "bigram": shared},
        null={"linear": outcome("shuffled")},
        ability={"top-1": outcome("top-1")},
        instrument=(InstrumentCheck("adds up", True, "2e-6"),),
        planted={"bigram": shared},
    )


def test_evidence_reads_back_with_the_order_of_its_families():
    data, stored = evidence_to_json(evidence())
    read = evidence_from_json(data, stored)
    assert list(read.arms["linear"]) == ["late", "first"]
    assert equal(read.arms["linear"]["first"], outcome("f"))
    assert equal(read.null["linear"], outcome("shuffled"))
    assert equal(read.ability["top-1"], outcome("top-1"))
    assert read.instrument == (InstrumentCheck("adds up", True, "2e-6"),)
    assert equal(read.planted["bigram"], outcome("bigram"))


def test_an_obstacle_is_kept_in_place_of_outcomes():
    obstacle = Obstacle("ability", "parts", "Mamba has no heads.")
    data, stored = evidence_to_json(Evidence({}, obstacle=obstacle))
    assert data["obstacle"] == {
        "kind": "ability",
        "name": "parts",
        "detail": "Mamba has no heads.",
    }
    assert stored == {}
    assert outcome_ids(data) == []
    assert evidence_from_json(data, {}).obstacle == obstacle
    assert "obstacle" not in evidence_to_json(evidence())[0]


def test_what_stands_beside_is_kept_with_its_rows_and_its_order():
    bare, beside = evidence(), {"no state": outcome("n"), "rate": {"b": outcome("b")}}
    beside["rate"]["a"] = outcome("bigram")
    facts = {"trained": 5760, "by": "Adam", "loss": 0.5}
    data, stored = evidence_to_json(replace(bare, beside=beside, facts=facts))
    assert set(outcome_ids(data)) == set(stored)
    # The arm of the same rows is not stored again.
    assert len(stored) == len(evidence_to_json(bare)[1]) + 2
    read = evidence_from_json(json.loads(json.dumps(data)), stored)
    assert equal(read.beside["no state"], outcome("n"))
    assert list(read.beside["rate"]) == ["b", "a"]
    assert equal(read.beside["rate"]["a"], outcome("bigram"))
    assert read.facts == facts
    assert [type(fact) for fact in read.facts.values()] == [int, str, float]


def test_evidence_with_nothing_beside_is_written_and_read_as_ever():
    data, stored = evidence_to_json(evidence())
    assert list(data) == ["arms", "null", "planted", "ability", "instrument"]
    read = evidence_from_json(data, stored)
    assert (read.beside, read.facts) == ({}, {})


arms = st.one_of(outcomes(), st.dictionaries(names, outcomes(), min_size=1, max_size=3))


@settings(deadline=None, max_examples=40)
@given(
    beside=st.dictionaries(names, arms, max_size=3),
    facts=st.dictionaries(names, st.one_of(names, st.integers(), st.floats(-9, 9)), max_size=3),
)
def test_anything_beside_reads_back(beside, facts):
    data, stored = evidence_to_json(Evidence({}, beside=beside, facts=facts))
    again, restored = evidence_to_json(evidence_from_json(json.loads(json.dumps(data)), stored))
    assert plain_json(again) == plain_json(data)
    assert restored.keys() == stored.keys()


def test_an_outcome_used_twice_is_stored_once(tmp_path):
    data, stored = evidence_to_json(evidence())
    assert len(stored) == 5
    assert data["arms"]["bigram"] == data["planted"]["bigram"]
    assert set(outcome_ids(data)) == set(stored)
    save_outcomes(tmp_path, stored)
    save_outcomes(tmp_path, stored)
    assert len(list(tmp_path.iterdir())) == 5
    described = {name: describe(one) for name, one in stored.items()}
    read = load_outcomes(tmp_path, stored, described)
    assert all(equal(read[name], one) for name, one in stored.items())


def test_a_missing_outcome_is_named():
    data, _ = evidence_to_json(evidence())
    with pytest.raises(RecordError, match="does not hold"):
        evidence_from_json(data, {})


def test_a_table_of_another_run_is_noticed(tmp_path):
    path = tmp_path / "o.parquet"
    one, other = outcome(), outcome(scores=(1.0, 1.0, 1.0))
    write_table(path, {outcome_id(one): other})
    with pytest.raises(RecordError, match="not the ones that the record was judged from"):
        read_table(path, {outcome_id(one): describe(one)})
    with pytest.raises(RecordError, match="not the ones"):
        read_table(path, {outcome_id(other): describe(other)})


def test_a_missing_or_truncated_table_is_explained(tmp_path):
    path = tmp_path / "o.parquet"
    with pytest.raises(RecordError, match="outcomes are missing"):
        read_table(path, {})
    write_table(path, {outcome_id(outcome()): outcome()})
    path.write_bytes(path.read_bytes()[:40])
    with pytest.raises(RecordError, match="cannot be read"):
        read_table(path, {})
