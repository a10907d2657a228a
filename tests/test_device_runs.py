"""Runs that ask for a device: what they compute on, what the record says, what does not fit."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from transformers import AutoModelForCausalLM

from stillwired.checkpoints import memory
from stillwired.checkpoints import regime as regimes
from stillwired.checkpoints.checkpoint import Checkpoint
from stillwired.checkpoints.prepare import prepare
from stillwired.engine.engine import Engine
from stillwired.engine.sites import logits
from stillwired.errors import UsageError
from stillwired.options import RunOptions
from stillwired.records.record import read_record
from stillwired.records.run import RunFolder
from stillwired.records.session import Run
from stillwired.settings import Settings
from stillwired.store.cache import Store
from tests.engine.pretend import Pretended, spread
from tests.engine.tiny import tiny

pytest_plugins = ["pytester"]

ROOT = Path(__file__).parent.parent

CONFTEST = """
import stillwired.checkpoints.memory as memory

{more}
pytest_plugins = ["fixtures.checkpoints"]
"""

CLAIMS = """
import pytest

from stillwired.judge import *

READ = Claim(
    id="a-paper/read",
    version=1,
    says="It can be read.",
    source=Paper("a-paper", "A Paper", "A. Author", "Venue 2026").at("Table 1"),
    published="0.5",
    expects=(Level("arm", at_least=0.1),),
    margin=0.1,
    mutant="shuffled",
)


@pytest.mark.claim(READ)
def test_read(engine, judge):
    prompts = [[k % 60 + 1, 2, 3] for k in range(40)]
    from stillwired.engine.sites import logits
    (reading,) = engine().read(prompts, [logits(-1)])
    documents = [f"d{k}" for k in range(40)]
    sums = reading[logits(-1)].softmax(-1).sum(-1).round().tolist()
    judge(arm=Outcome("sums to one", documents, documents, sums))
"""


@pytest.fixture
def run(secluded, pytester, monkeypatch):
    """Save a tiny model, and judge it in a process of its own."""
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")]))
    made = tiny("llama")
    made.model.save_pretrained(pytester.path / "model")
    made.tokenizer.save_pretrained(pytester.path / "model")
    pytester.makepyfile(test_claims=CLAIMS)

    def go(*arguments, conftest=""):
        pytester.makeconftest(CONFTEST.format(more=conftest))
        options = ("-pno:cacheprovider", "--claims-model=./model", "--claims-record=record.json")
        return pytester.runpytest_subprocess(*options, *arguments)

    return go


def test_auto_is_what_the_machine_has_and_the_record_says_what(run, pytester):
    result = run(
        "--claims-device=auto",
        "--claims-dtype=float64",
        conftest="""
import torch

torch.cuda.is_available = lambda: False
""",
    )
    assert result.ret == 0
    result.stdout.fnmatch_lines(["stillwired  model * cpu fp64 eager  quick*"])
    regime = read_record(pytester.path / "record.json").data["checkpoint"]["regime"]
    assert regime == {"device": "cpu", "dtype": "float64", "attention": "eager"}


def test_a_model_that_does_not_fit_is_an_error_and_no_verdict(run, pytester):
    result = run("-rA", conftest="memory.host_memory = lambda: 1_000")
    assert result.ret == 1
    result.stdout.fnmatch_lines(
        [
            "UsageError: model does not fit: its *weights take * kB in float32, and this machine "
            "has 1 kB of memory free. *",
            "1 not judged, because of errors.",
        ]
    )
    result.stdout.no_fnmatch_line("*FAILS*")
    assert not (pytester.path / "record.json").exists()


def test_a_map_without_gpus_stops_the_run_before_it_starts(run):
    result = run("--claims-device-map=balanced")
    assert result.ret == 4
    result.stderr.fnmatch_lines(["ERROR: --claims-device-map balanced spreads a model over CUDA*"])


def test_a_run_on_gpus_is_recorded_by_their_names(tmp_path, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(regimes, "gpus", lambda: ("Some GPU", "Some GPU"))

    def settled(**settings):
        run = Run(RunOptions(Settings(**settings)), RunFolder(tmp_path / str(settings), "t"), print)
        run.settle_device()
        # A process that has settled nothing, as xdist's controller has not, finds it noted.
        other = Run(RunOptions(Settings(**settings)), run.folder, print)
        return run.settings, other.facts.regime

    settings, regime = settled(device="auto")
    assert settings.device == "cuda"
    assert regime == {
        "device": "cuda",
        "dtype": "float32",
        "attention": "eager",
        "accelerator": "Some GPU",
    }
    settings, regime = settled(device="cuda:1", device_map="balanced")
    assert settings.device == "cuda:1"
    assert (regime["device_map"], regime["accelerator"]) == ("balanced", "2 x Some GPU")
    plain = replace(Settings(), dtype="bfloat16")
    assert settled(dtype="bfloat16") == (plain, regimes.Regime.of(plain).to_json())


@pytest.fixture
def two_gpus(tmp_path, monkeypatch):
    """Two pretended GPUs, a tiny model on disk, and a way to load it onto them.

    What accelerate does is done here; that it is asked for the right thing is what is tested.
    """
    made = tiny("llama")
    made.model.save_pretrained(tmp_path / "model")
    made.tokenizer.save_pretrained(tmp_path / "model")
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(regimes, "gpus", lambda: ("Some GPU", "Some GPU"))
    monkeypatch.setattr(memory, "gpu_memory", lambda: {0: 10**9, 1: 10**9})
    load, asked = AutoModelForCausalLM.from_pretrained, []

    def onto_gpus(folder, *, device_map, max_memory, **rest):
        asked.append((device_map, max_memory))
        model, info = load(folder, **rest)
        spread(model, made.anatomy.within(0, ""))
        return model, info

    monkeypatch.setattr(AutoModelForCausalLM, "from_pretrained", onto_gpus)
    with Pretended():
        regime = regimes.Regime("cuda", device_map="balanced")
        yield Checkpoint(prepare(str(tmp_path / "model"), Store(tmp_path / "cache")), regime), asked


def test_a_spread_checkpoint_fills_gpus_alone_and_stays_where_it_was_put(two_gpus):
    checkpoint, asked = two_gpus
    (reading,) = Engine(checkpoint).read([[1, 2, 3]], [logits(-1)])
    assert asked == [("balanced", {0: 900_000_000, 1: 900_000_000})]
    assert {str(p.device) for p in checkpoint.model.parameters()} == {"cuda:0", "cuda:1"}
    (plain,) = Engine(tiny("llama")).read([[1, 2, 3]], [logits(-1)])
    assert torch.equal(reading[logits(-1)].cpu(), plain[logits(-1)])
    assert checkpoint.key["device_map"] == "balanced"
    assert checkpoint.key["accelerator"] == "2 x Some GPU"


def test_what_accelerate_would_leave_on_a_disk_is_refused(two_gpus, monkeypatch):
    checkpoint, _ = two_gpus
    load = AutoModelForCausalLM.from_pretrained

    def too_large(*given, **named):
        model, info = load(*given, **named)
        model.hf_device_map["lm_head"] = "disk"
        return model, info

    monkeypatch.setattr(AutoModelForCausalLM, "from_pretrained", too_large)
    with pytest.raises(UsageError, match="too large for the GPUs: lm_head would lie elsewhere"):
        _ = checkpoint.model
