from __future__ import annotations

import shlex

import pytest

from stillwired.data.tasks import load_tasks
from stillwired.options import OPTIONS
from stillwired.records.record import read_record
from stillwired.report.reproduce import recipe
from tests.report.made_records import HOSTILE, write


@pytest.fixture
def data(tmp_path):
    return read_record(write(tmp_path / "record.json", seed=3)).data


def test_the_command_asks_for_what_the_record_was_asked_for(data):
    data["environment"]["threads"] = 2
    words = shlex.split(recipe(data).command)
    assert words == [
        *("OMP_NUM_THREADS=2", "pytest", "claims/first_paper", "claims/second_paper"),
        *("--claims-model", "tiny", "--claims-profile", "quick", "--claims-seed", "3"),
    ]
    assert {word for word in words if word.startswith("--")} <= {o.flag for o in OPTIONS}


def test_another_regime_and_other_depths_are_named(data):
    data["layers"] = [0.1, 15]
    data["checkpoint"]["regime"] = {
        "device": "cuda:0",
        "dtype": "float32",
        "attention": "sdpa",
        "device_map": "balanced",
        "remote": "https://ndif.example.org",
        "accelerator": "2 x NVIDIA L4",
    }
    data["redraw"] = "refit-2"
    data["shard"] = {"of": 4, "parts": [3], "holders": [1, 2, 3, 4], "plan": "aa"}
    command = recipe(data).command
    for given in (
        "--claims-layers 0.1,15",
        "--claims-device cuda:0",
        "--claims-attention sdpa",
        "--claims-device-map balanced",
        "--claims-remote https://ndif.example.org",
        "--claims-redraw refit-2",
        "--claims-shard 3/4",
    ):
        assert given in command
    assert "--claims-dtype" not in command
    flags = {word for word in command.split() if word.startswith("--")}
    assert flags <= {option.flag for option in OPTIONS}


def test_a_spread_model_and_a_shard_are_named(data):
    data["checkpoint"]["regime"] |= {"device": "cuda", "device_map": "balanced"}
    data["shard"] = {"parts": [2], "of": 4}
    command = recipe(data).command
    assert "--claims-device cuda --claims-device-map balanced" in command
    assert command.endswith("--claims-shard 2/4")
    # What several shards add up to is made by several commands.
    data["shard"]["parts"] = [1, 2]
    assert "--claims-shard" not in recipe(data).command


def test_what_the_record_cannot_say_has_to_be_put_in(data):
    assert "--claims-corpus" not in recipe(data).command
    assert "--claims-tasks" not in recipe(data).command
    data["corpus"] = {"name": "mine.txt", "digest": "d1" * 32}
    data["tasks"] = {"antonym": "a0" * 32, "my own": "a1" * 32}
    made = recipe(data)
    assert "--claims-corpus mine.txt --claims-tasks FOLDER" in made.command
    assert any("d1" * 32 in note for note in made.notes)
    assert any("FOLDER" in note for note in made.notes)


def test_every_built_in_task_is_known_as_such(data):
    data["tasks"] = dict.fromkeys(load_tasks(), "a0" * 32)
    assert "--claims-tasks" not in recipe(data).command


def test_without_a_checkpoint_none_is_named(data):
    data["checkpoint"]["spec"] = None
    assert "--claims-model" not in recipe(data).command


def test_a_hostile_name_is_one_word_of_the_command(data):
    data["checkpoint"]["spec"] = HOSTILE + "; rm -rf ~ $(true) `true`"
    words = shlex.split(recipe(data).command)
    assert data["checkpoint"]["spec"] in words
    assert not {"rm", "-rf", ";"} & set(words)
