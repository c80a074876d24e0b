"""MindRecord in an S3 store: the files keep their names in the store and in the cache."""

from pathlib import Path

import numpy as np
import pytest

from ssd_core.config import ConvertConfig
from ssd_core.data.shards.manifest import read_manifest, store_folder
from ssd_core.data.shards.mindrecord.format import FILE_NAMES
from ssd_core.data.shards.reader import open_split
from ssd_core.errors import DataError
from ssd_core.stages import convert, verify
from ssd_core.store import LocalDirectory, Location
from ssd_core.store.transfer import download_directory
from tests.faults.fault_proxy import FaultProxy
from tests.store.conftest import content_of, new_location, use_server
from tests.store.servers import S3Server

pytestmark = [pytest.mark.mindspore, pytest.mark.usefixtures("user_environment")]
CONFIG = ConvertConfig(shards="mindrecord")


@pytest.fixture(scope="module")
def local_dir(few_images: Path, tmp_path_factory: pytest.TempPathFactory) -> LocalDirectory:
    out_dir = LocalDirectory(tmp_path_factory.mktemp("mindrecord") / "out")
    convert.run(CONFIG, str(few_images), out_dir)
    return out_dir


@pytest.fixture(scope="module")
def converted(
    few_images: Path, versitygw: S3Server, tmp_path_factory: pytest.TempPathFactory
) -> str:
    """The URI of the same data set, converted into the store; read only."""
    with pytest.MonkeyPatch.context() as patch:
        use_server(patch, versitygw, tmp_path_factory.mktemp("converted"))
        convert.run(CONFIG, str(few_images), location := new_location())
    return location.uri


@pytest.fixture
def remote_dir(converted: str) -> Location:
    return Location.parse(converted)


def assert_same_records(location: Location, local_dir: LocalDirectory) -> None:
    for split in read_manifest(local_dir).splits:
        there, here = open_split(location, split), open_split(local_dir, split)
        order = np.random.default_rng(2).permutation(here.num_images)
        for ours, theirs in zip(there.read(order), here.read(order), strict=True):
            assert bytes(ours.image) == bytes(theirs.image)
            assert (ours.index, ours.image_path) == (theirs.index, theirs.image_path)
            assert np.array_equal(ours.annotations.boxes, theirs.annotations.boxes)


def test_a_conversion_into_a_store_is_read_from_there(
    remote_dir: Location, local_dir: LocalDirectory
) -> None:
    there, here = read_manifest(remote_dir), read_manifest(local_dir)
    assert there.digest == here.digest
    folder = store_folder(there.listing_key)
    assert [shard.name for shard in there.shards()] == [
        f"{folder}/{shard.name}" for shard in here.shards()
    ]
    assert_same_records(remote_dir, local_dir)
    assert list(verify.run(remote_dir)) == [(remote_dir, [])]


def test_each_file_is_fetched_once_for_all_readers(
    remote_dir: Location, local_dir: LocalDirectory, user_proxy: FaultProxy
) -> None:
    for _ in range(2):
        assert_same_records(remote_dir, local_dir)
    fetched = [r.target for r in user_proxy.seen if r.method == "GET" and "shards-" in r.target]
    assert len(fetched) == len(set(fetched)) == 4


def test_a_file_removed_from_the_cache_is_fetched_again(
    remote_dir: Location, local_dir: LocalDirectory, tmp_path: Path
) -> None:
    reader = open_split(remote_dir, "val")
    first = [bytes(record.image) for record in reader.read(range(4))]
    for path in (tmp_path / "cache").glob("?" * 64):
        path.unlink()
    assert [bytes(record.image) for record in reader.read(range(4))] == first


def test_damage_in_the_store_is_reported_before_the_first_row(
    remote_dir: Location, location: Location
) -> None:
    name = next(shard.name for shard in read_manifest(remote_dir).shards() if shard.rows)
    for key, content in content_of(remote_dir).items():
        location.put(key, content[:2000] + b"damage" + content[2006:] if key == name else content)
    with pytest.raises(DataError, match=f"{location}/{name} is damaged: sha256"):
        next(open_split(location, "train").read([0]))


def test_a_copy_of_the_store_is_a_data_set_that_mindspore_reads(
    remote_dir: Location, local_dir: LocalDirectory, tmp_path: Path
) -> None:
    from mindspore.dataset import MindDataset

    download_directory(remote_dir, tmp_path / "copy")
    assert_same_records(LocalDirectory(tmp_path / "copy"), local_dir)
    (folder,) = (tmp_path / "copy").glob("shards-*")
    rows = MindDataset(str(folder / FILE_NAMES["train"]), columns_list=["img_id"], shuffle=False)
    assert len(list(rows.create_dict_iterator(num_epochs=1, output_numpy=True))) == 8


def test_files_in_a_store_are_adopted(
    local_dir: LocalDirectory, location: Location, tmp_path: Path
) -> None:
    out = LocalDirectory(tmp_path / "out")
    for path in local_dir.local.glob("ssd*"):
        location.put(path.name, path)
    changes = {"format": "mindrecord", "classes": ("Platelets", "RBC", "WBC")}
    convert.run(CONFIG.model_copy(update=changes), location.uri, out)
    assert_same_records(out, local_dir)
    assert not list(tmp_path.glob("out/.partial-*"))
    manifest = read_manifest(out)
    assert manifest.source["uri"] == location.uri
    assert [shard.sha256 for shard in manifest.shards()] == [
        shard.sha256 for shard in read_manifest(local_dir).shards()
    ]
