from __future__ import annotations

import json
from dataclasses import replace

import pytest

from stillwired.errors import RecordError
from stillwired.judge import Claim, Evidence, Level, Outcome, Paper, Verdict, Word
from stillwired.records.files import digest_of
from stillwired.records.merging import merge_records, require_place
from stillwired.records.record import (
    RunFacts,
    merge,
    outcomes_path,
    read_record,
    record_path,
    write_record,
)
from stillwired.records.rejudge import rejudge
from stillwired.records.run import RunFolder

FACTS = RunFacts(
    profile="quick",
    layers=(),
    seed=0,
    regime={"device": "cpu", "dtype": "float32", "attention": "eager"},
    checkpoints={"m": {"name": "m", "digest": "ab", "layers": 4}},
    started=1_700_000_000.0,
)
CELLS = [("b", 10), ("a", 1), ("b", 9), ("c", 1), ("a", 2)]
SHARED = Outcome("shared", ["d0:0", "d1:0"], ["d0", "d1"], [1.0, 0.0])


def claim(name, published="0.5"):
    return Claim(
        id=f"some-paper/{name}",
        version=1,
        says="Something is so.",
        source=Paper("some-paper", "Some Paper", "A. Author", "Venue 2026").at("Table 1"),
        published=published,
        expects=(Level("arm", at_least=0.1),),
        margin=0.1,
        mutant="shuffled",
    )


def judged(folder, order, name, ahead, score=None, published="0.5"):
    scores = [0.0, float(order) if score is None else score]
    arm = Outcome(f"arm of {name}", ["d0:0", "d1:0"], ["d0", "d1"], scores)
    verdict = Verdict(
        f"some-paper/{name}", 1, {"ahead": ahead}, False, Word.HOLDS, estimate=scores[1]
    )
    evidence = Evidence({"arm": arm}, beside={"shared": SHARED})
    folder.add(claim(name, published), verdict, evidence, order=order, spec="m", seconds=order + 1)


@pytest.fixture
def written(tmp_path):
    """Write a record of some cells: of a whole run, or of a shard of one."""

    def write(name, cells, facts=FACTS, shard=None, notes=(), broken_off=False, **more):
        folder = RunFolder(tmp_path / f"{name}.run", "token")
        for order in cells:
            judged(folder, order, *CELLS[order], **more)
        for kind, what, value in notes:
            folder.note(kind, what, value)
        if shard is not None:
            folder.note("shard", "m", shard)
        if broken_off:
            folder.note("incomplete", "incomplete", True)
        path = tmp_path / f"{name}.json"
        write_record(path, *merge(folder, "m", facts))
        return path

    return write


def shard(part, of=2, holders=(1, 2), plan="p"):
    return {"of": of, "parts": [part], "holders": list(holders), "plan": plan}


CORPUS = ("corpus", "corpus", {"name": "text", "digest": "cd"})
TASKS = ("tasks", "tasks", {"antonym": "ef"})
ONE = ("figure", "head map", {"effects": [1]})
TWO = ("figure of m", "head map of all", {"effects": [2]})
REFITS = {f"some-paper/{name}[ahead={ahead}]": {"arm": 0.1 * ahead} for name, ahead in CELLS}
KNOWN = ("refits", "refits", REFITS)


def test_shards_add_up_to_the_record_of_the_whole_run(written, tmp_path):
    whole = read_record(written("whole", range(5), notes=(CORPUS, TASKS, ONE, TWO, KNOWN)))
    assert len(whole.data["refits"]) == 5
    notes = (CORPUS, TWO, KNOWN, ("cells", "heads", [2, 8]))
    one = written("one", [0, 3], shard=shard(1), notes=notes)
    notes = (TASKS, ONE, KNOWN, ("cells", "heads", [3, 9]))
    two = written("two", [1, 2, 4], shard=shard(2), notes=notes)
    for order in ([one, two], [two, one], [one, two, one]):
        merged = merge_records(order)
        assert merged.missing == merged.incomplete == ()
        write_record(tmp_path / "merged.json", merged.record, merged.outcomes)
        read = read_record(tmp_path / "merged.json")
        assert read.data["digest"] == whole.data["digest"]
        assert {**read.data, "times": 0} == {**whole.data, "times": 0}
        ours, theirs = (outcomes_path(r.path).read_bytes() for r in (read, whole))
        assert ours == theirs
        assert read.data["times"]["cells"] == whole.data["times"]["cells"]
        assert read.data["times"]["sweeps"] == {"heads": [5, 17]}
    assert len(rejudge(tmp_path / "merged.json")) == 5


