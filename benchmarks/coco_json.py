"""Read COCO annotations into checked arrays; the peer is `json.load`, which returns only dicts."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.coco_folder import make_coco_folder
from benchmarks.interleaved import Comparison, compare
from benchmarks.script import Measurement, Size, main, ratio
from ssd_core.config import ConvertConfig, SplitName
from ssd_core.data.findings import Findings
from ssd_core.data.formats import coco
from ssd_core.data.formats.dataset import SourceSplit
from ssd_core.data.sources.folder import FolderSource

_FACTORS = {"json-small": 5, "json-large": 120}
"""Images per unit of the size, since none is opened: 120,000 by default, as in COCO."""


def measure(size: Size) -> Iterator[Measurement]:
    """Yield a row per file."""
    for name, factor in _FACTORS.items():
        folder = make_coco_folder(size.work_dir, factor * size.images)
        yield ratio(name, compare_in(folder, size.rounds))


def compare_in(folder: Path, rounds: int) -> Comparison:
    """Compare both on the training split of a folder."""
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

    return compare(read_arrays, read_dicts, check=check, rounds=rounds)


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
