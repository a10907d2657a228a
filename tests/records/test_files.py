from __future__ import annotations

import json
import math
import subprocess
import sys
import threading

import pytest

from stillwired.errors import RecordError
from stillwired.records.files import digest_of, plain_json, read_json, write_json, write_whole


def test_written_json_reads_back(tmp_path):
    data = {"b": [1, 2.5, None, True], "a": "−0.3 … 0.4"}
    write_json(tmp_path / "deep" / "x.json", data, indent=1)
    text = (tmp_path / "deep" / "x.json").read_text(encoding="utf-8")
    assert "−0.3 … 0.4" in text
    assert read_json(tmp_path / "deep" / "x.json", "file") == data
    assert list(read_json(tmp_path / "deep" / "x.json", "file")) == ["b", "a"]


def test_an_interrupted_write_leaves_the_old_file_and_nothing_else(tmp_path):
    path = tmp_path / "x.json"
    write_json(path, {"old": 1})

    def interrupted(file):
        file.write_text("half")
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_whole(path, interrupted)
    assert json.loads(path.read_text()) == {"old": 1}
    assert [file.name for file in tmp_path.iterdir()] == ["x.json"]


WRITES = """
import sys, time
from pathlib import Path
from stillwired.records.files import write_whole

def write(file):
    file.write_text("half")
    print("writing", flush=True)
    time.sleep(60)

write_whole(Path(sys.argv[1]), write)
"""


def test_what_a_killed_process_has_left_is_removed_and_not_what_one_is_writing(tmp_path):
    path, other = tmp_path / "x.json", tmp_path / "x.json.b"
    command = [sys.executable, "-c", WRITES]
    made = [
        subprocess.Popen([*command, place], stdout=subprocess.PIPE) for place in (path, path, other)
    ]
    for process in made:
        assert process.stdout.readline() == b"writing\n"
    made[0].kill()
    made[0].wait()
    assert len(list(tmp_path.iterdir())) == 3
    write_json(path, {"new": 1})
    assert len(list(tmp_path.iterdir())) == 3  # the new file, and those that are being written
    for process in made[1:]:
        process.kill()
        process.wait()
    write_json(path, {"new": 2})
    assert len(list(tmp_path.iterdir())) == 2  # what is left of another file is not its own
    assert json.loads(path.read_text()) == {"new": 2}


def test_many_may_write_the_same_file_at_once(tmp_path):
    path, failed = tmp_path / "x.json", []

    def write(number):
        try:
            for _ in range(60):
                write_json(path, {"number": number})
        except Exception as error:
            failed.append(error)

    threads = [threading.Thread(target=write, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failed == []
    assert json.loads(path.read_text())["number"] in range(4)
    assert [file.name for file in tmp_path.iterdir()] == ["x.json"]


def test_a_place_that_cannot_be_written_is_named(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(RecordError, match="--claims-record"):
        write_json(tmp_path / "file" / "x.json", {})


@pytest.mark.parametrize("value", [math.nan, math.inf, {1, 2}, object()])
def test_what_has_no_json_form_is_refused(value):
    with pytest.raises(RecordError, match="plain data only"):
        plain_json({"x": value})


def test_the_digest_sees_the_order_of_keys():
    # The order of a family's members decides which steps a claim compares.
    assert digest_of({"a": 1, "b": 2}) != digest_of({"b": 2, "a": 1})
    assert digest_of({"a": 1, "b": 2}) == digest_of({"a": 1, "b": 2})


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda path: None, "There is no thing"),
        (lambda path: path.mkdir(), "is a folder"),
        (lambda path: path.write_text('{"a": '), "is not JSON"),
        (lambda path: path.write_bytes(b"\xff\xfe\x00"), "is not JSON"),
        (lambda path: path.write_text("[" * 100_000), "is not JSON"),
        (lambda path: path.write_text("9" * 10_000), "is not JSON"),
    ],
)
def test_unreadable_files_are_explained(make, says, tmp_path):
    path = tmp_path / "x.json"
    make(path)
    with pytest.raises(RecordError, match=says):
        read_json(path, "thing")
