"""Data sets in an S3 store: written by a conversion that may be killed, read through a cache."""

import json
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from ssd_core.config import AugmentConfig, ConvertConfig
from ssd_core.data.batches.loader import Loader
from ssd_core.data.batches.order import SHARDS_PER_GROUP
from ssd_core.data.conversion.journal import Share
from ssd_core.data.conversion.publish import publish_dataset
from ssd_core.data.shards.arrow.rows import ArrowRows
from ssd_core.data.shards.manifest import read_manifest
from ssd_core.data.shards.reader import SplitReader, open_split
from ssd_core.errors import DataError, OwnershipError, TransientError, UsageError
from ssd_core.process import watchdog
from ssd_core.stages import convert, convert_share, inspect, verify
from ssd_core.store import LocalDirectory, Location
from ssd_core.structures import Record
from tests.faults.fault_proxy import FaultProxy
from tests.processes import SSD, run_ssd
from tests.small_model import describe_input
from tests.store.conftest import content_of, keys, new_location, refusal, run_killed, use_server
from tests.store.servers import S3Server, wait_until

pytestmark = pytest.mark.usefixtures("user_environment")
CONFIG = ConvertConfig(shard_bytes=50_000)


@pytest.fixture(scope="module")
def local_dir(bccd_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> LocalDirectory:
    """The bundled images in many small shards; read only."""
    data_dir = LocalDirectory(tmp_path_factory.mktemp("many") / "shards")
    convert.run(CONFIG, str(bccd_dir), data_dir)
    return data_dir


@pytest.fixture(scope="module")
def published(
    local_dir: LocalDirectory, versitygw: S3Server, tmp_path_factory: pytest.TempPathFactory
) -> str:
    """The URI of the same data set in the store; read only."""
    with pytest.MonkeyPatch.context() as patch:
        use_server(patch, versitygw, tmp_path_factory.mktemp("published"))
        publish_dataset(local_dir.local, location := new_location())
    return location.uri


@pytest.fixture
def remote_dir(published: str) -> Location:
    return Location.parse(published)


def assert_same(records: Sequence[Record], expected: Sequence[Record]) -> None:
    assert len(records) == len(expected)
    for ours, theirs in zip(records, expected, strict=True):
        assert bytes(ours.image) == bytes(theirs.image)
        assert (ours.index, ours.image_id) == (theirs.index, theirs.image_id)
        assert np.array_equal(ours.annotations.boxes, theirs.annotations.boxes)


def open_shards(reader: SplitReader) -> set[int]:
    assert isinstance(reader._rows, ArrowRows)
    return {number for number, shard in enumerate(reader._rows._opened) if shard is not None}


def test_a_conversion_into_a_store_equals_a_local_one(
    few_images: Path, location: Location, tmp_path: Path, user_proxy: FaultProxy
) -> None:
    local = LocalDirectory(tmp_path / "local")
    result = convert.run(CONFIG, str(few_images), location)
    convert.run(CONFIG, str(few_images), local)
    here, there = read_manifest(local), read_manifest(location)
    assert there.digest == here.digest == result.metadata["digest"]
    assert result.metadata["uri"] == location.uri
    assert len(there.shards()) == len(here.shards()) > 2
    for split in ("train", "val"):
        reader = open_split(location, split)
        expected = list(open_split(local, split).read_in_order())
        assert_same(list(reader.read_in_order()), expected)
        assert_same(list(reader.read(range(reader.num_images)[::-1])), expected[::-1])
    *_, last = [request.target for request in user_proxy.seen if request.method == "PUT"]
    assert last.endswith("/manifest.json")
    assert [path for path in (tmp_path / "tmp").rglob("*") if path.is_file()] == []
    user_proxy.heal()
    convert.run(CONFIG, str(few_images), location)
    assert not [request for request in user_proxy.seen if request.method == "PUT"]


def test_shares_in_a_store_equal_one_conversion(
    few_images: Path, location: Location, user_proxy: FaultProxy, tmp_path: Path
) -> None:
    """The last step sends no shard again, nor reads one; a share that is repeated does neither."""
    convert.run(CONFIG, str(few_images), location / "whole")
    shared = location / "shared"
    words = [SSD, "convert", few_images, "--out", shared.uri, "--set", "convert.shard_bytes=50000"]
    run_killed([*words, "--share", "1/2"], user_proxy, "journal-1-of-2", after=lambda: True)
    user_proxy.heal()
    for share in (Share(1, 2), Share(2, 2), Share(2, 2)):
        convert_share.run(CONFIG, str(few_images), shared, share)
    assert shared.head("manifest.json") is None
    sent = [r.target for r in user_proxy.seen if r.method == "PUT" and ".arrow" in r.target]
    num_seen = len(user_proxy.seen)
    convert.run(CONFIG, str(few_images), shared)
    moved = [r for r in user_proxy.seen[num_seen:] if r.method != "HEAD" and ".arrow" in r.target]
    assert moved == []
    assert len(sent) == len(set(sent))
    assert content_of(shared) == content_of(location / "whole")
    assert [path for path in (tmp_path / "tmp").rglob("*") if path.is_file()] == []


@pytest.mark.parametrize("moment", ["val-00000", "invocation.json", "manifest.json"])
def test_a_killed_upload_is_completed(
    few_images: Path, location: Location, user_proxy: FaultProxy, moment: str, tmp_path: Path
) -> None:
    command = [SSD, "convert", few_images, "--out", location.uri]
    run_killed(
        command,
        user_proxy,
        moment,
        after=lambda: any(key.endswith("train-00000.arrow") for key in keys(location)),
    )
    done = [r.target for r in user_proxy.seen if r.method == "PUT" and moment not in r.target]
    if moment != "manifest.json":  # this request completes although its sender is dead
        text = refusal(lambda: open_split(location, "train"), UsageError)
        assert f"{location} holds no converted data set" in text
    user_proxy.heal()
    rerun = subprocess.run(command, capture_output=True, text=True)
    assert rerun.returncode == 0, rerun.stderr
    again = {request.target for request in user_proxy.seen if request.method == "PUT"}
    assert not again & {target for target in done if ".arrow" in target}
    assert [path for path in (tmp_path / "tmp").rglob("*") if path.is_file()] == []
    assert list(verify.run(location)) == [(location, [])]
    assert [open_split(location, split).num_images for split in ("train", "val")] == [8, 4]


def test_the_findings_of_a_refused_conversion_are_in_the_store(
    few_images: Path, location: Location, tmp_path: Path
) -> None:
    source = Path(shutil.copytree(few_images, tmp_path / "source"))
    image = next((source / "JPEGImages").iterdir())
    image.write_bytes(b"")
    text = refusal(lambda: convert.run(CONFIG, str(source), location), DataError)
    assert f"all in {location}/findings.json" in text
    assert json.loads(location.get("findings.json"))["counts"] == {"image_empty": 1}
    shutil.copy(few_images / "JPEGImages" / image.name, image)
    convert.run(CONFIG, str(source), location)
    assert location.head("findings.json") is None


def test_a_store_without_write_permission_is_named_before_the_conversion(
    location: Location, user_proxy: FaultProxy, few_images: Path, tmp_path: Path
) -> None:
    user_proxy.fail("error", times=99, method="PUT", status=403, code="AccessDenied")
    text = refusal(lambda: convert.run(CONFIG, str(few_images), location), UsageError)
    assert "access denied; the access key needs permission to list, read and write there" in text
    assert not list((tmp_path / "tmp").rglob("*.arrow"))


def test_the_first_of_two_data_sets_stays(
    few_images: Path, location: Location, local_dir: LocalDirectory, user_proxy: FaultProxy
) -> None:
    user_proxy.fail(
        "call",
        method="PUT",
        target="manifest.json",
        call=lambda: publish_dataset(local_dir.local, location) and None,
    )
    with pytest.raises(OwnershipError, match=f"{location} holds another data set"):
        convert.run(CONFIG, str(few_images), location)
    for split in ("train", "val"):
        expected = list(open_split(local_dir, split).read_in_order())
        assert_same(list(open_split(location, split).read_in_order()), expected)
    skipping = CONFIG.model_copy(update={"policy": "skip"})
    with pytest.raises(OwnershipError, match="policy"):
        convert.run(skipping, str(few_images), location)


def test_a_lasting_fault_is_reported_in_one_line(
    remote_dir: Location, user_proxy: FaultProxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SSD_STORE_PATIENCE", "1")
    reader = open_split(remote_dir, "val")
    fault = user_proxy.fail("corrupt", times=99, method="GET", target="val-00000", offset=1000)
    text = refusal(lambda: next(reader.read([0])), DataError)
    assert text.startswith(f"{remote_dir}/shards-")
    assert "is damaged: sha256" in text
    fault.mode = "error"
    text = refusal(lambda: next(reader.read([0])), TransientError)
    assert text.startswith(f"{remote_dir}/shards-")
    fault.times = 0
    assert next(reader.read([0])).index == 0


def test_a_missing_shard_is_found_before_the_first_row(
    local_dir: LocalDirectory, location: Location
) -> None:
    manifest = publish_dataset(local_dir.local, location)
    name = manifest.splits["val"].shards[1].name
    location.delete(name)
    with pytest.raises(
        DataError, match=f"{location}/{name} is missing; delete the file, if any, and convert"
    ):
        open_split(location, "train")
    publish_dataset(local_dir.local, location)
    assert open_split(location, "train").num_images == 100


def make_loader(reader: SplitReader) -> Loader:
    return Loader(
        reader,
        model=describe_input(16),
        augment=AugmentConfig(),
        batch_size=4,
        seed=3,
        num_threads=2,
    )


def test_batches_are_the_same_and_two_groups_are_held(
    remote_dir: Location, local_dir: LocalDirectory, tmp_path: Path
) -> None:
    reader, own = open_split(remote_dir, "train"), open_split(local_dir, "train")
    assert len(reader.shard_rows) > 3 * SHARDS_PER_GROUP
    most, steps = 0, 60  # more than two epochs
    pairs = zip(make_loader(reader).batches(0, steps), make_loader(own).batches(0, steps), strict=1)
    for ours, theirs in pairs:
        assert np.array_equal(ours.images, theirs.images)
        assert np.array_equal(ours.boxes, theirs.boxes)
        most = max(most, len(open_shards(reader)))
    assert SHARDS_PER_GROUP < most <= 2 * SHARDS_PER_GROUP


def test_the_next_group_is_fetched_before_it_is_read(remote_dir: Location, tmp_path: Path) -> None:
    reader = open_split(remote_dir, "train")
    batches = make_loader(reader).batches(0, 1)
    next(batches)
    cache = tmp_path / "cache"

    def num_copies() -> int:
        return sum(len(path.name) == 64 for path in cache.iterdir())

    assert wait_until(lambda: num_copies() == 2 * SHARDS_PER_GROUP)
    assert len(open_shards(reader)) <= SHARDS_PER_GROUP


def test_an_inspection_reads_from_the_store(remote_dir: Location, tmp_path: Path) -> None:
    inspect.run(remote_dir, LocalDirectory(tmp_path / "inspection"))
    assert f'"{remote_dir}"' in (tmp_path / "inspection" / "results.json").read_text()


def test_a_verification_tells_the_watchdog_what_it_reads(
    remote_dir: Location, user_proxy: FaultProxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = watchdog._last
    assert next(verify.run(remote_dir)).faults == []
    assert watchdog._last > before
    monkeypatch.setenv("SSD_STORE_PATIENCE", "100000")
    monkeypatch.setenv("SSD_STALL_MINUTES", "0.1")
    user_proxy.fail("stall", times=1000, target="val-00000.arrow", method="GET")
    done = run_ssd("verify", remote_dir.uri)
    assert done.returncode == 75, done.stderr
    assert "known_file.py" in done.stderr
    assert done.stderr.splitlines()[-1].startswith("error: no progress for 0.1 minutes: ")
