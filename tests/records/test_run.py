from __future__ import annotations

import multiprocessing
import platform
import re
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from stillwired.errors import RecordError
from stillwired.judge import (
    Claim,
    Evidence,
    Level,
    Outcome,
    Paper,
    Verdict,
    Word,
)
from stillwired.options import RunOptions
from stillwired.records.run import RunFolder, environment, new_folder, run_name
from stillwired.settings import Settings

PAPER = Paper("some-paper", "Some Paper", "A. Author", "Venue 2026")
CLAIM = Claim(
    id="some-paper/finding",
    version=1,
    says="Something is so.",
    source=PAPER.at("Table 1"),
    published="0.5",
    expects=(Level("arm", at_least=0.1),),
    margin=0.1,
    mutant="shuffled",
)
EVIDENCE = Evidence({"arm": Outcome("arm", ["d0:0", "d1:0"], ["d0", "d1"], [0.0, 1.0])})


def verdict(**params):
    return Verdict(CLAIM.id, 1, params, True, Word.HOLDS, estimate=0.5, low=0.4, high=0.6)


def reserve(arguments):
    wanted, token = arguments
    return str(RunFolder(wanted, token).path)


def test_processes_of_one_run_share_a_folder_and_other_runs_stay_out(tmp_path):
    wanted = tmp_path / "records" / "now"
    jobs = [(wanted, token) for token in ("a", "b", "c") for _ in range(6)]
    with multiprocessing.get_context("spawn").Pool(3) as pool:
        found = pool.map(reserve, jobs, chunksize=1)
    of_token = {
        token: {f for f, job in zip(found, jobs, strict=True) if job[1] == token} for token in "abc"
    }
    assert all(len(folders) == 1 for folders in of_token.values())
    assert set.union(*of_token.values()) == {str(wanted), f"{wanted}-2", f"{wanted}-3"}


def test_what_a_killed_run_left_is_removed_and_one_under_way_is_left_alone(tmp_path):
    source = """
        import sys, time
        from pathlib import Path
        from stillwired.records.run import RunFolder
        RunFolder(Path(sys.argv[1]), "dead").note("kind", "name", 1)
        print("noted", flush=True)
        time.sleep(60)
        """
    wanted = tmp_path / "base.run"
    command = [sys.executable, "-c", textwrap.dedent(source), str(wanted)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout.readline() == "noted\n"
        beside = RunFolder(wanted, "beside")
        assert beside.path == tmp_path / "base.run-2"
        assert [*wanted.glob("notes/*")] != []
        beside.clear()
        process.kill()
    after = RunFolder(wanted, "after")
    assert after.path == wanted
    assert after.notes("kind") == {}
    # This one is under way itself now, and no other run takes its place.
    after.note("kind", "name", 2)
    assert RunFolder(wanted, "later").path == tmp_path / "base.run-2"
    assert after.notes("kind") == {"name": 2}


def test_a_folder_whose_removal_was_cut_short_is_taken(tmp_path):
    (tmp_path / "now" / "run").mkdir(parents=True)
    (tmp_path / "now" / "cells").mkdir()
    folder = RunFolder(tmp_path / "now", "a")
    assert folder.path == tmp_path / "now"
    folder.clear()
    assert list(tmp_path.iterdir()) == []


def test_a_record_in_a_dead_run_s_folder_is_kept(tmp_path):
    folder = RunFolder(tmp_path / "now", "a")
    folder.note("kind", "name", 1)
    (folder.path / "record.json").write_text("{}")
    folder._release()
    assert RunFolder(tmp_path / "now", "b").path == tmp_path / "now-2"
    assert [*(tmp_path / "now" / "notes").iterdir()] != []


def test_a_finished_record_is_never_written_into(tmp_path):
    (tmp_path / "now").mkdir()
    (tmp_path / "now" / "record.json").write_text("{}")
    assert RunFolder(tmp_path / "now", "a").path == tmp_path / "now-2"


def test_nothing_is_made_before_it_is_needed(tmp_path):
    RunFolder(tmp_path / "now", "a")
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_cannot_be_made_is_explained(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(RecordError, match="cannot be written"):
        _ = RunFolder(tmp_path / "file" / "now", "a").path


def test_cells_come_back_in_the_order_of_their_tests(tmp_path):
    folder = RunFolder(tmp_path / "now", "a")
    for order in (10, 2, 7):
        folder.add(CLAIM, verdict(ahead=order), EVIDENCE, order=order, spec="m", seconds=0.1234567)
    cells = RunFolder(tmp_path / "now", "a").cells()
    assert [cell.order for cell in cells] == [2, 7, 10]
    assert cells[0].verdict == verdict(ahead=2).to_json()
    assert cells[0].declaration == CLAIM.to_json()
    assert cells[0].spec == "m"
    assert cells[0].seconds == 0.123
    (name,) = cells[0].outcomes
    assert cells[0].evidence["arms"] == {"arm": name}
    assert cells[0].outcomes[name] == {"name": "arm", "factors": {}, "rows": 2}
    assert [file.name for file in folder.outcomes.iterdir()] == [f"{name}.parquet"]


def test_notes_are_kept_by_kind_and_name(tmp_path):
    folder = RunFolder(tmp_path / "now", "a")
    folder.note("time", "b", 1)
    folder.note("time", "a", 2)
    folder.note("corpus", "a", {"digest": "x"})
    folder.note("time", "b", 3)
    assert list(folder.notes("time").items()) == [("a", 2), ("b", 3)]
    assert folder.notes("corpus") == {"a": {"digest": "x"}}
    assert folder.notes("nothing") == {}


def test_clearing_keeps_the_record_and_removes_an_empty_folder(tmp_path):
    kept, left = RunFolder(tmp_path / "kept", "a"), RunFolder(tmp_path / "left", "a")
    for folder in (kept, left):
        folder.add(CLAIM, verdict(), EVIDENCE, order=0, spec=None, seconds=0)
        folder.note("time", "x", 1)
    (kept.path / "record.json").write_text("{}")
    kept.clear()
    left.clear()
    assert [file.name for file in kept.path.iterdir()] == ["record.json"]
    assert [file.name for file in tmp_path.iterdir()] == ["kept"]


def test_names_of_runs():
    assert re.fullmatch(r"\d{8}-\d{6}-gpt2", run_name(("gpt2",), 0.0))
    assert re.fullmatch(r"\d{8}-\d{6}", run_name(("gpt2", "gpt3"), 0.0))


def test_a_new_run_has_a_folder_of_its_own_beside_the_record_that_is_asked_for(tmp_path):
    settings = Settings(models=("org/gpt2",))
    usual = new_folder(RunOptions(settings), tmp_path, 0.0)
    assert usual.wanted.parent == tmp_path / ".stillwired" / "records"
    assert usual.wanted.name.endswith("-gpt2")
    asked = RunOptions(settings, tmp_path / "out" / "base.json")
    first, second = (new_folder(asked, tmp_path, 0.0) for _ in range(2))
    assert first.wanted == tmp_path / "out" / "base.run"
    assert first.path != second.path


def test_the_environment_does_not_depend_on_what_was_imported(monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "3")
    found = environment()
    assert found["threads"] == 3
    assert found["packages"]["stillwired"]
    assert "torch" in found["packages"]
    with Path("/proc/cpuinfo").open() as told:
        models = {line.partition(":")[2].strip() for line in told if line[:10] == "model name"}
    assert found["cpu"] in (models or {platform.processor()})
    monkeypatch.delenv("OMP_NUM_THREADS")
    assert environment()["threads"] >= 1
