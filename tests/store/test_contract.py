"""The contract of every location: the local disk and three kinds of S3 servers."""

import hashlib
import os
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from ssd_core.errors import UsageError
from ssd_core.store.location import Location, StoredObject
from tests.store.conftest import content_of

ODD_KEYS = [
    "a b/c d.txt",
    "plus+sign",
    "per%20cent",
    "amp&er=sand?q",
    "quote'\"s",
    "käse/日本",
    "~tilde-_.!*()",
    "deep/er/and/deeper/x",
]


def test_a_round_trip(store: Location, tmp_path: Path) -> None:
    store.put("a/b.bin", b"0123456789")
    (tmp_path / "file").write_bytes(b"from a file")
    store.put("a/c.bin", tmp_path / "file")
    assert store.get("a/b.bin") == b"0123456789"
    assert store.get("a/c.bin") == b"from a file"
    assert store.head("a/b.bin") == StoredObject("a/b.bin", 10)


def test_a_put_replaces(store: Location) -> None:
    store.put("key", b"old and long")
    store.put("key", b"new")
    assert store.get("key") == b"new"
    assert store.head("key") == StoredObject("key", 3)


def test_ranges(store: Location) -> None:
    content = b"0123456789"
    store.put("key", content)
    for start, length in [(2, 3), (5, None), (0, 4), (0, 99), (8, 99), (10, None), (99, 5), (3, 0)]:
        end = None if length is None else start + length
        assert store.get("key", start, length) == content[start:end], (start, length)


def test_an_empty_object(store: Location, tmp_path: Path) -> None:
    store.put("bytes", b"")
    (tmp_path / "file").touch()
    store.put("file", tmp_path / "file")
    assert store.get("bytes") == store.get("file") == b""
    assert store.head("file") == StoredObject("file", 0)
    assert store.put_if_absent("claim", b"") is True
    assert store.put_if_absent("claim", b"") is False


def test_a_missing_object(store: Location) -> None:
    store.put("folder/key", b"x")
    for key in ("nothing", "folder", "folder/nothing"):
        assert store.head(key) is None
        with pytest.raises(FileNotFoundError):
            store.get(key)
        with pytest.raises(FileNotFoundError):
            store.get(key, 1, 2)
        with pytest.raises(FileNotFoundError):
            store.get(key, 0, 0)
    store.delete("nothing")
    with pytest.raises(FileNotFoundError):
        store.put("key", Path("/does/not/exist"))


def test_delete(store: Location) -> None:
    store.put("key", b"x")
    store.delete("key")
    store.delete("key")
    assert store.head("key") is None
    assert list(store.list()) == []


def test_a_listing_is_sorted_by_key(store: Location) -> None:
    keys = ["a-b/x", "a.b", "a/b", "a/c/d", "a0", "b"]
    for key in reversed(keys):
        store.put(key, key.encode())
    assert list(store.list()) == [StoredObject(key, len(key)) for key in sorted(keys)]
    assert [found.key for found in store.list("a/")] == ["a/b", "a/c/d"]
    assert [found.key for found in store.list("a")] == sorted(keys)[:-1]
    assert list(store.list("nothing/")) == []


def test_partial_objects_are_not_listed(store: Location) -> None:
    for key in ("a/.partial-x", ".partial-folder/b", "whole"):
        store.put(key, b"x")
    assert [found.key for found in store.list()] == ["whole"]


def test_other_operations_during_a_listing(store: Location) -> None:
    for key in ("a", "b", "c"):
        store.put(key, key.encode())
    seen = []
    for found in store.list():
        seen.append(store.get(found.key))
        store.delete(found.key)
    assert seen == [b"a", b"b", b"c"]


def test_odd_keys(store: Location) -> None:
    for key in ODD_KEYS:
        store.put(key, key.encode())
        assert store.put_if_absent(key, b"another") is False
    assert content_of(store) == {key: key.encode() for key in ODD_KEYS}


def test_a_key_cannot_leave_the_directory(store: Location) -> None:
    for key in ["", "../x", "a/../../x", "/etc/passwd"]:
        for call in (store.get, store.head, store.delete):
            with pytest.raises(UsageError, match="is not below"):
                call(key)
        for put in (store.put, store.put_if_absent):
            with pytest.raises(UsageError, match="is not below"):
                put(key, b"")


def test_the_first_free_number_is_taken(store: Location) -> None:
    store.put("attempt-2", b"")
    assert [store.put_numbered("attempt-{}".format, 1, b"mine") for _ in range(2)] == [1, 3]
    assert store.get("attempt-3") == b"mine"


def test_a_large_file(store: Location, tmp_path: Path) -> None:
    """Larger than one request of an S3 store, and not a multiple of its part size."""
    path = tmp_path / "large"
    path.write_bytes(os.urandom(2**20) * 33 + b"end")
    store.put("large", path)
    sha256 = hashlib.sha256(path.read_bytes()).hexdigest()
    assert hashlib.sha256(store.get("large")).hexdigest() == sha256
    assert store.get("large", 33 * 2**20) == b"end"
    assert store.head("large") == StoredObject("large", 33 * 2**20 + 3)


def test_one_of_16_writers_wins(raced_store: Location) -> None:
    """Half of them write the same content, which does not make them winners."""
    contents = [str(number // 2 * (number % 2)).encode() for number in range(16)]
    barrier = threading.Barrier(16)

    def claim(content: bytes) -> bool:
        barrier.wait(60)
        return raced_store.put_if_absent("key", content)

    with ThreadPoolExecutor(16) as pool:
        won = list(pool.map(claim, contents))
    assert won.count(True) == 1
    assert raced_store.get("key") == contents[won.index(True)]
    assert not any(raced_store.put_if_absent("key", content) for content in contents[:2])
