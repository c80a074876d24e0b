"""`ssd verify` and `ssd gc` in an S3 store: damage, garbage, and files that must stay."""

import os
import subprocess
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from ssd_core.config import ConvertConfig
from ssd_core.data.conversion.publish import publish_dataset
from ssd_core.data.shards.manifest import read_manifest, store_folder
from ssd_core.data.shards.reader import open_split
from ssd_core.errors import UsageError
from ssd_core.stages import convert, gc, verify
from ssd_core.store import LocalDirectory
from ssd_core.store.s3.directory import S3Directory
from ssd_core.store.transfer import upload_directory
from tests.commands import call_ssd
from tests.faults.fault_proxy import FaultProxy
from tests.processes import SSD
from tests.small_model import write_small_model
from tests.store.conftest import BUCKET, SERVERS, keys, open_s3, run_killed
from tests.store.servers import S3Server

ANY_AGE = -3600.0
"""For `abandoned_seconds`: even new objects count as abandoned."""
TWO_DAYS = 2 * 24 * 3600.0
LOST = "shards-0123456789abcdef"


@pytest.fixture(scope="module")
def local_dir(few_images: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data set of several shards; read only."""
    data_dir = tmp_path_factory.mktemp("few") / "shards"
    convert.run(ConvertConfig(shard_bytes=50_000), str(few_images), LocalDirectory(data_dir))
    return data_dir


@pytest.fixture
def store(user_environment: None, versitygw: S3Server) -> S3Directory:
    """An empty directory in the store that the environment names."""
    return open_s3(versitygw)


def run_gc(
    store: S3Directory, *, is_removed: bool, abandoned_seconds: float = ANY_AGE
) -> dict[str, int]:
    found = gc.run(store, is_removed=is_removed, abandoned_seconds=abandoned_seconds)
    return {garbage.uri.removeprefix(f"{store}/"): garbage.num_bytes for garbage in found}


def test_verify_reads_all_data_sets_and_models(
    store: S3Directory, local_dir: Path, tmp_path: Path
) -> None:
    publish_dataset(local_dir, store / "datasets/one")
    write_small_model(tmp_path / "model", {"weight": np.arange(100, dtype=np.float32)})
    upload_directory(tmp_path / "model", store / "training/two/model", last="config.json")
    locations = [store / "datasets/one", store / "training/two/model"]
    assert list(verify.run(store)) == [(location, []) for location in locations]
    for location in locations:
        assert list(verify.run(location)) == [(location, [])]

    first, second, *_ = read_manifest(locations[0]).shards()
    store.put(f"datasets/one/{first.name}", bytes(first.num_bytes))
    store.delete(f"datasets/one/{second.name}")
    store.put("training/two/model/weights.safetensors", b"short")
    dataset, model = verify.run(store)
    assert dataset.faults[0].startswith(f"{locations[0]}/{first.name} is damaged: sha256 ")
    assert dataset.faults[1:] == [f"{locations[0]}/{second.name} is missing"]
    (fault,) = model.faults
    assert fault.startswith(f"{locations[1]}/weights.safetensors is damaged: 5 bytes, expected ")

    done = call_ssd("verify", store.uri)
    assert done.returncode == 3, done.stderr
    assert done.stdout.splitlines() == [*dataset.faults, *model.faults]
    assert f"{store}: 3 damaged or missing files" in done.stderr


def test_verify_reports_an_empty_directory_and_a_broken_manifest(store: S3Directory) -> None:
    with pytest.raises(UsageError, match="contains neither a converted data set"):
        list(verify.run(store))
    store.put("manifest.json", b"{")
    ((_, (fault,)),) = verify.run(store)
    assert "manifest.json is not JSON" in fault


@pytest.fixture
def littered(store: S3Directory, local_dir: Path) -> dict[str, int]:
    """Store a data set, the remains of killed uploads, and other objects; return the garbage."""
    publish_dataset(local_dir, store / "whole")
    for key in (
        "notes.txt",
        "whole/findings.json",
        "shards-mine/x",
        f"whole/x{LOST}/y",
        f"a/{LOST}",
    ):
        store.put(key, b"not ours")
    garbage = {
        f"whole/{LOST}/train-00000.arrow": b"lost",
        f"killed/{LOST}/ssd.mindrecord0": b"killed",
        f"killed/{LOST}/a/b": b"",
        f"{LOST}/val-00000.arrow": b"at the root",
    }
    for key, content in garbage.items():
        store.put(key, content)
    return {key: len(content) for key, content in garbage.items()}


def test_gc_lists_and_removes_only_shards_without_a_manifest(
    store: S3Directory, littered: dict[str, int], local_dir: Path
) -> None:
    before = keys(store)
    assert run_gc(store, is_removed=False) == littered
    assert keys(store) == before
    assert run_gc(store, is_removed=True) == littered
    assert keys(store) == before - set(littered)
    assert run_gc(store, is_removed=True) == {}
    assert list(verify.run(store)) == [(store / "whole", [])]


def test_gc_keeps_files_younger_than_a_day(store: S3Directory, littered: dict[str, int]) -> None:
    before = keys(store)
    store._client._create_multipart_upload(BUCKET, f"{store._prefix}large", {})
    done = call_ssd("gc", store.uri)
    assert done.returncode == 0, done.stderr
    assert done.stdout == "nothing to remove\n"
    assert "skipped, it has a recent upload" in done.stderr
    assert keys(store) == before
    assert len(list(store.unfinished_uploads())) == 1


def test_a_manifest_that_cannot_be_read_protects_all_shards(
    store: S3Directory, littered: dict[str, int], caplog: pytest.LogCaptureFixture
) -> None:
    store.put("whole/manifest.json", b"{")
    found = run_gc(store, is_removed=True)
    assert found == {key: size for key, size in littered.items() if not key.startswith("whole/")}
    assert "no shard of this data set is removed" in caplog.text


def begin_upload(store: S3Directory, key: str) -> str:
    """Begin a multipart upload and leave it unfinished; return its id."""
    name = f"{store._prefix}{key}"
    upload_id: str = store._client._create_multipart_upload(BUCKET, name, {})
    for number in (1, 2):
        store._client._upload_part(BUCKET, name, b"x" * 1000, {}, upload_id, number)
    return upload_id


@pytest.mark.parametrize("name", [*SERVERS, "rclone"])
def test_gc_aborts_unfinished_uploads(request: pytest.FixtureRequest, name: str) -> None:
    store = open_s3(request.getfixturevalue(name))
    for key in ("a/large", "a/other"):
        begin_upload(store, key)
    begin_upload(open_s3_beside(store), "not below the directory")
    expected = {f"a/{name} (unfinished upload)": 2000 for name in ("large", "other")}
    assert run_gc(store, is_removed=False) == expected
    assert len(list(store.unfinished_uploads())) == 2
    assert run_gc(store, is_removed=True) == expected
    assert list(store.unfinished_uploads()) == []
    beside = open_s3_beside(store)
    assert [upload.num_bytes for upload in beside.unfinished_uploads()] == [2000]


def open_s3_beside(store: S3Directory) -> S3Directory:
    return S3Directory(BUCKET, f"beside-{store._prefix}", store._settings)


def test_gc_finds_more_uploads_than_a_page_lists(store: S3Directory) -> None:
    keys = {f"{number:04}" for number in range(1001)}
    for key in keys:
        store._client._create_multipart_upload(BUCKET, f"{store._prefix}{key}", {})
    assert {upload.key for upload in store.unfinished_uploads()} == keys


def test_gc_keeps_a_running_upload(store: S3Directory, versitygw: S3Server, tmp_path: Path) -> None:
    path = tmp_path / "large"
    path.write_bytes(os.urandom(2**20) * 33)
    reached, gone_on = threading.Event(), threading.Event()

    def hold() -> None:
        reached.set()
        gone_on.wait(60)

    with FaultProxy(versitygw.port) as proxy, ThreadPoolExecutor(1) as pool:
        proxy.fail("call", method="PUT", target="partNumber=2", call=hold)
        writer = open_s3(versitygw, store._prefix, endpoint=proxy.endpoint)
        writing = pool.submit(writer.put, f"{LOST}/ssd.mindrecord0", path)
        assert reached.wait(60)
        assert [upload.num_bytes for upload in store.unfinished_uploads()] == [2**24]
        found = list(gc.run(store, is_removed=True))
        gone_on.set()
        writing.result()
    assert found == []
    assert store.get(f"{LOST}/ssd.mindrecord0") == path.read_bytes()


class AgeingStore:
    """A directory on versitygw, whose objects and parts are files that can be made older."""

    def __init__(self, store: S3Directory, server: S3Server) -> None:
        self.store = store
        self._bucket = server.folder / "objects" / BUCKET
        self._folder = self._bucket / store._prefix

    def age(self, *names: str) -> None:
        """Make the named objects, or all, two days older."""
        for path in [self._folder / name for name in names] or self._folder.rglob("*"):
            make_older(path)

    def age_upload(self, upload_id: str, *, parts: int) -> None:
        """Make an upload and its first parts two days older."""
        (folder,) = self._bucket.rglob(upload_id)
        paths = sorted(path for path in folder.rglob("*") if path.name.isdecimal())
        assert len(paths) == 2
        for path in [*paths[:parts], folder, folder.parent]:
            make_older(path)


def make_older(path: Path) -> None:
    moment = path.stat().st_mtime - TWO_DAYS
    os.utime(path, (moment, moment))


@pytest.fixture
def ageing(store: S3Directory, versitygw: S3Server) -> AgeingStore:
    return AgeingStore(store, versitygw)


def remove_old(ageing: AgeingStore) -> set[str]:
    return set(run_gc(ageing.store, is_removed=True, abandoned_seconds=gc.ABANDONED_SECONDS))


def test_one_young_object_protects_its_data_set(ageing: AgeingStore) -> None:
    names = [f"{folder}/{LOST}/{name}" for folder in "ab" for name in ("one", "two")]
    for name in names:
        ageing.store.put(name, b"x")
    ageing.age(*names[:3])
    assert remove_old(ageing) == set(names[:2])
    ageing.age(names[3])
    assert remove_old(ageing) == set(names[2:])


def test_one_young_part_protects_its_upload_and_its_data_set(ageing: AgeingStore) -> None:
    ageing.store.put(f"{LOST}/ssd.mindrecord0.db", b"x")
    ageing.age()
    upload_id = begin_upload(ageing.store, f"{LOST}/ssd.mindrecord0")
    ageing.age_upload(upload_id, parts=1)
    assert remove_old(ageing) == set()
    ageing.age_upload(upload_id, parts=2)
    assert remove_old(ageing) == {
        f"{LOST}/ssd.mindrecord0.db",
        f"{LOST}/ssd.mindrecord0 (unfinished upload)",
    }


def test_an_object_stored_again_during_gc_stays(ageing: AgeingStore) -> None:
    for name in ("one", "two", "three"):
        ageing.store.put(f"{LOST}/{name}", b"x")
    ageing.age()
    garbage = gc.run(ageing.store, is_removed=True)
    assert next(garbage).uri.endswith("/one")
    ageing.store.put(f"{LOST}/two", b"again")
    ageing.store.delete(f"{LOST}/three")
    assert list(garbage) == []
    assert keys(ageing.store) == {f"{LOST}/two"}


def test_a_killed_upload_is_listed_removed_and_repeated(
    ageing: AgeingStore, few_images: Path, user_proxy: FaultProxy
) -> None:
    uri = ageing.store.uri
    command: list[str | Path] = [SSD, "convert", few_images, "--out", uri]
    run_killed(command, user_proxy, "invocation.json", after=lambda: len(keys(ageing.store)) > 1)
    ageing.age()
    left = {key for key in keys(ageing.store) if "/" in key}
    assert len(left) == 2
    done = call_ssd("gc", uri, "--dry-run")
    assert {line.split()[1] for line in done.stdout.splitlines()[:-1]} == {
        f"{uri}/{key}" for key in left
    }
    assert remove_old(ageing) == left
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert list(verify.run(ageing.store)) == [(ageing.store, [])]


def test_an_upload_replaces_shards_that_gc_may_soon_remove(
    ageing: AgeingStore, versitygw: S3Server, local_dir: Path
) -> None:
    shards = publish_dataset(local_dir, ageing.store).shards()
    ageing.store.delete("manifest.json")
    ageing.age(shards[0].name)
    with FaultProxy(versitygw.port) as proxy:
        proxied = open_s3(versitygw, ageing.store._prefix, endpoint=proxy.endpoint)
        publish_dataset(local_dir, proxied)
        stored = [r.target for r in proxy.seen if r.method == "PUT" and "shards-" in r.target]
    assert len(stored) == 1
    assert stored[0].endswith(shards[0].name)


def test_a_shard_removed_before_the_manifest_is_put_again(
    ageing: AgeingStore, versitygw: S3Server, local_dir: Path
) -> None:
    folder = store_folder(read_manifest(LocalDirectory(local_dir)).listing_key)
    key = f"{folder}/train-00000.arrow"
    with FaultProxy(versitygw.port) as proxy:
        proxied = open_s3(versitygw, ageing.store._prefix, endpoint=proxy.endpoint)
        proxy.fail(
            "call", method="PUT", target="manifest.json", call=lambda: ageing.store.delete(key)
        )
        publish_dataset(local_dir, proxied)
        assert len(list(open_split(proxied, "train").read_in_order())) == 8
