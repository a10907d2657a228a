from __future__ import annotations

import json
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stillwired.errors import RecordError
from stillwired.judge import Claim, Evidence, Level, Outcome, Paper, Verdict, Word
from stillwired.profiles import QUICK
from stillwired.records.record import (
    RunFacts,
    merge,
    outcomes_path,
    read_record,
    record_path,
    write_record,
)
from stillwired.records.run import RunFolder

PAPER = Paper("some-paper", "Some Paper", "A. Author", "Venue 2026")
FACTS = RunFacts(
    profile="quick",
    layers=(0.5, 3),
    seed=1,
    regime={"device": "cpu", "dtype": "float32", "attention": "eager"},
    checkpoints={"m": {"name": "m", "digest": "ab", "folder": "/cache/x", "layers": 4}},
    started=1_700_000_000.0,
)


def claim(name="finding", published="0.5"):
    return Claim(
        id=f"some-paper/{name}",
        version=1,
        says="Something is so.",
        source=PAPER.at("Table 1"),
        published=published,
        expects=(Level("arm", at_least=0.1),),
        margin=0.1,
        mutant="shuffled",
    )


def outcome(name="arm", scores=(0.0, 1.0)):
    return Outcome(name, ["d0:0", "d1:0"], ["d0", "d1"], list(scores))


def add(folder, order, declared, params, spec="m", scores=(0.0, 1.0)):
    verdict = Verdict(declared.id, 1, params, True, Word.HOLDS, estimate=0.5, low=0.4, high=0.6)
    evidence = Evidence({"arm": outcome(scores=scores)})
    folder.add(declared, verdict, evidence, order=order, spec=spec, seconds=0.5)


@pytest.fixture
def folder(tmp_path):
    return RunFolder(tmp_path / "run", "token")


CELLS = [
    (claim("b"), {"ahead": 10}),
    (claim("b"), {"ahead": 9}),
    (claim("a"), {"task": "x"}),
    (claim("a"), {"task": "x", "ahead": 1}),
]


DIGESTS = set()


@settings(deadline=None, max_examples=15)
@given(order=st.permutations(range(len(CELLS))))
def test_no_scheduling_changes_the_record(order, tmp_path_factory):
    folder = RunFolder(tmp_path_factory.mktemp("r") / "run", "token")
    for place, which in enumerate(order):
        add(folder, place, *CELLS[which], scores=(0.0, float(which)))
    record, outcomes = merge(folder, "m", FACTS)
    assert [(v["claim"], v["params"]) for v in record["verdicts"]] == [
        ("some-paper/a", {"task": "x", "ahead": 1}),
        ("some-paper/a", {"task": "x"}),
        ("some-paper/b", {"ahead": 9}),
        ("some-paper/b", {"ahead": 10}),
    ]
    assert list(record["outcomes"]) == list(outcomes)
    DIGESTS.add(record["digest"])
    assert len(DIGESTS) == 1


def test_content_of_a_record(folder):
    add(folder, 0, claim(), {})
    folder.note("corpus", "corpus", {"name": "text", "digest": "cd"})
    folder.note("time", "reading", 2.5)
    record, outcomes = merge(folder, "m", FACTS)
    assert record["schema"] == 1
    assert record["checkpoint"] == {
        "spec": "m",
        "name": "m",
        "digest": "ab",
        "layers": 4,
        "regime": dict(FACTS.regime),
    }
    assert record["profile"] == "quick"
    assert record["layers"] == [0.5, 3]
    assert record["seed"] == 1
    assert record["corpus"] == {"name": "text", "digest": "cd"}
    assert record["declarations"] == {"some-paper/finding": claim().to_json()}
    (verdict,) = record["verdicts"]
    assert {"claim", "version", "params", "primary", "verdict", "estimate", "low", "high"} <= set(
        verdict
    )
    assert {"n", "clusters", "checks", "parts", "reason", "least", "evidence"} <= set(verdict)
    (name,) = outcomes
    assert verdict["evidence"]["arms"] == {"arm": name}
    assert record["outcomes"][name] == {"name": "arm", "factors": {}, "rows": 2}
    assert record["times"]["cells"] == {"some-paper/finding": 0.5}
    assert record["times"]["steps"] == {"reading": 2.5}
    assert record["times"]["started"].startswith("2023-11-1")


def test_what_stands_beside_takes_its_place_in_the_record(folder):
    declared, other = claim(), outcome("other", (1.0, 1.0))
    verdict = Verdict(declared.id, 1, {}, True, Word.HOLDS, facts={"trained": 5760})
    evidence = Evidence({"arm": outcome()}, beside={"none": other}, facts={"trained": 5760})
    folder.add(declared, verdict, evidence, order=0, spec="m", seconds=0.5)
    record, outcomes = merge(folder, "m", FACTS)
    (stored,) = record["verdicts"]
    assert record["schema"] == 1
    assert stored["facts"] == stored["evidence"]["facts"] == {"trained": 5760}
    assert list(outcomes) == [
        stored["evidence"]["arms"]["arm"],
        stored["evidence"]["beside"]["none"],
    ]
    assert [about["name"] for about in record["outcomes"].values()] == ["arm", "other"]


