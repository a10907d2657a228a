from __future__ import annotations

import time
from dataclasses import dataclass, replace

import pytest

from stillwired.clock import CLOCK, ELSE, FITS, JUDGING
from stillwired.errors import (
    AnatomyError,
    CacheError,
    ClaimError,
    EngineError,
    MismatchError,
    MissingComponentError,
    UsageError,
)
from stillwired.judge import Claim, InstrumentCheck, Level, Obstacle, Outcome, Paper, Word
from stillwired.options import RunOptions
from stillwired.records.record import merge
from stillwired.records.run import RunFolder
from stillwired.records.session import Judge, Run, cell_of, check_cells, obstacle_of
from stillwired.settings import Settings

CLAIM = Claim(
    id="some-paper/finding",
    version=1,
    says="Something is so.",
    source=Paper("some-paper", "Some Paper", "A. Author", "Venue 2026").at("Table 1"),
    published="0.5",
    expects=(Level("arm", at_least=0.1),),
    margin=0.1,
    mutant="shuffled",
    primary={"depth": 1.0},
)
ARM = Outcome("arm", [f"d{i}:0" for i in range(40)], [f"d{i}" for i in range(40)], [1.0] * 40)


@dataclass
class Fake:
    name: str
    layers: int = 4

    def to_json(self):
        return {"name": self.name, "layers": self.layers}


def run_of(tmp_path, **settings):
    options = RunOptions(Settings(**settings))
    return Run(options, RunFolder(tmp_path / "run", "token"), print)


def test_a_mutant_is_made_of_the_sound_checkpoint_which_is_prepared_once(tmp_path):
    asked = []

    def how(spec):
        asked.append(spec)
        return Fake(spec)

    run = run_of(tmp_path)
    run.prepare_all(["m", "m~rounded-to-4-bits", "n~noise-of-a-half"], how)
    assert asked == ["m", "n"]
    assert run.prepared("m") == run.prepared("m~rounded-to-4-bits").sound == Fake("m")
    known = run.folder.notes("checkpoint")
    assert known["m~rounded-to-4-bits"]["name"] == "m~rounded-to-4-bits"
    assert known["m~rounded-to-4-bits"]["layers"] == 4


def test_what_goes_wrong_under_a_mutant_was_noticed():
    """Otherwise it is an error; an error of the machine stays one."""
    for error in (EngineError("Nothing changed."), AnatomyError("No."), ClaimError("No rows.")):
        assert obstacle_of(error) is None
        assert obstacle_of(error, "m") is None
        noticed = obstacle_of(error, "m~rounded-to-4-bits")
        assert (noticed.word, noticed.name) == (Word.BROKEN, "noticed by an error")
        assert noticed.detail == str(error)
    for error in (CacheError("Full."), UsageError("No."), ValueError("No.")):
        assert obstacle_of(error, "m~rounded-to-4-bits") is None
    lacking = obstacle_of(MissingComponentError("No heads."), "m~rounded-to-4-bits")
    assert lacking.word is Word.NOT_APPLICABLE


def test_figures_stand_in_the_record_of_their_own_checkpoint(tmp_path):
    run = run_of(tmp_path, models=("m", "n"))
    run.note_figure("shared", {"x": 0})
    run.note_figure("map", {"x": 1}, "m")
    run.note_figure("map", {"x": 2}, "n")
    figures = {spec: merge(run.folder, spec, run.facts)[0]["figures"] for spec in ("m", "n")}
    assert figures["m"] == {"shared": {"x": 0}, "map": {"x": 1}}
    assert figures["n"] == {"shared": {"x": 0}, "map": {"x": 2}}


def test_the_checkpoint_is_no_part_of_a_cell():
    cell = cell_of(CLAIM, {"checkpoint_spec": "m", "ahead": 2, "depth": 0.5}, "test", 3)
    assert (cell.spec, dict(cell.params), cell.order) == ("m", {"ahead": 2, "depth": 0.5}, 3)
    assert cell.key == "some-paper/finding[ahead=2, depth=0.5]"


def test_block_1_is_not_taken_for_relative_depth_1():
    assert CLAIM.is_primary(cell_of(CLAIM, {"depth": 1.0}, "test").params)
    block = cell_of(CLAIM, {"depth": 1}, "test")
    assert dict(block.params) == {"block": 1}
    assert not CLAIM.is_primary(block.params)


@pytest.mark.parametrize("value", [(1, 2), None, object(), ARM])
def test_parameters_that_have_no_place_in_a_record_are_refused(value):
    with pytest.raises(ClaimError, match="test_x: the parameter thing is a"):
        cell_of(CLAIM, {"thing": value}, "test_x")


def test_cells_that_collide_are_refused():
    one, two = cell_of(CLAIM, {"ahead": 1}, "a"), cell_of(CLAIM, {"ahead": 2}, "b")
    check_cells({"a": one, "b": two})
    check_cells({"a": one, "b": replace(one, spec="other")})
    with pytest.raises(ClaimError, match=r"a and b both judge some-paper/finding\[ahead=1\]"):
        check_cells({"a": one, "b": one})
    changed = replace(two, claim=replace(CLAIM, published="0.6"))
    with pytest.raises(ClaimError, match="a and b declare some-paper/finding differently"):
        check_cells({"a": one, "b": changed})


def test_a_checkpoint_is_prepared_once_and_noted(tmp_path):
    run, made = run_of(tmp_path), []

    def how(spec):
        made.append(spec)
        return Fake(spec)

    run.prepare_all(["m", "n"], how)
    run.prepare_all(["m"], how)
    assert made == ["m", "n"]
    assert run.prepared("m").name == "m"
    assert run.facts.checkpoints == {
        "m": {"name": "m", "layers": 4},
        "n": {"name": "n", "layers": 4},
    }
    with pytest.raises(ClaimError, match="has not prepared 'x'"):
        run.prepared("x")


