from __future__ import annotations

import json
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


@pytest.mark.parametrize(
    "header", [[], 3, {"a": {}}, {"a": {"dtype": "F32", "shape": [2], "data_offsets": []}}, "x"]
)
def test_a_header_that_makes_no_sense_is_refused(tmp_path: Path, header: object) -> None:
    text = json.dumps(header).encode()
    path = tmp_path / "a.safetensors"
    path.write_bytes(len(text).to_bytes(8, "little") + text)
    with pytest.raises(CheckpointError, match="not a whole safetensors file"):
        read_header(path)


def test_a_pickle_under_another_name_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.safetensors"
    path.write_bytes(b"\x80\x04\x95" + bytes(50))
    with pytest.raises(CheckpointError, match="not a whole safetensors file"):
        read_header(path)
