"""The files of a prediction, by format.

Each writer reads the outcomes of all images once, and returns the paths below the output directory.
"""

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from ssd_core.config import PredictionFormat
from ssd_core.detection.boxes import to_cxcywh
from ssd_core.errors import DataError
from ssd_core.evaluation.detections_file import DETECTIONS_FILE, IMAGES_FILE, write_detections
from ssd_core.stages.prediction.result import Prediction
from ssd_core.store.local import replace_file, write_file
from ssd_core.structures import ClassInfo, Detections

PREDICTIONS_FILE = "predictions.jsonl"
LABELS_DIR = "labels"
CLASSES_FILE = "classes.txt"

_MAX_DIGITS = 18
"""Of an image id, which fits 64 bits."""


class Outcome(NamedTuple):
    """The result of one image, or of one frame of a video."""

    image: str
    """Path or URI as it was given."""
    name: str
    """Name of its outputs without a suffix, unique."""
    frame: int | None
    """Number of the frame from 0; None for an image."""
    picture: str | None
    """Path of the drawn copy below the output directory."""
    result: Prediction | DataError


def _write_jsonl(
    folder: Path, outcomes: Iterable[Outcome], classes: Sequence[ClassInfo]
) -> list[str]:
    """Write a line per image, with its detections or its error."""
    with replace_file(folder / PREDICTIONS_FILE) as path, path.open("w") as file:
        for each in outcomes:
            file.write(json.dumps(_line(each)) + "\n")
    return [PREDICTIONS_FILE]


def _line(outcome: Outcome) -> dict[str, Any]:
    line: dict[str, Any] = {"image": outcome.image}
    if outcome.frame is not None:
        line["frame"] = outcome.frame
    if isinstance(outcome.result, DataError):
        return line | {"error": str(outcome.result)}
    if outcome.picture is not None:
        line["picture"] = outcome.picture
    return line | outcome.result.to_dict()


def _write_coco(
    folder: Path, outcomes: Iterable[Outcome], classes: Sequence[ClassInfo]
) -> list[str]:
    """Write the detections in the COCO results format, and the images with their ids.

    `images.json` has the keys of COCO's lists of test images.
    """
    images: list[dict[str, Any]] = []
    found: list[Detections] = []
    for each in outcomes:
        if isinstance(each.result, Prediction):
            height, width = each.result.pixels.shape[:2]
            image = {"file_name": each.image, "width": width, "height": height}
            images.append(image if each.frame is None else image | {"frame": each.frame})
            found.append(each.result.found)
    image_ids = _number_images([Path(image["file_name"]).stem for image in images])
    write_detections(folder / DETECTIONS_FILE, zip(image_ids, found, strict=True), classes)
    numbered = [
        {"id": image_id, **image} for image_id, image in zip(image_ids, images, strict=True)
    ]
    categories = [{"id": info.category_id, "name": info.name} for info in classes]
    write_file(folder / IMAGES_FILE, json.dumps({"images": numbered, "categories": categories}))
    return [DETECTIONS_FILE, IMAGES_FILE]


def _number_images(stems: Sequence[str]) -> Sequence[int]:
    """Return the numbers that are the file names, as in COCO, if all differ; else 1, 2, 3, ..."""
    if all(stem.isdecimal() and len(stem) <= _MAX_DIGITS for stem in stems):
        numbers = [int(stem) for stem in stems]
        if len(set(numbers)) == len(numbers):
            return numbers
    return range(1, len(stems) + 1)


def _write_yolo(
    folder: Path, outcomes: Iterable[Outcome], classes: Sequence[ClassInfo]
) -> list[str]:
    """Write a text file per image: class from 0, centre, size and score per line, in [0, 1]."""
    written = [CLASSES_FILE]
    for each in outcomes:
        if isinstance(each.result, Prediction):
            name = each.name if each.frame is None else f"{each.name}/{each.frame:06}"
            written.append(f"{LABELS_DIR}/{name}.txt")
            write_file(folder / written[-1], _yolo_lines(each.result))
    write_file(folder / CLASSES_FILE, "".join(f"{info.name}\n" for info in classes))
    return written


def _yolo_lines(result: Prediction) -> str:
    height, width = result.pixels.shape[:2]
    boxes = to_cxcywh(result.boxes) / np.array([width, height] * 2, np.float32)
    rows = zip(result.found.labels.tolist(), boxes.tolist(), result.scores.tolist(), strict=True)
    return "".join(
        f"{label - 1} {' '.join(f'{value:.6f}' for value in (*box, score))}\n"
        for label, box, score in rows
    )


Writer = Callable[[Path, Iterable[Outcome], Sequence[ClassInfo]], list[str]]
WRITERS: Mapping[PredictionFormat, tuple[str, Writer]] = {
    "jsonl": (PREDICTIONS_FILE, _write_jsonl),
    "coco": (DETECTIONS_FILE, _write_coco),
    "yolo": (LABELS_DIR, _write_yolo),
}
"""The main output of each format below the output directory, and its writer."""
