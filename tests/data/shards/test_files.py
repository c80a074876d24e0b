"""Any damage to a shard is found, whichever byte it affects."""

import hashlib
from pathlib import Path

import pytest

from ssd_core.data.shards.files import find_faults, verify_shard
from ssd_core.data.shards.manifest import Shard
from ssd_core.errors import DataError
from ssd_core.store import LocalDirectory

CONTENT = bytes(range(256)) * 16


def make_shard(path: Path, content: bytes = CONTENT) -> Shard:
    path.write_bytes(content)
    sha256 = hashlib.sha256(content).hexdigest()
    return Shard(name=path.name, num_bytes=len(content), rows=1, sha256=sha256)


def test_every_flipped_bit_and_every_length_is_found(tmp_path: Path) -> None:
    path = tmp_path / "train-00000.arrow"
    shard = make_shard(path)
    verify_shard(tmp_path, shard)
    for place in range(0, len(CONTENT), 7):
        damaged = bytearray(CONTENT)
        damaged[place] ^= 1 << place % 8
        path.write_bytes(damaged)
        with pytest.raises(DataError, match="is damaged: sha256 .* expected .*; delete the file"):
            verify_shard(tmp_path, shard)
    for size in [*range(0, len(CONTENT), 500), len(CONTENT) - 1, len(CONTENT) + 1]:
        path.write_bytes((CONTENT * 2)[:size])
        with pytest.raises(DataError, match=f"is damaged: {size} bytes, expected {len(CONTENT)}"):
            verify_shard(tmp_path, shard)


def test_all_faults_are_listed(tmp_path: Path) -> None:
    names = [f"train-0000{i}.arrow" for i in range(5)]
    shards = [make_shard(tmp_path / name, bytes([i]) * 100) for i, name in enumerate(names)]
    assert list(find_faults(LocalDirectory(tmp_path), shards)) == []
    (tmp_path / names[0]).unlink()
    (tmp_path / names[1]).write_bytes(b"short")
    (tmp_path / names[3]).rename(tmp_path / "aside")
    (tmp_path / names[4]).rename(tmp_path / names[3])
    (tmp_path / "aside").rename(tmp_path / names[4])  # swapped; their sizes are equal
    faults = list(find_faults(LocalDirectory(tmp_path), shards))
    assert [fault.partition(" is ")[0] for fault in faults] == [
        str(tmp_path / names[i]) for i in (0, 1, 3, 4)
    ]


def test_a_file_that_the_disk_cannot_read_is_a_fault(tmp_path: Path) -> None:
    shards = [make_shard(tmp_path / name, b"") for name in ("bad", "good")]
    (tmp_path / "bad").unlink()
    (tmp_path / "bad").symlink_to("/proc/self/mem")  # an input/output error at its first byte
    [fault] = find_faults(LocalDirectory(tmp_path), shards)
    assert fault.startswith(f"{tmp_path}/bad: the disk failed: input/output error")