def test_times_stand_outside_the_digest_and_everything_else_inside(folder):
    add(folder, 0, claim(), {})
    first, _ = merge(folder, "m", FACTS)
    folder.note("time", "reading", 9)
    again, _ = merge(folder, "m", replace(FACTS, started=0.0))
    assert again["digest"] == first["digest"]
    folder.note("corpus", "corpus", {"digest": "other"})
    assert merge(folder, "m", FACTS)[0]["digest"] != first["digest"]


def test_a_redraw_is_told_where_there_is_one_and_digested(folder):
    add(folder, 0, claim(), {})
    record, _ = merge(folder, "m", FACTS)
    redrawn, _ = merge(folder, "m", replace(FACTS, redraw="seed-1"))
    assert "redraw" not in record
    assert redrawn["redraw"] == "seed-1"
    assert redrawn["digest"] != record["digest"]


def test_the_code_that_the_run_began_with_and_its_sizes_are_kept_and_digested(folder):
    add(folder, 0, claim(), {})
    before, _ = merge(folder, "m", FACTS)
    assert "code" not in before["environment"]
    assert "sizes" not in before
    folder.note("code", "code", {"stillwired": "12"})
    sized, _ = merge(folder, "m", replace(FACTS, sizes=QUICK.sizes))
    assert sized["environment"] == before["environment"] | {"code": {"stillwired": "12"}}
    assert (sized["sizes"]["names"], sized["sizes"]["depths"]) == (100, list(QUICK.depths))
    assert "name" not in sized["sizes"]
    assert len({sized["digest"], before["digest"], merge(folder, "m", FACTS)[0]["digest"]}) == 3


def test_only_the_cells_of_the_checkpoint_are_taken(folder):
    add(folder, 0, claim(), {}, spec="m")
    add(folder, 1, claim(), {}, spec="other")
    add(folder, 2, claim("none"), {}, spec=None)
    record, _ = merge(folder, "other", FACTS)
    assert [v["claim"] for v in record["verdicts"]] == ["some-paper/finding"]
    assert record["checkpoint"]["spec"] == "other"
    record, _ = merge(folder, None, FACTS)
    assert [v["claim"] for v in record["verdicts"]] == ["some-paper/none"]


def test_cells_that_cannot_stand_together_are_refused(folder):
    add(folder, 0, claim(), {"ahead": 1})
    add(folder, 1, claim(), {"ahead": 1})
    with pytest.raises(RecordError, match="Two tests judged"):
        merge(folder, "m", FACTS)


def test_two_declarations_of_one_claim_are_refused(folder):
    add(folder, 0, claim(), {"ahead": 1})
    add(folder, 1, claim(published="0.6"), {"ahead": 2})
    with pytest.raises(RecordError, match="declare some-paper/finding differently"):
        merge(folder, "m", FACTS)


def test_a_record_reads_back(folder, tmp_path):
    add(folder, 0, claim(), {"ahead": 1})
    record, outcomes = merge(folder, "m", FACTS)
    path = tmp_path / "record.json"
    write_record(path, record, outcomes)
    assert (tmp_path / "outcomes.parquet").is_file()
    read = read_record(path)
    assert read.data == record
    (verdict,) = read.verdicts
    assert verdict.params == {"ahead": 1}
    assert verdict.verdict is Word.HOLDS


def test_a_table_that_cannot_be_written_leaves_no_record(folder, tmp_path):
    add(folder, 0, claim(), {})
    record, outcomes = merge(folder, "m", FACTS)
    (tmp_path / "outcomes.parquet").mkdir()
    with pytest.raises(RecordError, match="cannot be written"):
        write_record(tmp_path / "record.json", record, outcomes)
    assert not (tmp_path / "record.json").exists()


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"schema": 2}, "Upgrade stillwired"),
        ({"schema": "x"}, "not written by stillwired"),
        ({"seed": 5}, "edited after it was written"),
        ({"digest": "0"}, "edited after it was written"),
        ({"verdicts": None}, "lacks verdicts"),
        ({"declarations": None}, "no record of stillwired"),
    ],
)
def test_a_record_that_cannot_be_trusted_is_refused(change, says, folder, tmp_path):
    add(folder, 0, claim(), {})
    record, outcomes = merge(folder, "m", FACTS)
    write_record(tmp_path / "record.json", record, outcomes)
    data = json.loads((tmp_path / "record.json").read_text())
    for key, value in change.items():
        data.pop(key) if value is None else data.update({key: value})
    (tmp_path / "record.json").write_text(json.dumps(data))
    with pytest.raises(RecordError, match=says):
        read_record(tmp_path / "record.json")


def test_times_may_be_changed_without_harm(folder, tmp_path):
    add(folder, 0, claim(), {})
    record, outcomes = merge(folder, "m", FACTS)
    write_record(tmp_path / "record.json", record | {"times": {}}, outcomes)
    assert read_record(tmp_path / "record.json").data["times"] == {}


def test_what_is_no_record_is_refused(tmp_path):
    (tmp_path / "x.json").write_text("[1]")
    with pytest.raises(RecordError, match="no record"):
        read_record(tmp_path / "x.json")


def test_names_of_files(tmp_path):
    assert outcomes_path(tmp_path / "record.json").name == "outcomes.parquet"
    assert outcomes_path(tmp_path / "base.json").name == "base.outcomes.parquet"
    assert record_path(tmp_path / "base.json", "gpt2", 1).name == "base.json"
    assert record_path(tmp_path / "base.json", "gpt2", 2).name == "base-gpt2.json"