def test_a_shard_says_which_it_is_within_its_digest(written):
    path = written("one", [0], shard=shard(1))
    assert read_record(path).data["shard"] == shard(1)
    data = json.loads(path.read_text())
    data["shard"]["parts"] = [2]
    path.write_text(json.dumps(data))
    with pytest.raises(RecordError, match="edited"):
        merge_records([path])


def test_a_whole_record_is_no_shard(written):
    with pytest.raises(RecordError, match=r"whole\.json is a whole record and no shard's"):
        merge_records([written("one", [0], shard=shard(1)), written("whole", [1])])


def test_a_missing_shard_is_named_unless_a_part_is_asked_for(written, tmp_path):
    holders = (1, 2, 4)
    one = written("one", [0], shard=shard(1, 4, holders))
    two = written("two", [1], shard=shard(2, 4, holders))
    four = written("four", [2], shard=shard(4, 4, holders))
    with pytest.raises(RecordError, match=r"Of the 4 shards of this run 2, 4 are not here"):
        merge_records([one])
    # The third holds no cell of this checkpoint.
    whole = merge_records([one, two, four])
    assert "shard" not in whole.record
    part = merge_records([one, four], partial=True)
    assert part.missing == (2,)
    assert part.record["shard"] == {**shard(1, 4, holders), "parts": [1, 4]}
    assert "incomplete" not in part.record
    write_record(tmp_path / "part.json", part.record, part.outcomes)
    again = merge_records([two, tmp_path / "part.json"])
    assert again.record["digest"] == whole.record["digest"]


def test_errors_of_a_shard_are_not_forgotten(written, tmp_path):
    one = written("one", [0], shard=shard(1, 3, (1, 2, 3)), broken_off=True)
    two = written("two", [1], shard=shard(2, 3, (1, 2, 3)))
    three = written("three", [2], shard=shard(3, 3, (1, 2, 3)))
    part = merge_records([one, two], partial=True)
    assert part.record["incomplete"] is True
    assert part.incomplete == (1,)
    write_record(tmp_path / "part.json", part.record, part.outcomes)
    assert merge_records([tmp_path / "part.json", three]).incomplete == (1, 2)


DIFFERENT = {
    "the checkpoint's digest": replace(FACTS, checkpoints={"m": {"name": "m", "digest": "ba"}}),
    "the regime": replace(FACTS, regime={**FACTS.regime, "dtype": "bfloat16"}),
    "the profile": replace(FACTS, profile="standard"),
    "the layers": replace(FACTS, layers=(0.5,)),
    "the seed": replace(FACTS, seed=1),
}


@pytest.mark.parametrize("what", DIFFERENT)
def test_shards_of_other_runs_are_refused_with_what_differs(what, written):
    one = written("one", [0], shard=shard(1))
    facts = DIFFERENT[what]
    if "digest" in what:
        facts.checkpoints["m"]["layers"] = 4
    with pytest.raises(RecordError, match=rf"one\.json and .*two\.json are not .*: {what} is "):
        merge_records([one, written("two", [1], facts, shard(2))])


@pytest.mark.parametrize(
    ("other", "what"),
    [
        ({"notes": [("corpus", "corpus", {"name": "text", "digest": "dc"})]}, "the text"),
        ({"notes": [("tasks", "tasks", {"antonym": "fe"})]}, "the digests of the tasks"),
        ({"shard": shard(2, of=3)}, "the number of shards"),
        ({"shard": shard(2, plan="q")}, "the digest of what is claimed and who judges it"),
    ],
)
def test_shards_of_other_data_or_claims_are_refused(other, what, written):
    one = written("one", [0], shard=shard(1), notes=(CORPUS, TASKS))
    two = written("two", [1], **{"shard": shard(2), **other})
    with pytest.raises(RecordError, match=f"not shards of one run: {what} is "):
        merge_records([one, two])


def rewrite(path, change):
    """Change a record and give it the digest of what it says now."""
    data = json.loads(path.read_text())
    times = data.pop("times")
    del data["digest"]
    change(data)
    path.write_text(json.dumps({**data, "digest": digest_of(data), "times": times}))


