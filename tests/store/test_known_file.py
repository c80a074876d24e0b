from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from ssd_core.errors import DataError
from ssd_core.store import LocalDirectory
from ssd_core.store.known_file import KnownFile, read_arrays, write_arrays


@pytest.mark.parametrize("dtype", ["f4", "f8", "f2", "i8", "i4", "u1", "?"])
@pytest.mark.parametrize("shape", [(), (0,), (3,), (2, 0, 2), (2, 3, 4)])
def test_a_round_trip_of_arrays(tmp_path: Path, dtype: str, shape: tuple[int, ...]) -> None:
    array = np.arange(np.prod(shape, dtype=int)).astype(dtype).reshape(shape)
    directory = LocalDirectory(tmp_path)
    arrays = {"x": array, "reversed": array[..., ::-1].T if shape else array}
    found = read_arrays(directory, write_arrays(directory, "a", arrays))
    assert found["x"].dtype == array.dtype
    assert found["x"].shape == shape
    assert np.array_equal(found["x"], array)
    assert found["x"].flags.writeable
    if shape:
        assert np.array_equal(found["reversed"], array[..., ::-1].T)


def test_the_same_arrays_give_the_same_bytes(tmp_path: Path) -> None:
    arrays = {"b": np.ones(3, np.float32), "a": np.zeros(2)}
    entries = [write_arrays(LocalDirectory(tmp_path), name, arrays) for name in ("first", "second")]
    assert entries[0].sha256 == entries[1].sha256


def test_a_file_of_another_format_is_named(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"\xff" * 64)
    with pytest.raises(DataError, match="a is not a safetensors file"):
        read_arrays(LocalDirectory(tmp_path), KnownFile.of("a", b"\xff" * 64))


@pytest.mark.parametrize("verb", [KnownFile.read, KnownFile.verify])
def test_size_and_hash_are_compared(tmp_path: Path, verb: Callable[..., object]) -> None:
    directory = LocalDirectory(tmp_path)
    directory.put("a", b"abc")
    assert verb(KnownFile.of("a", b"abc"), directory) in {b"abc", None}
    assert KnownFile.of("a", b"abc").is_in(directory)
    for file, message in {
        KnownFile.of("a", b"abcd"): "a is damaged: 3 bytes, expected 4",
        KnownFile(
            name="a", num_bytes=3, sha256="0" * 64
        ): "a is damaged: sha256 ba7816bf8f01…, expected 000000000000…",
        KnownFile.of("b", b""): "b is missing",
    }.items():
        with pytest.raises(DataError, match=message):
            verb(file, directory)
        assert not file.is_in(directory)
