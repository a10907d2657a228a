"""A redraw of a real run: other rows on the same fits, and a cache that is left as it was."""

from __future__ import annotations

import pytest

from stillwired.records.record import read_record
from stillwired.records.rejudge import rejudge, same
from stillwired.store.cache import Store
from tests.running import run, save_tiny, write_text

# Bigrams are counted, maps are fitted and a depth is chosen; the lens only reads.
CLAIMS = ("-p", "tests.small_run", "-k", "(linear_beats_bigram and all) or guesses_improve")
COARSE = ("--claims-dtype", "bfloat16", "--claims-redraw", "seed-1+reference-fits")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("runs")


@pytest.fixture(scope="module")
def ran(folder):
    """A run and two redraws of it: their records by name, and the cache before and after."""
    model, text = save_tiny(folder / "tiny"), write_text(folder / "text.jsonl", 400)
    wanted = (*CLAIMS, "--claims-model", model, "--claims-corpus", text)
    records, cached = {}, []
    for name, options in {
        "plain": (),
        "coarse": COARSE,
        "documents": ("--claims-redraw", "documents-1"),
    }.items():
        path = folder / "out" / f"{name}.json"
        done = run(folder, *wanted, *options, "--claims-record", path)
        assert path.is_file(), done.output
        records[name] = read_record(path)
        store = Store(folder / "cache")
        cached.append({(entry.kind, entry.key, entry.created) for entry in store.entries()})
    return records, cached


def judged(record):
    """Examples and documents behind a record's verdicts, abilities apart."""
    import pyarrow.parquet as pq

    table = pq.read_table(record.path.with_name(f"{record.path.stem}.outcomes.parquet"))
    arms = {
        name
        for verdict in record.data["verdicts"]
        for arm in verdict["evidence"]["arms"].values()
        for name in (arm.values() if isinstance(arm, dict) else (arm,))
    }
    rows = [row for row in table.to_pylist() if row["outcome"] in arms]
    return {row["example"] for row in rows}, {row["cluster"] for row in rows}


def test_a_redraw_judges_other_rows_and_says_so(ran):
    records, _ = ran
    plain, coarse, documents = (records[name] for name in ("plain", "coarse", "documents"))
    assert "redraw" not in plain.data
    assert coarse.data["redraw"] == "seed-1+reference-fits"
    assert coarse.data["checkpoint"]["regime"]["dtype"] == "bfloat16"
    assert documents.data["redraw"] == "documents-1"
    rows = {name: judged(record) for name, record in records.items()}
    assert all(examples for examples, _ in rows.values())
    # Documents of one window are drawn again, a few of them with a position of before.
    again = rows["plain"][0] & rows["coarse"][0]
    assert len(again) < 0.2 * len(rows["plain"][0])
    assert not rows["plain"][1] & rows["documents"][1]
    for record in records.values():
        assert record.data["corpus"] == plain.data["corpus"]
        assert all(same(stored, derived) for stored, derived in rejudge(record.path))


def test_a_redraw_leaves_the_cache_as_it_was(ran, folder):
    _, (before, *after) = ran
    kinds = {kind for kind, _, _ in before}
    assert {"survey", "readings"} <= kinds
    assert after == [before, before]
    assert {path.name for path in (folder / "cache" / "tmp").iterdir()} == {"sweep.lock"}
