"""Labelled photographs in an S3 store: converted as from a folder, fetched ahead."""

import hashlib
import pickle
from collections.abc import Iterator
from pathlib import Path

import pytest

from ssd_core.config import ConvertConfig, parse_section
from ssd_core.data.shards.manifest import listing_key, read_manifest
from ssd_core.data.sources import open_source
from ssd_core.data.sources.base import read_head
from ssd_core.data.sources.store import StoreSource
from ssd_core.errors import DataError, SurroundingsError, UsageError
from ssd_core.stages import check, convert
from ssd_core.store import LocalDirectory
from tests.faults.fault_proxy import FaultProxy
from tests.store.conftest import BUCKET, open_s3, own_prefix
from tests.store.s3_servers import SECRET_KEY, S3Server


@pytest.fixture(autouse=True)
def environment(
    own_environment: None, monkeypatch: pytest.MonkeyPatch, versitygw: S3Server
) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", versitygw.endpoint)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", versitygw.access_key)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", SECRET_KEY)
    monkeypatch.setenv("SSD_STORE_PATIENCE", "3")


@pytest.fixture
def proxy(versitygw: S3Server, monkeypatch: pytest.MonkeyPatch) -> Iterator[FaultProxy]:
    with FaultProxy(versitygw.port) as started:
        monkeypatch.setenv("AWS_ENDPOINT_URL", started.endpoint)
        yield started


def upload(server: S3Server, files: dict[str, bytes | Path]) -> str:
    """Store files below a prefix of their own and return its URI."""
    prefix = own_prefix()
    store = open_s3(server, prefix)
    for name, content in files.items():
        store.put(name, content)
    return f"s3://{BUCKET}/{prefix}"


def hashes(out_dir: Path) -> dict[str, str]:
    return {
        path.name: hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(out_dir.glob("*.arrow"))
    }


@pytest.fixture
def photographs(few_images: Path, versitygw: S3Server) -> str:
    paths = [path for path in few_images.rglob("*") if path.is_file()]
    return upload(versitygw, {path.relative_to(few_images).as_posix(): path for path in paths})


@pytest.mark.parametrize("workers", [1, 2])
def test_the_shards_are_those_of_a_folder(
    few_images: Path, photographs: str, tmp_path: Path, workers: int
) -> None:
    config = {"shard_bytes": 30_000}
    convert.run(
        parse_section(ConvertConfig, config, "convert"),
        str(few_images),
        LocalDirectory(tmp_path / "near"),
    )
    convert.run(
        parse_section(ConvertConfig, config, "convert"),
        photographs,
        LocalDirectory(tmp_path / "far"),
        workers=workers,
    )
    assert hashes(tmp_path / "far") == hashes(tmp_path / "near")
    near, far = (
        read_manifest(LocalDirectory(tmp_path / "near")),
        read_manifest(LocalDirectory(tmp_path / "far")),
    )
    assert far.digest == near.digest
    assert far.source["uri"] == photographs.rstrip("/")
    again = convert.run(
        parse_section(ConvertConfig, config, "convert"),
        photographs,
        LocalDirectory(tmp_path / "far"),
    )
    assert again.metadata["digest"] == near.digest


def test_it_is_checked_like_a_folder(photographs: str, tmp_path: Path) -> None:
    checked = check.run(ConvertConfig(), photographs, LocalDirectory(tmp_path / "out"))
    assert not checked.findings.counts
    assert [split.images for split in checked.splits.values()] == [8, 4]


def test_the_listing_key_follows_the_content(versitygw: S3Server) -> None:
    uri = upload(versitygw, {"a.jpg": b"one", "b.jpg": b"two"})
    key = listing_key(open_source(uri).files, {})
    assert listing_key(open_source(uri).files, {}) == key
    open_s3(versitygw, uri.removeprefix(f"s3://{BUCKET}/")).put("a.jpg", b"eno")
    assert listing_key(open_source(uri).files, {}) != key


def test_names_and_contents(versitygw: S3Server) -> None:
    files: dict[str, bytes | Path] = {
        "z.txt": b"last",
        "sub/my cat ä.jpg": b"cat",
        "empty": b"",
        ".hidden": b"no",
        "sub/.hidden/a": b"no",
    }
    source = open_source(upload(versitygw, files))
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


@pytest.mark.parametrize("order", ["as said", "some left out", "others"])
def test_files_may_be_fetched_ahead(versitygw: S3Server, order: str) -> None:
    names = [f"{number:03}" for number in range(60)]
    source = open_source(upload(versitygw, {name: name.encode() for name in names}))
    source.expect([*names, "missing"])
    asked = {"as said": names, "some left out": names[::7], "others": names[::-1]}[order]
    assert [source.read(name) for name in asked] == [name.encode() for name in asked]
    source.expect(names[:2])
    assert source.read(names[0]) == names[0].encode()


def test_another_process_goes_on_with_the_same_listing(versitygw: S3Server) -> None:
    uri = upload(versitygw, {"a": b"one", "b": b"two"})
    source = open_source(uri)
    source.expect(["a", "b"])
    assert source.read("a") == b"one"
    copy = pickle.loads(pickle.dumps(source))
    assert isinstance(copy, StoreSource)
    assert copy.files == source.files
    assert copy.read("b") == b"two"


def test_an_object_that_is_gone_is_a_finding(photographs: str, versitygw: S3Server) -> None:
    source = open_source(photographs)
    name = next(name for name in source.files if name.endswith(".jpg"))
    open_s3(versitygw, photographs.removeprefix(f"s3://{BUCKET}/")).delete(name)
    for names in ([], [name]):
        source.expect(names)
        with pytest.raises(DataError, match=f"{name}: no longer exists in s3://"):
            source.read(name)
    with pytest.raises(DataError, match="no longer exists"):
        source.read_into(name, memoryview(bytearray(4)))


def test_a_store_that_is_away_says_so(photographs: str, tmp_path: Path, proxy: FaultProxy) -> None:
    source = open_source(photographs)
    proxy.fail("error", times=10_000)
    with pytest.raises(SurroundingsError):
        source.read(next(iter(source.files)))
    with pytest.raises(SurroundingsError):
        convert.run(
            ConvertConfig(),
            photographs,
            LocalDirectory(tmp_path / "out"),
        )
    assert not (tmp_path / "out").exists()


def test_a_store_that_goes_away_leaves_no_manifest(
    photographs: str, tmp_path: Path, proxy: FaultProxy
) -> None:
    cut = proxy.fail("error", times=10_000, target=r"BloodImage_00010\.jpg")
    with pytest.raises(SurroundingsError):
        convert.run(
            parse_section(ConvertConfig, {"shard_bytes": 30_000}, "convert"),
            photographs,
            LocalDirectory(tmp_path / "out"),
        )
    assert cut.times < 10_000
    assert not (tmp_path / "out/manifest.json").exists()
    finished = hashes(tmp_path / "out")
    proxy.heal()
    convert.run(
        parse_section(ConvertConfig, {"shard_bytes": 30_000}, "convert"),
        photographs,
        LocalDirectory(tmp_path / "out"),
    )
    assert finished.items() <= hashes(tmp_path / "out").items()
