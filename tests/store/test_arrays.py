from pathlib import Path

import numpy as np
import pytest

from ssd_core.errors import DataError
from ssd_core.store.arrays import FileEntry, describe, read_arrays, read_verified, write_arrays


@pytest.mark.parametrize("dtype", ["f4", "f8", "f2", "i8", "i4", "u1", "?"])
@pytest.mark.parametrize("shape", [(), (0,), (3,), (2, 0, 2), (2, 3, 4)])
def test_arrays_come_back_as_they_were(tmp_path: Path, dtype: str, shape: tuple[int, ...]) -> None:
    array = np.arange(np.prod(shape, dtype=int)).astype(dtype).reshape(shape)
    entry = write_arrays(
        tmp_path, "a", {"x": array, "reversed": array[..., ::-1].T if shape else array}
    )
    found = read_arrays(tmp_path, "a", entry)
    assert found["x"].dtype == array.dtype
    assert found["x"].shape == shape
    assert np.array_equal(found["x"], array)
    assert found["x"].flags.writeable
    if shape:
        assert np.array_equal(found["reversed"], array[..., ::-1].T)


def test_the_same_arrays_give_the_same_bytes(tmp_path: Path) -> None:
    arrays = {"b": np.ones(3, np.float32), "a": np.zeros(2)}
    entries = [write_arrays(tmp_path, name, arrays) for name in ("first", "second")]
    assert entries[0] == entries[1]


def test_a_file_that_is_no_safetensors_is_named(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"\xff" * 64)
    with pytest.raises(DataError, match="a is no safetensors file"):
        read_arrays(tmp_path, "a", describe(b"\xff" * 64))


def test_size_and_hash_are_compared(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"abc")
    assert read_verified(tmp_path, "a", describe(b"abc")) == b"abc"
    with pytest.raises(DataError, match="a is damaged: 3 bytes, expected 4"):
        read_verified(tmp_path, "a", describe(b"abcd"))
    with pytest.raises(
        DataError, match="a is damaged: sha256 ba7816bf8f01…, expected 000000000000…"
    ):
        read_verified(tmp_path, "a", FileEntry(bytes=3, sha256="0" * 64))
    with pytest.raises(DataError, match="b is missing"):
        read_verified(tmp_path, "b", describe(b""))