def test_a_block_that_is_not_there_stops_the_run_before_it_leaves_anything(tmp_path):
    run = run_of(tmp_path, layers=(0.5, 4))
    with pytest.raises(UsageError, match="block 4 does not exist; m has blocks 0 to 3"):
        run.prepare("m", Fake)
    assert list(tmp_path.iterdir()) == []


def test_names_follow_the_models_that_were_asked_for(tmp_path):
    run = run_of(tmp_path, models=("/a/gpt2", "/b/gpt2"))
    assert run.name_of("/b/gpt2") == "gpt2-2"
    assert run.name_of("/c/other") == "other"
    assert run.name_of(None) == "no-model"


def test_notes(tmp_path):
    run = run_of(tmp_path)
    run.note_corpus({"name": "text", "digest": "ab"})
    run.note_time("fit", 1.23456)
    with run.timed("read"):
        pass
    with pytest.raises(ValueError, match="x"), run.timed("broken off"):
        raise ValueError("x")
    assert run.folder.notes("corpus") == {"corpus": {"name": "text", "digest": "ab"}}
    times = run.folder.notes("time")
    assert times["fit"] == 1.235
    assert set(times) == {"fit", "read", "broken off"}


def test_a_verdict_is_kept_as_soon_as_it_is_there(tmp_path):
    with CLOCK.spending(FITS):
        time.sleep(0.01)
    run = run_of(tmp_path)
    judge = Judge(run, "test_x", cell_of(CLAIM, {"depth": 1.0}, "test_x", 5))
    verdict = judge(arm=ARM, checks=[InstrumentCheck("adds up", True)])
    assert verdict.verdict is Word.HOLDS
    assert verdict.primary
    (cell,) = run.folder.cells()
    assert cell.order == 5
    assert cell.verdict == verdict.to_json()
    assert cell.evidence["instrument"] == [{"name": "adds up", "passed": True, "detail": ""}]
    with pytest.raises(ClaimError, match="judges twice"):
        judge(arm=ARM)
    assert len(run.folder.cells()) == 1
    (spent,) = run.folder.notes("spent").values()
    assert {JUDGING, ELSE} <= set(spent)
    # What the process did before the run began is none of it.
    assert FITS not in spent
    assert CLOCK.spent[FITS] > 0
    # Another process of the run has a note of its own; the record adds them up.
    run.folder.note("spent", "another process", {JUDGING: 2.0, FITS: 3.0})
    record, _ = merge(run.folder, None, run.facts)
    assert record["times"]["spent"][JUDGING] == pytest.approx(spent[JUDGING] + 2.0)
    assert record["times"]["spent"][FITS] == pytest.approx(3.0)


def test_what_stands_beside_is_kept_with_its_rows(tmp_path):
    run = run_of(tmp_path)
    judge = Judge(run, "test_x", cell_of(CLAIM, {"depth": 1.0}, "test_x", 5))
    other = replace(ARM, name="no state")
    verdict = judge(arm=ARM, beside={"no state": {"late": other}}, facts={"trained": 5760})
    assert verdict.verdict is Word.HOLDS
    assert [one.name for one in verdict.beside] == ["no state [late]"]
    (cell,) = run.folder.cells()
    assert cell.verdict == verdict.to_json()
    assert cell.evidence["facts"] == cell.verdict["facts"] == {"trained": 5760}
    kept = cell.evidence["beside"]["no state"]["late"]
    assert cell.outcomes[kept]["name"] == "no state"
    assert (run.folder.outcomes / f"{kept}.parquet").is_file()


def test_a_cell_that_could_not_be_measured_is_kept_like_any_other(tmp_path):
    run = run_of(tmp_path)
    judge = Judge(run, "test_x", cell_of(CLAIM, {"depth": 1.0}, "test_x", 5))
    verdict = judge.unmeasured(Obstacle("ability", "parts", "Mamba has no heads."))
    assert judge.verdict is verdict
    assert (verdict.verdict, verdict.primary) == (Word.NOT_APPLICABLE, True)
    (cell,) = run.folder.cells()
    assert (cell.order, cell.outcomes, cell.verdict) == (5, {}, verdict.to_json())
    assert cell.evidence["obstacle"]["detail"] == "Mamba has no heads."
    with pytest.raises(ClaimError, match="judges twice"):
        judge(arm=ARM)
    with pytest.raises(ClaimError, match="carries no claim"):
        Judge(run, "test_x", None).unmeasured(Obstacle("ability", "parts", "No heads."))


def test_two_errors_say_something_about_the_measurement_and_no_others_do():
    broken = obstacle_of(MismatchError("0.3 one way,\n    0.4 the other."))
    assert broken == Obstacle("instrument", "repeated another way", "0.3 one way, 0.4 the other.")
    assert broken.word is Word.BROKEN
    missing = obstacle_of(MissingComponentError("Mamba has no heads."))
    assert missing == Obstacle("ability", "parts of the model", "Mamba has no heads.")
    assert missing.word is Word.NOT_APPLICABLE
    assert obstacle_of(MismatchError()).detail == "MismatchError"
    for other in (EngineError("x"), AnatomyError("x"), ClaimError("x"), RuntimeError("x")):
        assert obstacle_of(other) is None


def test_judging_needs_a_claim_and_fitting_evidence(tmp_path):
    run = run_of(tmp_path)
    with pytest.raises(ClaimError, match="carries no claim"):
        Judge(run, "test_x", None)(arm=ARM)
    judge = Judge(run, "test_x", cell_of(CLAIM, {}, "test_x"))
    with pytest.raises(ClaimError):
        judge(other=ARM)
    assert judge.verdict is None
    assert run.folder.cells() == []
