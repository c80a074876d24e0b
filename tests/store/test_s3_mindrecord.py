"""MindRecord in an S3 store: its files keep their names there, and in the cache of the reader."""

from pathlib import Path

import numpy as np
import pytest

from ssd_core.config import AugmentConfig, ConvertConfig, parse_section
from ssd_core.data.batches.loader import Loader
from ssd_core.data.shards.manifest import read_manifest
from ssd_core.data.shards.mindrecord.format import FILE_NAMES
from ssd_core.data.shards.reader import open_split
from ssd_core.errors import DataError
from ssd_core.stages import convert, verify
from ssd_core.store import LocalDirectory, Location
from ssd_core.store.transfer import download_directory
from tests.faults.fault_proxy import FaultProxy
from tests.store.conftest import BUCKET, open_s3, own_prefix, use_server
from tests.store.s3_servers import S3Server

pytestmark = pytest.mark.mindspore
CONFIG = {"shards": "mindrecord"}


@pytest.fixture(autouse=True)
def environment(
    own_environment: None, monkeypatch: pytest.MonkeyPatch, versitygw: S3Server, tmp_path: Path
) -> None:
    use_server(monkeypatch, versitygw, tmp_path)


@pytest.fixture(scope="module")
def local_dir(few_images: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out_dir = tmp_path_factory.mktemp("mindrecord") / "out"
    convert.run(
        parse_section(ConvertConfig, CONFIG, "convert"),
        str(few_images),
        LocalDirectory(out_dir),
    )
    return out_dir


@pytest.fixture(scope="module")
def uri(few_images: Path, versitygw: S3Server, tmp_path_factory: pytest.TempPathFactory) -> str:
    """The same, converted into the store; read only."""
    place = f"s3://{BUCKET}/{own_prefix()}".rstrip("/")
    with pytest.MonkeyPatch.context() as patch:
        use_server(patch, versitygw, tmp_path_factory.mktemp("converted"))
        convert.run(
            parse_section(ConvertConfig, CONFIG, "convert"),
            str(few_images),
            Location.parse(place),
        )
    return place


def assert_same_records(place: Location, local_dir: Path) -> None:
    for split in FILE_NAMES:
        there, here = open_split(place, split), open_split(LocalDirectory(local_dir), split)
        order = np.random.default_rng(2).permutation(len(here))
        for ours, theirs in zip(there.read(order), here.read(order), strict=True):
            assert bytes(ours.image) == bytes(theirs.image)
            assert (ours.index, ours.image_path) == (theirs.index, theirs.image_path)
            assert np.array_equal(ours.annotations.boxes, theirs.annotations.boxes)


def test_what_is_converted_into_a_store_is_read_from_there(uri: str, local_dir: Path) -> None:
    there, here = read_manifest(Location.parse(uri)), read_manifest(LocalDirectory(local_dir))
    assert there.digest == here.digest
    folder = f"shards-{here.digest[:16]}"
    assert [shard.name for shard in there.shards()] == [
        f"{folder}/{shard.name}" for shard in here.shards()
    ]
    assert_same_records(Location.parse(uri), local_dir)
    assert list(verify.run(Location.parse(uri))) == [(Location.parse(uri), [])]


def test_training_sees_the_same_batches(uri: str, local_dir: Path) -> None:
    batches = []
    for place in (Location.parse(uri), LocalDirectory(local_dir)):
        loader = Loader(
            open_split(place, "train"),
            image_size=32,
            augment=AugmentConfig(),
            mean=(0, 0, 0),
            batch_size=4,
            seed=1,
            num_threads=2,
        )
        batches.append([batch.images.copy() for batch in loader.batches(0, 5)])
    assert np.array_equal(*batches)


def test_it_is_fetched_once_for_all_readers(
    uri: str, local_dir: Path, versitygw: S3Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    with FaultProxy(versitygw.port) as proxy:
        monkeypatch.setenv("AWS_ENDPOINT_URL", proxy.endpoint)
        for _ in range(2):
            assert_same_records(Location.parse(uri), local_dir)
        fetched = [r.target for r in proxy.seen if r.method == "GET" and "shards-" in r.target]
    assert len(fetched) == len(set(fetched)) == 4


def test_a_file_that_went_from_the_cache_comes_back(
    uri: str, local_dir: Path, tmp_path: Path
) -> None:
    reader = open_split(Location.parse(uri), "val")
    first = [bytes(record.image) for record in reader.read(range(4))]
    for path in (tmp_path / "cache").glob("?" * 64):
        path.unlink()
    assert [bytes(record.image) for record in reader.read(range(4))] == first


def test_damage_in_the_store_is_told_before_the_first_row(
    uri: str, versitygw: S3Server, tmp_path: Path
) -> None:
    place = f"s3://{BUCKET}/{own_prefix()}".rstrip("/")
    copy = tmp_path / "copy"
    download_directory(Location.parse(uri), copy)
    store = open_s3(versitygw, place.removeprefix(f"s3://{BUCKET}/") + "/")
    name = next(shard.name for shard in read_manifest(Location.parse(uri)).shards() if shard.rows)
    content = bytearray((copy / name).read_bytes())
    content[2000] ^= 1
    (copy / name).write_bytes(content)
    for path in copy.rglob("*"):
        if path.is_file():
            store.put(path.relative_to(copy).as_posix(), path)
    with pytest.raises(DataError, match=f"{place}/{name} is damaged: sha256"):
        next(open_split(Location.parse(place), "train").read([0]))


def test_a_copy_of_the_store_is_a_data_set_that_mindspore_reads(
    uri: str, local_dir: Path, tmp_path: Path
) -> None:
    from mindspore.dataset import MindDataset

    download_directory(Location.parse(uri), tmp_path / "copy")
    assert_same_records(LocalDirectory(tmp_path / "copy"), local_dir)
    (folder,) = (tmp_path / "copy").glob("shards-*")
    rows = MindDataset(str(folder / FILE_NAMES["train"]), columns_list=["img_id"], shuffle=False)
    assert len(list(rows.create_dict_iterator(num_epochs=1, output_numpy=True))) == 8


def test_files_in_a_store_are_adopted(local_dir: Path, tmp_path: Path) -> None:
    source = f"s3://{BUCKET}/{own_prefix()}records"
    store = Location.parse(source)
    for path in local_dir.glob("ssd*"):
        store.put(path.name, path)
    options = CONFIG | {"format": "mindrecord", "classes": ["Platelets", "RBC", "WBC"]}
    convert.run(
        parse_section(ConvertConfig, options, "convert"), source, LocalDirectory(tmp_path / "out")
    )
    assert_same_records(LocalDirectory(tmp_path / "out"), local_dir)
    assert not list(tmp_path.glob("out/.partial-*"))
    manifest = read_manifest(LocalDirectory(tmp_path / "out"))
    assert manifest.source["uri"] == source
    assert [shard.sha256 for shard in manifest.shards()] == [
        shard.sha256 for shard in read_manifest(LocalDirectory(local_dir)).shards()
    ]
