"""The shard writer, read back with Arrow itself."""

import hashlib
from contextlib import suppress
from pathlib import Path

import pyarrow as pa
import pytest

from ssd_core.data.shards.arrow import SCHEMA
from ssd_core.data.shards.arrow.writer import ArrowWriter
from ssd_core.data.shards.manifest import Shard
from ssd_core.data.sources.folder import FolderSource
from ssd_core.structures import Sample, make_annotations

CONTENTS = {
    "a.jpg": b"aaaa",
    "b.jpg": b"bb",
    "empty.jpg": b"",
    "big.jpg": b"B" * 9_000_000,
    "mid.jpg": b"M" * 2_999_990,
}
SIZES = [len(content) for content in CONTENTS.values()]


@pytest.fixture
def source(tmp_path: Path) -> FolderSource:
    folder = tmp_path / "source"
    folder.mkdir()
    for name, content in CONTENTS.items():
        (folder / name).write_bytes(content)
    return FolderSource(folder)


def make_sample(name: str, boxes: int = 1) -> Sample:
    annotations = make_annotations(
        [[i, 0, i + 1, 2] for i in range(boxes)],
        [i + 1 for i in range(boxes)],
        is_crowd=[i == 1 for i in range(boxes)],
    )
    return Sample(
        image_id=len(name),
        image_path=name,
        width=3,
        height=4,
        annotations=annotations if boxes else make_annotations([], []),
        place=name,
    )


def write(source: FolderSource, out_dir: Path, names: list[str], index: int = 0) -> Shard:
    with ArrowWriter(out_dir, "train", index, SIZES) as writer:
        for number, name in enumerate(names):
            image = writer.load(source, name)
            assert bytes(image) == CONTENTS[name]
            writer.append(make_sample(name, boxes=number % 3))
        ((partial_path, shard),) = writer.finish()
        partial_path.rename(out_dir / shard.name)
    return shard


def rows(path: Path) -> list[dict[str, object]]:
    with pa.memory_map(str(path)) as file:
        table = pa.ipc.open_file(file).read_all()
    assert table.schema.equals(SCHEMA)
    table.validate(full=True)
    return table.to_pylist()


def test_rows_are_read_back(source: FolderSource, tmp_path: Path) -> None:
    names = ["a.jpg", "empty.jpg", "b.jpg", "big.jpg", "a.jpg"]  # big.jpg does not fit the buffer
    shard = write(source, tmp_path / "out", names)
    content = (tmp_path / "out" / shard.name).read_bytes()
    assert shard.name == "train-00000.arrow"
    assert (shard.rows, shard.num_bytes) == (5, len(content))
    assert shard.sha256 == hashlib.sha256(content).hexdigest()
    read = rows(tmp_path / "out" / shard.name)
    assert [row["image"] for row in read] == [CONTENTS[name] for name in names]
    assert [row["image_path"] for row in read] == names
    assert read[0]["boxes"] == []
    assert read[2] == {
        "image": b"bb",
        "boxes": [[0, 0, 1, 2], [1, 0, 2, 2]],
        "labels": [1, 2],
        "areas": [2, 2],
        "is_crowd": [0, 1],
        "is_difficult": [0, 0],
        "box_ids": [0, 1],
        "image_id": 5,
        "image_path": "b.jpg",
        "width": 3,
        "height": 4,
    }


def test_the_same_rows_give_the_same_bytes(source: FolderSource, tmp_path: Path) -> None:
    names = ["mid.jpg", "mid.jpg", "mid.jpg", "mid.jpg", "b.jpg"]
    first = write(source, tmp_path / "one", names)
    second = write(source, tmp_path / "two", names, index=7)
    assert (first.name, second.name) == ("train-00000.arrow", "train-00007.arrow")
    assert second == first.model_copy(update={"name": second.name})


def test_a_loaded_image_that_is_not_appended_leaves_nothing(
    source: FolderSource, tmp_path: Path
) -> None:
    with ArrowWriter(tmp_path / "out", "val", 0, SIZES) as writer:
        writer.load(source, "a.jpg")
        writer.load(source, "b.jpg")
        writer.append(make_sample("b.jpg"))
        writer.load(source, "a.jpg")
        ((partial_path, _),) = writer.finish()
        assert [row["image"] for row in rows(partial_path)] == [b"bb"]


def test_without_samples_there_is_no_shard(source: FolderSource, tmp_path: Path) -> None:
    with ArrowWriter(tmp_path / "out", "val", 0, SIZES) as writer:
        writer.load(source, "a.jpg")
        assert writer.finish() == []
    assert not (tmp_path / "out").exists()


def fill(writer: ArrowWriter, source: FolderSource) -> None:
    """Append enough to write a batch of the open shard."""
    for name in ("big.jpg", "big.jpg"):
        writer.load(source, name)
        writer.append(make_sample(name))


@pytest.mark.parametrize("error", [None, ZeroDivisionError])
def test_an_unfinished_shard_is_discarded(
    source: FolderSource, tmp_path: Path, error: type[Exception] | None
) -> None:
    with suppress(ZeroDivisionError), ArrowWriter(tmp_path / "out", "val", 0, SIZES) as writer:
        fill(writer, source)
        assert len(list((tmp_path / "out").iterdir())) == 1
        if error:
            raise error
    assert list((tmp_path / "out").iterdir()) == []
