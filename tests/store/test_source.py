"""Labelled images in an S3 store: converted like local ones, and fetched ahead."""

import hashlib
import pickle
from collections.abc import Mapping
from pathlib import Path

import pytest

from ssd_core.config import ConvertConfig
from ssd_core.data.shards.manifest import listing_key, read_manifest
from ssd_core.data.sources import open_source
from ssd_core.data.sources.base import read_head
from ssd_core.data.sources.store import StoreSource
from ssd_core.errors import DataError, TransientError, UsageError
from ssd_core.stages import check, convert
from ssd_core.store import LocalDirectory, Location
from tests.faults.fault_proxy import FaultProxy
from tests.processes import run_ssd
from tests.store.conftest import BUCKET, new_location

CONFIG = ConvertConfig(shard_bytes=30_000)


@pytest.fixture(autouse=True)
def environment(user_environment: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SSD_STORE_PATIENCE", "3")


def upload(files: Mapping[str, bytes | Path]) -> Location:
    """Store files in a new directory and return it."""
    location = new_location()
    for name, content in files.items():
        location.put(name, content)
    return location


def hashes(out_dir: Path) -> dict[str, str]:
    return {
        path.name: hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(out_dir.glob("*.arrow"))
    }


@pytest.fixture
def images(few_images: Path) -> Location:
    paths = [path for path in few_images.rglob("*") if path.is_file()]
    return upload({path.relative_to(few_images).as_posix(): path for path in paths})


@pytest.mark.parametrize("workers", [1, 2])
def test_the_shards_equal_those_of_a_local_source(
    few_images: Path, images: Location, tmp_path: Path, workers: int
) -> None:
    near, far = LocalDirectory(tmp_path / "near"), LocalDirectory(tmp_path / "far")
    convert.run(CONFIG, str(few_images), near)
    convert.run(CONFIG, images.uri, far, workers=workers)
    assert hashes(tmp_path / "far") == hashes(tmp_path / "near")
    digest = read_manifest(near).digest
    assert read_manifest(far).digest == digest
    assert read_manifest(far).source["uri"] == images.uri
    assert convert.run(CONFIG, images.uri, far).metadata["digest"] == digest


def test_it_is_checked_like_a_local_source(images: Location, tmp_path: Path) -> None:
    checked = check.run(ConvertConfig(), images.uri, LocalDirectory(tmp_path / "out"))
    assert not checked.findings.counts
    assert [split.images for split in checked.splits.values()] == [8, 4]


def test_the_listing_key_follows_the_content() -> None:
    location = upload({"a.jpg": b"one", "b.jpg": b"two"})
    key = listing_key(open_source(location.uri).files, {})
    assert listing_key(open_source(location.uri).files, {}) == key
    location.put("a.jpg", b"eno")
    assert listing_key(open_source(location.uri).files, {}) != key


def test_names_and_contents() -> None:
    files = {
        "z.txt": b"last",
        "sub/my cat ä.jpg": b"cat",
        "empty": b"",
        ".hidden": b"no",
        "sub/.hidden/a": b"no",
    }
    source = open_source(upload(files).uri)
    assert list(source.files) == ["empty", "sub/my cat ä.jpg", "z.txt"]
    assert source.read("sub/my cat ä.jpg") == b"cat"
    assert source.read("empty") == b""
    assert read_head(source, "z.txt") == "last"
    assert source.read_part("z.txt", 0, 2) == b"la"
    for name in ("../z.txt", "/z.txt", "missing", ".hidden"):
        with pytest.raises(DataError):
            source.read(name)
    with pytest.raises(UsageError, match="holds no objects; expected a data set"):
        open_source(f"s3://{BUCKET}/nothing/here")


@pytest.mark.parametrize("order", ["as announced", "some left out", "reversed"])
def test_files_may_be_fetched_ahead(order: str) -> None:
    names = [f"{number:03}" for number in range(60)]
    source = open_source(upload({name: name.encode() for name in names}).uri)
    source.expect([*names, "missing"])
    asked = {"as announced": names, "some left out": names[::7], "reversed": names[::-1]}[order]
    assert [source.read(name) for name in asked] == [name.encode() for name in asked]
    source.expect(names[:2])
    assert source.read(names[0]) == names[0].encode()


def test_another_process_continues_with_the_same_listing() -> None:
    source = open_source(upload({"a": b"one", "b": b"two"}).uri)
    source.expect(["a", "b"])
    assert source.read("a") == b"one"
    copy = pickle.loads(pickle.dumps(source))
    assert isinstance(copy, StoreSource)
    assert copy.files == source.files
    assert copy.read("b") == b"two"


def test_a_deleted_object_is_a_finding(images: Location) -> None:
    source = open_source(images.uri)
    name = next(name for name in source.files if name.endswith(".jpg"))
    images.delete(name)
    for names in ([], [name]):
        source.expect(names)
        with pytest.raises(DataError, match=f"{name}: no longer exists in s3://"):
            source.read(name)
    with pytest.raises(DataError, match="no longer exists"):
        source.read_into(name, memoryview(bytearray(4)))


def test_an_unavailable_store_is_reported(
    images: Location, tmp_path: Path, user_proxy: FaultProxy
) -> None:
    source = open_source(images.uri)
    user_proxy.fail("error", times=10_000)
    with pytest.raises(TransientError):
        source.read(next(iter(source.files)))
    with pytest.raises(TransientError):
        convert.run(ConvertConfig(), images.uri, LocalDirectory(tmp_path / "out"))
    assert not (tmp_path / "out").exists()


def test_a_store_that_stalls_is_noticed_by_the_watchdog(
    images: Location, tmp_path: Path, user_proxy: FaultProxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SSD_STORE_PATIENCE", "100000")
    monkeypatch.setenv("SSD_STALL_MINUTES", "0.1")
    user_proxy.fail("stall", times=1000, target=r"BloodImage_00010\.jpg")
    done = run_ssd("convert", images.uri, "--out", tmp_path / "out")
    assert done.returncode == 75, done.stderr
    assert "store.py" in done.stderr
    assert done.stderr.splitlines()[-1].startswith("error: no progress for 0.1 minutes: ")
    user_proxy.heal()
    assert run_ssd("convert", images.uri, "--out", tmp_path / "out").returncode == 0


def test_a_store_that_becomes_unavailable_leaves_no_manifest(
    images: Location, tmp_path: Path, user_proxy: FaultProxy
) -> None:
    out = LocalDirectory(tmp_path / "out")
    cut = user_proxy.fail("error", times=10_000, target=r"BloodImage_00010\.jpg")
    with pytest.raises(TransientError):
        convert.run(CONFIG, images.uri, out)
    assert cut.times < 10_000
    assert not (tmp_path / "out/manifest.json").exists()
    finished = hashes(tmp_path / "out")
    user_proxy.heal()
    convert.run(CONFIG, images.uri, out)
    assert finished.items() <= hashes(tmp_path / "out").items()
