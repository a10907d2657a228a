from __future__ import annotations

import contextlib
import struct
from pathlib import Path
from typing import Any

import gguf
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from stillwired.checkpoints.gguf_header import read_gguf_header
from stillwired.errors import CheckpointError

same_folder = settings(
    max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


def small_gguf(path: Path, form: gguf.GGMLQuantizationType | None = None) -> bytes:
    writer = gguf.GGUFWriter(path, "llama")
    writer.add_name("A name")
    writer.add_file_type(gguf.LlamaFileType.MOSTLY_Q4_K_M)
    writer.add_array("words", ["one", "two", "three"])
    writer.add_array("numbers", [1, 2, 3])
    writer.add_float32("a.float", 0.5)
    writer.add_bool("a.bool", True)
    writer.add_tensor("first", np.ones((3, 64), dtype=np.float32))
    values = np.ones((2, 64), dtype=np.float32)
    writer.add_tensor("second", gguf.quantize(values, form) if form else values, raw_dtype=form)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path.read_bytes()


def test_a_header_is_read(tmp_path: Path) -> None:
    path = tmp_path / "a.gguf"
    small_gguf(path, gguf.GGMLQuantizationType.Q4_1)
    header = read_gguf_header(path)
    assert header.title == "A name"
    assert header.quantisation == "Q4_K_M"
    assert header.fields["a.float"] == 0.5
    assert header.fields["a.bool"] is True
    assert "words" not in header.fields
    assert header.tensors == 2
    assert header.types == ("F32", "Q4_1")


def test_a_tiny_model_is_whole(gguf_file: tuple[Path, Any]) -> None:
    header = read_gguf_header(gguf_file[0])
    assert header.tensors == len(gguf_file[1].state_dict())
    assert header.quantisation == "F32"


@same_folder
@given(st.data())
def test_a_file_cut_anywhere_is_refused(tmp_path: Path, data: st.DataObject) -> None:
    content = small_gguf(tmp_path / "whole.gguf", gguf.GGMLQuantizationType.Q8_0)
    # The last tensor may be followed by padding, which carries nothing.
    end = len(content) - 31
    path = tmp_path / "cut.gguf"
    path.write_bytes(content[: data.draw(st.integers(0, end - 1))])
    with pytest.raises(CheckpointError, match="not a whole GGUF file"):
        read_gguf_header(path)


@same_folder
@given(st.data())
def test_an_altered_file_is_read_or_refused_and_never_worse(
    tmp_path: Path, data: st.DataObject
) -> None:
    content = bytearray(small_gguf(tmp_path / "whole.gguf"))
    for _ in range(data.draw(st.integers(1, 4))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    path = tmp_path / "altered.gguf"
    path.write_bytes(content)
    with contextlib.suppress(CheckpointError):
        header = read_gguf_header(path)
        assert isinstance(header.title + header.quantisation, str)


@pytest.mark.parametrize(
    ("content", "trouble"),
    [
        (b"", "empty"),
        (b"PK\x03\x04" + bytes(100), "does not start like"),
        (b"GGUF" + struct.pack("<I", 1) + bytes(100), "version is 1"),
        (b"GGUF" + struct.pack(">I", 3) + bytes(100), "version is"),
        (b"GGUF" + struct.pack("<IQQ", 3, 2**62, 0), "middle of its header"),
        (b"GGUF" + struct.pack("<IQQ", 3, 0, 2**62), "middle of its header"),
        (b"GGUF" + struct.pack("<IQQQ", 3, 0, 1, 2**63), "middle of its header"),
    ],
)
def test_what_is_no_gguf_file_is_told(tmp_path: Path, content: bytes, trouble: str) -> None:
    path = tmp_path / "a.gguf"
    path.write_bytes(content)
    with pytest.raises(CheckpointError, match=trouble):
        read_gguf_header(path)


def header_of(tensors: list[tuple[list[int], int]], **fields: int | str) -> bytes:
    """A GGUF header of float32 tensors, each a shape and where it begins, without their data."""
    content = b"GGUF" + struct.pack("<IQQ", 3, len(tensors), len(fields))

    def text(value: str) -> bytes:
        return struct.pack("<Q", len(value.encode())) + value.encode()

    for key, value in fields.items():
        kind = struct.pack("<I", 8) if isinstance(value, str) else struct.pack("<I", 10)
        content += text(key) + kind
        content += text(value) if isinstance(value, str) else struct.pack("<Q", value)
    for number, (shape, offset) in enumerate(tensors):
        content += text(f"t{number}") + struct.pack("<I", len(shape))
        content += struct.pack(f"<{len(shape)}Q", *shape) + struct.pack("<IQ", 0, offset)
    return content


@pytest.mark.parametrize(
    ("tensors", "trouble"),
    [
        # Little on disk, and as much in memory as somebody likes.
        ([([64], 0)] * 100, "its tensors overlap"),
        ([([64], 0), ([64], 128)], "its tensors overlap"),
        # Their product would take minutes.
        ([([2**62] * 100_000, 0)], "t0 has 100000 dimensions"),
        ([([2**62] * 4, 0)], "its tensors reach to byte"),
    ],
    ids=["one place", "half", "dimensions", "size"],
)
def test_tensors_that_cannot_be_are_refused(
    tmp_path: Path, tensors: list[tuple[list[int], int]], trouble: str
) -> None:
    path = tmp_path / "a.gguf"
    path.write_bytes(header_of(tensors) + bytes(1000))
    with pytest.raises(CheckpointError, match=trouble):
        read_gguf_header(path)


def test_tensors_side_by_side_and_one_of_no_dimension_are_fine(tmp_path: Path) -> None:
    path = tmp_path / "a.gguf"
    path.write_bytes(header_of([([], 0), ([8, 8], 32), ([4], 288)]) + bytes(1000))
    assert (read_gguf_header(path).tensors, read_gguf_header(path).largest) == (3, 8)


@pytest.mark.parametrize(
    ("field", "value"),
    [("block_count", 10**9), ("embedding_length", 10**9), ("vocab_size", 10**12)],
)
def test_sizes_that_the_tensors_cannot_have_are_refused(
    tmp_path: Path, field: str, value: int
) -> None:
    path = tmp_path / "a.gguf"
    path.write_bytes(header_of([([8], 0)], **{f"llama.{field}": value}) + bytes(100))
    with pytest.raises(CheckpointError, match=f"{field} is {value}"):
        read_gguf_header(path)


def test_a_title_steers_no_terminal(tmp_path: Path) -> None:
    path = tmp_path / "a.gguf"
    title = "\x1b]0;mine\x07A model\r\n" + "x" * 1000
    path.write_bytes(header_of([([8], 0)], **{"general.name": title}) + bytes(100))
    assert read_gguf_header(path).title == "]0;mineA model" + "x" * 82
