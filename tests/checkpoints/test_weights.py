from __future__ import annotations

import json
import os
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors.numpy import save_file

from stillwired.checkpoints.weights import TensorFacts, count_parameters, read_header
from stillwired.errors import CheckpointError


@pytest.fixture
def weights(tmp_path: Path) -> Path:
    path = tmp_path / "a.safetensors"
    tensors = {"one": np.zeros((3, 4), np.float32), "two": np.zeros(5, np.float16)}
    save_file(tensors, path, metadata={"format": "pt"})
    return path


def test_names_shapes_and_formats_are_read(weights: Path) -> None:
    assert set(read_header(weights)) == {
        TensorFacts("one", "F32", (3, 4)),
        TensorFacts("two", "F16", (5,)),
    }
    assert count_parameters((weights, weights)) == 2 * (12 + 5)


@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_a_file_cut_anywhere_is_refused(weights: Path, data: st.DataObject) -> None:
    content = weights.read_bytes()
    cut = weights.with_name("cut.safetensors")
    cut.write_bytes(content[: data.draw(st.integers(0, len(content) - 1))])
    with pytest.raises(CheckpointError, match=r"cut\.safetensors is"):
        read_header(cut)


def test_more_than_the_header_speaks_of_is_refused(weights: Path) -> None:
    weights.write_bytes(weights.read_bytes() + b"\0")
    with pytest.raises(CheckpointError, match="longer than it says"):
        read_header(weights)


def write_header(path: Path, text: bytes, data: int = 0) -> Path:
    """Write a header as it is, with so many bytes of data behind it."""
    path.write_bytes(len(text).to_bytes(8, "little") + text + bytes(data))
    return path


def tensor(shape: object = (2,), offsets: object = (0, 8)) -> dict[str, object]:
    return {"dtype": "F32", "shape": shape, "data_offsets": offsets}


@pytest.mark.parametrize(
    "header",
    [
        *([], 3, "x", {"a": {}}, {"a": None}),
        {"a": tensor(offsets=[])},
        {"a": tensor(offsets=[0, 4, 8])},
        {"a": tensor(offsets=[0, 8.0])},
        {"a": tensor(shape=[-2])},
        {"a": tensor(shape=[True])},
        {"a": tensor(shape=[float("inf")])},
        {"a": tensor(shape=[float("nan")])},
        {"a": tensor(shape="2")},
        # Their product would take minutes.
        {"a": tensor(shape=[2**62] * 100_000)},
    ],
    ids=lambda header: str(header)[:60],
)
def test_a_header_that_makes_no_sense_is_refused(tmp_path: Path, header: object) -> None:
    path = write_header(tmp_path / "a.safetensors", json.dumps(header).encode(), 8)
    with pytest.raises(CheckpointError, match="not a whole safetensors file"):
        read_header(path)


def test_a_header_that_never_ends_is_refused(tmp_path: Path) -> None:
    path = write_header(tmp_path / "a.safetensors", b'{"a":' + b"[" * 1_000_000)
    with pytest.raises(CheckpointError, match="not a whole safetensors file"):
        read_header(path)


def test_a_name_that_stands_twice_in_a_header_is_refused(tmp_path: Path) -> None:
    once = json.dumps({"a": tensor()})
    twice = once[:-1] + "," + once[1:]
    assert len(read_header(write_header(tmp_path / "once", once.encode(), 8))) == 1
    with pytest.raises(CheckpointError, match="the same name twice"):
        read_header(write_header(tmp_path / "twice", twice.encode(), 8))


@pytest.mark.parametrize("second", [[0, 8], [4, 12], [16, 24], [12, 4]])
def test_tensors_that_overlap_or_leave_gaps_are_refused(tmp_path: Path, second: list[int]) -> None:
    header = {"a": tensor(), "b": tensor(offsets=second)}
    path = write_header(tmp_path / "a.safetensors", json.dumps(header).encode(), max(second))
    with pytest.raises(CheckpointError, match=r"overlap|longer|cut short"):
        read_header(path)


@pytest.mark.parametrize(
    ("length", "size", "trouble"),
    [
        (1 << 30, 1 << 31, "its header has 1073741824 bytes, and 100000000 are allowed"),
        (1 << 30, 1000, "reaches beyond the end"),
        ((1 << 64) - 1, 1000, "reaches beyond the end"),
    ],
)
def test_a_header_of_absurd_length_is_not_read(
    tmp_path: Path, length: int, size: int, trouble: str
) -> None:
    path = tmp_path / "a.safetensors"
    path.write_bytes(length.to_bytes(8, "little"))
    os.truncate(path, size)  # sparse: it takes no room
    with pytest.raises(CheckpointError, match=trouble):
        read_header(path)


def test_a_pickle_under_another_name_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.safetensors"
    path.write_bytes(b"\x80\x04\x95" + bytes(50))
    with pytest.raises(CheckpointError, match="not a whole safetensors file"):
        read_header(path)
