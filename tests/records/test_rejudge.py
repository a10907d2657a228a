from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from stillwired.errors import ClaimError, RecordError
from stillwired.judge import (
    Claim,
    Difference,
    Evidence,
    InstrumentCheck,
    Level,
    Needs,
    Obstacle,
    Outcome,
    Paper,
    Steps,
    Word,
)
from stillwired.judge.verdicts import judge_cell
from stillwired.records.files import digest_of, write_json
from stillwired.records.record import RunFacts, merge, write_record
from stillwired.records.rejudge import rejudge, same
from stillwired.records.run import RunFolder

PAPER = Paper("some-paper", "Some Paper", "A. Author", "Venue 2026")
FACTS = RunFacts(profile="quick", layers=(), seed=0, regime={})


def claim(name, *expects, **more):
    return Claim(
        id=f"some-paper/{name}",
        version=1,
        says="Something is so.",
        source=PAPER.at("Table 1"),
        published="0.5",
        expects=expects,
        margin=0.1,
        mutant="shuffled",
        **more,
    )


def outcome(name, p, seed, rows=480):
    hits = np.random.default_rng(seed).random(rows) < p
    return Outcome(
        name,
        [f"d{i // 8}:{i}" for i in range(rows)],
        [f"d{i // 8}" for i in range(rows)],
        hits.astype(float),
        {"ahead": 1},
    )


A, B, C = outcome("a", 0.7, 1), outcome("b", 0.3, 2), outcome("c", 0.1, 3)
D = outcome("d", 0.5, 4, rows=80)


def blocked(kind):
    declared = claim(f"no-{kind}", Level("a", at_least=0.1), applies=(Needs("top-1", 0.5),))
    return declared, Evidence({}, obstacle=Obstacle(kind, "what", "It is not there."))


def accompanied():
    declared = claim("accompanied", Level("a", at_least=0.1))
    beside = {"late": D, "others": {"b": B, "a": A}}
    return declared, Evidence({"a": A}, beside=beside, facts={"trained": 5760, "loss": 0.1 + 0.2})


CELLS = {
    Word.HOLDS: (
        claim("holds", Difference("a", "b", at_least=0.1), rivals=("c",), null="shuffled"),
        Evidence({"a": A, "b": B, "c": C}, null={"a": B}),
    ),
    Word.FAILS: (
        claim("falls", Steps("a", at_least=0.05)),
        Evidence({"a": {"late": A, "middle": B, "first": C}}),
    ),
    Word.BROKEN: (
        claim("broken", Level("a", at_least=0.1)),
        Evidence({"a": A}, instrument=(InstrumentCheck("adds up", False, "0.3"),)),
    ),
    Word.NOT_APPLICABLE: (
        claim("cannot", Level("a", at_least=0.1), applies=(Needs("top-1", 0.5),)),
        Evidence({"a": A}, ability={"top-1": C}),
    ),
    Word.INCONCLUSIVE: (
        claim("close", Level("a", between=(0.0, float(A.scores.mean()) + 0.001))),
        Evidence({"a": A}),
    ),
    Word.REPORTED: (
        replace(
            claim("estimate", Difference("a", "b", reported=True), Level("a", reported=True)),
            margin=None,
            mutant=None,
        ),
        Evidence({"a": A, "b": {"late": B, "first": C}}, beside={"c": C}, facts={"rank": 3}),
    ),
}


@pytest.fixture
def record(tmp_path):
    folder = RunFolder(tmp_path / "run", "token")
    cells = [*CELLS.values(), blocked("instrument"), blocked("ability"), accompanied()]
    for order, (declared, evidence) in enumerate(cells):
        verdict = judge_cell(declared, evidence, {"ahead": order})
        folder.add(declared, verdict, evidence, order=order, spec=None, seconds=0)
    content, outcomes = merge(folder, None, FACTS)
    write_record(tmp_path / "record.json", content, outcomes)
    return tmp_path / "record.json"


def test_every_verdict_is_derived_again_exactly(record):
    pairs = rejudge(record)
    assert {stored.verdict for stored, _ in pairs} == set(Word)
    for stored, derived in pairs:
        assert derived == stored
        assert same(stored, derived)


def test_what_stood_in_the_way_gives_the_same_verdict_again(record):
    words = {
        derived.claim: derived.verdict
        for stored, derived in rejudge(record)
        if derived == stored and derived.reason == "It is not there."
    }
    assert words == {
        "some-paper/no-instrument": Word.BROKEN,
        "some-paper/no-ability": Word.NOT_APPLICABLE,
    }


