"""Read COCO annotations into checked arrays; the peer is `json.load`, which returns only dicts."""

import json
from collections.abc import Iterator
from typing import Any

import numpy as np

from benchmarks.coco_folder import make_coco_folder
from benchmarks.interleaved import compare
from benchmarks.row import Row, Size, main, ratio_row
from ssd_core.config import ConvertConfig, SplitName
from ssd_core.data.findings import Findings
from ssd_core.data.formats import coco
from ssd_core.data.formats.dataset import SourceSplit
from ssd_core.data.sources.folder import FolderSource


def measure(size: Size) -> Iterator[Row]:
    """Yield a single row; five times the images, since none is opened."""
    folder = make_coco_folder(size.work_dir, 5 * size.images)
    path = folder / "annotations" / "train.json"
    source = FolderSource(folder)
    assert source.files  # listing the folder is not part of reading a file

    def read_arrays() -> SourceSplit:
        findings = Findings("strict")
        files: dict[SplitName, str] = {"train": "annotations/train.json"}
        return coco.read(source, files, ConvertConfig(), findings).splits["train"]

    def read_dicts() -> Any:
        with path.open() as file:
            return json.load(file)

    comparison = compare(read_arrays, read_dicts, check=check, rounds=size.rounds)
    yield ratio_row("COCO JSON to arrays", "json.load", comparison, target=0.12, clock="CPU")


def check(split: SourceSplit, content: dict[str, Any]) -> None:
    """Compare objects and images; the file lists objects by image."""
    found, expected = split.annotations, content["annotations"]
    assert found.box_ids.tolist() == [item["id"] for item in expected]
    assert found.areas.tolist() == [item["area"] for item in expected]
    boxes = np.array([item["bbox"] for item in expected])
    boxes[:, 2:] += boxes[:, :2]
    assert (found.boxes == boxes.astype(np.float32)).all()
    owners = np.repeat([entry.image_id for entry in split.images], np.diff(split.starts))
    assert owners.tolist() == [item["image_id"] for item in expected]


if __name__ == "__main__":
    main(measure)
