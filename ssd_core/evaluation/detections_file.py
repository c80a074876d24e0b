"""Detections as a file in the COCO results format, with the ids of the source."""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Annotated

import msgspec
import numpy as np

from ssd_core.errors import DataError
from ssd_core.store.local import replace_file
from ssd_core.structures import ClassInfo, Detections

DETECTIONS_FILE = "detections.json"
IMAGES_FILE = "images.json"
"""Lists the images of the detections of `ssd predict`, with their ids."""

_Pixels = Annotated[float, msgspec.Meta(ge=-1e9, le=1e9)]


class _Row(msgspec.Struct):
    """One detection; `bbox` is x, y, width and height in pixels."""

    image_id: int
    category_id: int
    bbox: tuple[_Pixels, _Pixels, _Pixels, _Pixels]
    score: Annotated[float, msgspec.Meta(gt=0, le=1)]


def write_detections(
    path: Path, found: Iterable[tuple[int, Detections]], classes: Sequence[ClassInfo]
) -> None:
    """Write the detections of images, given with their ids, one row per detection.

    Nothing is rounded, so pycocotools computes the same metrics from this file as were computed
    from the arrays.
    """
    category_ids = {info.label: info.category_id for info in classes}
    with replace_file(path) as partial_path, partial_path.open("wb") as file:
        separator = b"[\n"
        for image_id, detections in found:
            for row in _rows(image_id, detections, category_ids):
                file.write(separator + msgspec.json.encode(row))
                separator = b",\n"
        file.write(b"[]\n" if separator == b"[\n" else b"\n]\n")


def parse_detections(
    content: bytes, classes: Sequence[ClassInfo], *, score_threshold: float
) -> dict[int, Detections]:
    """Return the detections of at least `score_threshold` by image id; no entry without any.

    Raises:
        DataError: the content is damaged, or belongs to other classes.
    """
    try:
        rows = msgspec.json.decode(content, type=list[_Row])
    except msgspec.DecodeError as error:
        raise DataError(f"{error}; evaluate again") from None
    labels = {info.category_id: info.label for info in classes}
    by_image: dict[int, list[_Row]] = {}
    for row in rows:
        if row.category_id not in labels:
            raise DataError(f"the data set has no category {row.category_id}; evaluate again")
        if row.score >= score_threshold:
            by_image.setdefault(row.image_id, []).append(row)
    return {image_id: _detections(found, labels) for image_id, found in by_image.items()}


def _rows(image_id: int, found: Detections, category_ids: dict[int, int]) -> Iterable[_Row]:
    boxes = found.boxes.astype(np.float64)
    boxes[:, 2:] -= boxes[:, :2]
    columns = (boxes.tolist(), found.scores.tolist(), found.labels.tolist())
    for box, score, label in zip(*columns, strict=True):
        yield _Row(image_id=image_id, category_id=category_ids[label], bbox=box, score=score)


def _detections(rows: Sequence[_Row], labels: dict[int, int]) -> Detections:
    boxes = np.array([row.bbox for row in rows])
    boxes[:, 2:] += boxes[:, :2]
    return Detections(
        boxes=boxes.astype(np.float32),
        scores=np.array([row.score for row in rows], np.float32),
        labels=np.array([labels[row.category_id] for row in rows], np.int64),
    )
