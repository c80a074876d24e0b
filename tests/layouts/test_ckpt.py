"""Checkpoint files of MindSpore: written arrays are read, and damage is one line."""

import numpy as np
import pytest

from ssd_core.errors import DataError
from ssd_core.layouts.ckpt import read_ckpt, write_ckpt

ARRAYS = {
    "backbone.weight": np.arange(24, dtype=np.float32).reshape(2, 3, 4),
    "half": np.array([1.5, -2], np.float16),
    "rate": np.float32(0.1).reshape(()),
    "empty": np.zeros(0, np.float32),
    "step": np.array([2**40], np.int64),
}
CONTENT = write_ckpt(ARRAYS)


def message(**parts):
    """A checkpoint with one array, whose parts are given as they are encoded."""
    tensor = b"".join(
        {
            "dims": b"\x08\x02",
            "kind": b"\x12\x07Float32",
            "content": b"\x1a\x08" + bytes(8),
            **parts,
        }.values()
    )
    value = b"\x0a\x01w" + b"\x12" + bytes([len(tensor)]) + tensor
    return b"\x0a" + bytes([len(value)]) + value


def test_arrays_are_read_as_they_were_written():
    found = read_ckpt(CONTENT)
    assert found.keys() == ARRAYS.keys()
    for name, array in ARRAYS.items():
        assert (found[name].dtype, found[name].shape) == (array.dtype, array.shape)
        np.testing.assert_array_equal(found[name], array)
    np.testing.assert_array_equal(read_ckpt(message())["w"], [0, 0])


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (b"", "it holds no arrays"),
        (b"not a checkpoint", "cut off, or of another format"),
        (b"\x89PNG\r\n\x1a\n" + bytes(100), "cut off, or of another format"),
        (b"\x80" * 100, "cut off, or of another format"),
        (b"\x08\x01", "a message is missing"),
        (b"\x0a\x00", "field 1 is missing"),
        (message(dims=b"\x08" + b"\xff" * 8 + b"\x7f"), "'w' has 8 bytes and shape"),
        (message(dims=b"\x08\xff\xff\xff\xff\x7f" * 9), "'w' has 8 bytes and shape"),
        (message(dims=b"\x08\x02" + b"\x08\x01" * 40), "'w' has 8 bytes and shape (2, 1, 1"),
        (
            message(dims=b"\x08\x00\x08\xff\xff\x7f", content=b"\x1a\x00"),
            "'w' has 0 bytes and shape",
        ),
        (message(dims=b""), "'w' has 8 bytes and shape ()"),
        (message(dims=b"\x08\x00"), "'w' has 8 bytes and shape ()"),
        (message(kind=b"\x12\x05Int4x"), "'w' has type Int4x; expected one of Float16, Float32"),
        (message(kind=b"\x12\x02\xff\xff"), "a name is not text"),
        (message(kind=b""), "field 2 is missing"),
        (message(content=b"\x18\x01"), "field 3 is missing"),
        (message() * 2, "'w' occurs twice"),
        (CONTENT + b"crc_num" + bytes(10), "does not give its checksum"),
    ],
)
def test_hostile_content_is_refused(content, problem):
    with pytest.raises(DataError) as refused:
        read_ckpt(content)
    assert problem in str(refused.value)
    assert len(str(refused.value)) < 400


def test_a_file_cut_off_anywhere_is_refused_or_lacks_whole_arrays():
    for length in range(len(CONTENT)):
        try:
            found = read_ckpt(CONTENT[:length])
        except DataError:
            continue
        assert found.keys() < ARRAYS.keys()