@pytest.mark.parametrize(("name", "value"), [("torch", "1.0"), ("threads", 99), ("python", "2.7")])
def test_shards_that_were_computed_otherwise_are_refused(name, value, written):
    one, two = written("one", [0], shard=shard(1)), written("two", [1], shard=shard(2))

    def change(data):
        environment = data["environment"]
        (environment["packages"] if name == "torch" else environment)[name] = value

    rewrite(two, change)
    with pytest.raises(RecordError, match=f"{name} is .*Install the same versions"):
        merge_records([one, two])


OLD, NEW = {"stillwired": "12" * 32, "claims": "34" * 32}, {"stillwired": "ef" * 32}


@pytest.mark.parametrize(
    ("then", "now", "says"),
    [
        (OLD, OLD | NEW, "code of stillwired is 12121212… in one and efefefef… in the other"),
        (OLD, OLD | {"claims": "5"}, "code of claims is 34343434… in one and 5… in the other"),
        (OLD, None, "code of stillwired is 12121212… in one and unknown in the other"),
        (None, OLD, "code of stillwired is unknown in one and 12121212… in the other"),
    ],
)
def test_shards_of_other_code_are_refused(then, now, says, written):
    notes = [[("code", "code", code)] if code else [] for code in (then, now)]
    one = written("one", [0], shard=shard(1), notes=notes[0])
    two = written("two", [1], shard=shard(2), notes=notes[1])
    with pytest.raises(RecordError, match=f"{says}. Run every shard from one state of the code"):
        merge_records([one, two])


def test_shards_of_one_code_keep_it_and_the_profile_s_sizes(written):
    facts = replace(FACTS, sizes={"names": 100})
    notes = [("code", "code", OLD)]
    one = written("one", [0], facts, shard(1), notes)
    two = written("two", [1], facts, shard(2), notes)
    merged = merge_records([one, two]).record
    assert (merged["environment"]["code"], merged["sizes"]) == (OLD, {"names": 100})
    whole = read_record(written("whole", [0, 1], facts, notes=notes))
    assert merged["digest"] == whole.data["digest"]


def test_the_same_machine_under_another_kernel_and_folder_is_accepted(written):
    one, two = written("one", [0], shard=shard(1)), written("two", [1], shard=shard(2))
    rewrite(one, lambda data: data["environment"].update(cpu="One"))
    rewrite(two, lambda data: data["environment"].update(platform="Linux-other", cpu="Another"))
    rewrite(two, lambda data: data["checkpoint"].update(spec="/elsewhere/m"))
    merged = merge_records([one, two]).record
    assert merged["environment"]["platform"].endswith("; Linux-other")
    assert merged["environment"]["cpu"] == "One; Another"
    assert merged["checkpoint"]["spec"] == "m"


def test_a_cell_that_two_shards_judge_must_be_the_same(written):
    one = written("one", [0, 1], shard=shard(1))
    assert len(merge_records([one, written("two", [1, 2], shard=shard(2))]).record["verdicts"]) == 3
    with pytest.raises(RecordError, match=r"both judge some-paper/a\[ahead=1\] and do not agree"):
        merge_records([one, written("other", [1], shard=shard(2), score=0.25)])
    with pytest.raises(RecordError, match=r"both judge .* and do not agree"):
        merge_records([one, written("declared", [1], shard=shard(2), published="0.6")])


def test_claims_must_be_declared_alike_and_pictures_be_the_same(written):
    one = written("one", [1], shard=shard(1), notes=(ONE,))
    with pytest.raises(RecordError, match="declare some-paper/a differently"):
        merge_records([one, written("two", [4], shard=shard(2), published="0.6")])
    other = ("figure", "head map", {"effects": [9]})
    with pytest.raises(RecordError, match="have other figures for 'head map'"):
        merge_records([one, written("three", [2], shard=shard(2), notes=(other,))])


def test_one_shard_twice_with_other_content_is_refused(written):
    one, again = written("one", [0], shard=shard(1)), written("again", [0, 1], shard=shard(1))
    with pytest.raises(RecordError, match=r"are both shard 1 and differ"):
        merge_records([one, again], partial=True)


def test_the_merged_record_takes_no_shards_place(written, tmp_path):
    one = written("one", [0], shard=shard(1))
    with pytest.raises(RecordError, match=r"would take the place of .*one\.json"):
        require_place(tmp_path / "x" / ".." / "one.json", [one])
    with pytest.raises(RecordError, match=r"does not end in \.json"):
        require_place(tmp_path / "merged", [one])
    require_place(record_path(tmp_path / "all.json", "m", 2), [one])