def test_what_stands_beside_is_derived_again_from_its_rows(record):
    (pair,) = [pair for pair in rejudge(record) if pair[0].claim.endswith("accompanied")]
    assert [[one.name for one in verdict.beside] for verdict in pair] == [
        ["late", "others [b]", "others [a]"]
    ] * 2
    assert pair[1].beside[0].n == 80
    assert pair[1].facts == {"trained": 5760, "loss": 0.1 + 0.2}
    assert not same(pair[0], replace(pair[1], beside=pair[1].beside[1:]))
    assert not same(pair[0], replace(pair[1], facts={"trained": 5761, "loss": 0.1 + 0.2}))


def older(data):
    """A record as it was written when nothing could be reported or stand beside."""
    told = {"REPORTED", "accompanied"}
    data["verdicts"] = [
        verdict
        for verdict in data["verdicts"]
        if not told & {verdict["verdict"], verdict["claim"].rpartition("/")[2]}
    ]
    kept = {verdict["claim"] for verdict in data["verdicts"]}
    data["declarations"] = {k: v for k, v in data["declarations"].items() if k in kept}
    return data


def test_records_of_before_are_judged_again(record):
    import json

    data = older(json.loads(record.read_text()))
    text = json.dumps([data["verdicts"], data["declarations"]])
    assert not [key for key in ("reported", "beside", "facts") if f'"{key}"' in text]
    data["digest"] = digest_of({k: v for k, v in data.items() if k not in ("digest", "times")})
    write_json(record, data)
    pairs = rejudge(record)
    assert {stored.verdict for stored, _ in pairs} == set(Word) - {Word.REPORTED}
    assert all(stored == derived for stored, derived in pairs)


def test_a_record_without_outcomes_can_be_judged(tmp_path):
    folder = RunFolder(tmp_path / "run", "token")
    declared, evidence = blocked("ability")
    verdict = judge_cell(declared, evidence, {})
    folder.add(declared, verdict, evidence, order=0, spec=None, seconds=0)
    write_record(tmp_path / "record.json", *merge(folder, None, FACTS))
    assert rejudge(tmp_path / "record.json") == [(verdict, verdict)]


def test_a_declaration_is_all_that_is_needed(record, monkeypatch):
    # The order of a family's members survives, or the steps would change their sign.
    (steps,) = [pair for pair in rejudge(record) if pair[0].claim.endswith("falls")]
    assert steps[0].verdict is Word.FAILS
    assert [part.estimate < 0 for part in steps[1].parts] == [True, True]


def test_a_verdict_that_its_outcomes_do_not_give_is_noticed(record, tmp_path):
    import json

    data = json.loads(record.read_text())
    changed = next(v for v in data["verdicts"] if v["verdict"] == "FAILS")
    changed["verdict"] = "HOLDS"
    data["digest"] = digest_of({k: v for k, v in data.items() if k not in ("digest", "times")})
    write_json(record, data)
    differing = [(stored, derived) for stored, derived in rejudge(record) if stored != derived]
    assert [(s.verdict, d.verdict) for s, d in differing] == [(Word.HOLDS, Word.FAILS)]
    assert not same(*differing[0])


def test_a_record_without_its_table_cannot_be_judged(record):
    (record.parent / "outcomes.parquet").unlink()
    with pytest.raises(RecordError, match="outcomes are missing"):
        rejudge(record)


def test_a_declaration_without_meaning_is_refused(record):
    import json

    data = json.loads(record.read_text())
    data["declarations"]["some-paper/holds"]["expects"] = [{"kind": "wish"}]
    data["digest"] = digest_of({k: v for k, v in data.items() if k not in ("digest", "times")})
    write_json(record, data)
    with pytest.raises(ClaimError, match="wish"):
        rejudge(record)


def test_rounding_is_forgiven_and_nothing_else():
    verdict = rejudge_one()
    assert same(verdict, replace(verdict, low=verdict.low * (1 + 1e-12)))
    assert not same(verdict, replace(verdict, low=verdict.low + 1e-6))
    assert not same(verdict, replace(verdict, reason="other"))
    assert not same(verdict, replace(verdict, low=None))
    assert not same(verdict, replace(verdict, parts=()))


def rejudge_one():
    return judge_cell(*CELLS[Word.HOLDS], {})
