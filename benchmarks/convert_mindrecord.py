"""Convert a COCO data set to MindRecord; the peer writes row by row, as MindSpore's SSD does.

The peer reads the annotations with json.load and passes one row per call to a FileWriter of 8
files. This script needs the environment of MindSpore.
"""

import hashlib
import importlib.util
import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from benchmarks.images import make_images
from benchmarks.interleaved import compare
from benchmarks.packed_file import hash_files, hash_shards
from benchmarks.script import Measurement, Size, SkippedError, main, ratio
from ssd_core.config import ConvertConfig, parse_section
from ssd_core.stages import convert
from ssd_core.store import LocalDirectory

_NUM_FILES = 8
_SCHEMA = {
    "img_id": {"type": "int32", "shape": [1]},
    "image": {"type": "bytes"},
    "annotation": {"type": "int32", "shape": [-1, 5]},
}


def measure(size: Size) -> Iterator[Measurement]:
    """Yield a single row."""
    if importlib.util.find_spec("mindspore") is None:
        raise SkippedError(
            "MindSpore is not installed; run `make setup-mindspore`, then "
            ".venv-mindspore/bin/python -m benchmarks.convert_mindrecord"
        )
    source = make_images(size.work_dir, size.images)
    shards, rows = size.work_dir / "shards", size.work_dir / "rows"

    def convert_anew() -> None:
        shutil.rmtree(shards, ignore_errors=True)
        convert.run(
            parse_section(ConvertConfig, {"shards": "mindrecord"}, "convert"),
            str(source),
            LocalDirectory(shards),
        )

    def write_anew() -> None:
        shutil.rmtree(rows, ignore_errors=True)
        rows.mkdir()
        for split in ("train", "val"):
            write_rows(source, split, rows / f"{split}.mindrecord")

    def check(*_: None) -> None:
        files = hash_files(source)
        assert hash_shards(shards) == files
        assert read_hashes(rows) == sorted(files.values())

    yield ratio(
        "convert-mindrecord", compare(convert_anew, write_anew, check=check, rounds=size.rounds)
    )


def write_rows(source: Path, split: str, path: Path) -> None:
    """Write a split as the converter of MindSpore's SSD does."""
    from mindspore.mindrecord import FileWriter

    content = json.loads((source / "annotations" / f"{split}.json").read_bytes())
    objects: dict[int, list[list[float]]] = {}
    for item in content["annotations"]:
        x, y, width, height = item["bbox"]
        box = [y, x, y + height, x + width, item["category_id"]]
        objects.setdefault(item["image_id"], []).append(box)
    writer = FileWriter(str(path), _NUM_FILES)
    writer.add_schema(_SCHEMA, "ssd")
    for image in content["images"]:
        row = {
            "img_id": np.array([image["id"]], np.int32),
            "image": (source / "images" / image["file_name"]).read_bytes(),
            "annotation": np.array(objects[image["id"]], np.int32),
        }
        writer.write_raw_data([row])
    writer.commit()


def read_hashes(folder: Path) -> list[str]:
    """Return the SHA-256 of all images in the MindRecord files of a folder, sorted."""
    from mindspore.dataset import MindDataset

    hashes = []
    for path in folder.glob("*.mindrecord0"):  # it refers to the others
        rows = MindDataset(str(path), columns_list=["image"])
        for (image,) in rows.create_tuple_iterator(num_epochs=1, output_numpy=True):
            hashes.append(hashlib.sha256(image.tobytes()).hexdigest())
    return sorted(hashes)


if __name__ == "__main__":
    main(measure)
