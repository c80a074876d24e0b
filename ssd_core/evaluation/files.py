"""Ground truth and detections of any program as COCO files, for an evaluation without a model."""

import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import PurePath
from typing import Annotated, Any, TypeVar

import msgspec
import numpy as np
from msgspec import Meta, Struct

from ssd_core.data.formats.coco.file import describe_problem
from ssd_core.errors import DataError
from ssd_core.evaluation.detections_file import IMAGES_FILE
from ssd_core.evaluation.run import EvaluatedImage
from ssd_core.logs import format_count, logger
from ssd_core.structures import Annotations, ClassInfo, Detections

GROUND_TRUTH_FILE = "ground_truth.json"

_REMEDY = f"if the ids are those of the ground truth, delete {IMAGES_FILE}"
_Id = Annotated[int, Meta(ge=-(2**53), le=2**53)]
_Position = Annotated[float, Meta(ge=-1e9, le=1e9)]
_Side = Annotated[float, Meta(ge=0, le=1e9)]


class _Image(Struct, gc=False):
    id: _Id
    file_name: str | None = None


class _Category(Struct, gc=False):
    id: _Id
    name: str


class _Row(Struct, gc=False):
    image_id: _Id
    category_id: _Id
    bbox: tuple[_Position, _Position, _Side, _Side]


class _Object(_Row, gc=False):
    area: _Side | None = None
    iscrowd: int | bool = 0


class _Detection(_Row, gc=False):
    score: float


class _Images(Struct):
    images: list[_Image]


class _GroundTruth(_Images):
    categories: Annotated[list[_Category], Meta(min_length=1)]
    annotations: list[_Object]


ContentT = TypeVar("ContentT")
RowT = TypeVar("RowT", bound=_Row)


def join_files(
    ground_truth: bytes,
    detections: bytes,
    images: bytes | None = None,
    *,
    truth_name: str,
    found_name: str,
) -> tuple[list[EvaluatedImage], tuple[ClassInfo, ...]]:
    """Return the images and the classes of a COCO annotation file, in the order of their ids.

    `detections` are in the COCO results format. Those of categories that the ground truth lacks do
    not count, as in pycocotools. `images` is the list of `ssd predict`: its ids follow the order of
    prediction, so its file names identify the images of the ground truth. The names are those of
    the files, for messages. Boxes and scores are float64: rounded to float32, different ones could
    become equal.

    Raises:
        DataError: a file has another format, or an image that the ground truth lacks, or
            file names are not unique.
    """
    truth = _decode(ground_truth, _GroundTruth, truth_name)
    found = _decode(detections, list[_Detection], found_name)
    if images is not None:
        _renumber(found, _decode(images, _Images, IMAGES_FILE), truth, found_name)
    names = {each.id: each.name for each in truth.categories}
    classes = tuple(
        ClassInfo(label=label, name=names[key], category_id=key)
        for label, key in enumerate(sorted(names), start=1)
    )
    labels = {info.category_id: info.label for info in classes}
    paths = {image.id: image.file_name or "" for image in truth.images}
    image_ids = sorted(paths)
    objects = _by_image(truth.annotations, image_ids, labels, truth_name)
    by_image = _by_image(found, image_ids, labels, found_name)
    evaluated = [
        EvaluatedImage(
            row,
            key,
            _annotations(objects[key], labels),
            _detections(by_image[key], labels),
            paths[key],
        )
        for row, key in enumerate(image_ids)
    ]
    return evaluated, classes


def format_ground_truth(images: Iterable[EvaluatedImage], classes: Sequence[ClassInfo]) -> bytes:
    """Return images, classes and objects as a COCO annotation file, which `join_files` reads.

    Nothing is rounded, so it has the same figures as the arrays.
    """
    category_ids = {info.label: info.category_id for info in classes}
    listed: list[_Image] = []
    annotations: list[dict[str, Any]] = []
    for image in images:
        truth = image.truth
        listed.append(_Image(image.image_id, image.path))
        boxes = truth.boxes.astype(np.float64)
        boxes[:, 2:] -= boxes[:, :2]
        columns = (each.tolist() for each in (boxes, truth.labels, truth.areas, truth.is_crowd))
        for box, label, area, is_crowd in zip(*columns, strict=True):
            annotations.append(
                {"id": len(annotations) + 1, "image_id": image.image_id, "bbox": box}
                | {"category_id": category_ids[label], "area": area, "iscrowd": int(is_crowd)}
            )
    categories = [_Category(info.category_id, info.name) for info in classes]
    return msgspec.json.encode(
        {"info": {}, "images": listed, "categories": categories, "annotations": annotations}
    )


def _decode(content: bytes, kind: type[ContentT], name: str) -> ContentT:
    try:
        return msgspec.json.decode(content, type=kind)
    except msgspec.ValidationError as error:
        problem = re.sub(
            r"^\[(\d+)\](?:\.|: )",
            lambda found: f"result {int(found[1]) + 1}: ",
            describe_problem(str(error)),
        )
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        problem = "not valid JSON"
    raise DataError(f"{name}: {problem}; expected COCO's format")


def _renumber(rows: Iterable[_Detection], listed: _Images, truth: _GroundTruth, name: str) -> None:
    """Replace the ids of `ssd predict` by those of the ground truth, if that has file names."""
    truth_ids = _ids_by_name(truth, "the ground truth")
    if not truth_ids:
        return
    file_names = {image_id: key for key, image_id in _ids_by_name(listed, IMAGES_FILE).items()}
    for row in rows:
        file_name = file_names.get(row.image_id, f"image {row.image_id}")
        if file_name not in truth_ids:
            raise DataError(f"{name}: {file_name} is not listed in the ground truth; {_REMEDY}")
        row.image_id = truth_ids[file_name]


def _ids_by_name(listed: _Images, name: str) -> dict[str, int]:
    """Return the ids of the images that have a file name, by its last part."""
    ids: dict[str, int] = {}
    for image in listed.images:
        if image.file_name:
            key = PurePath(image.file_name).name
            if ids.setdefault(key, image.id) != image.id:
                raise DataError(f"{name}: two images are named {key}; {_REMEDY}")
    return ids


def _by_image(
    rows: Iterable[RowT], image_ids: Iterable[int], labels: Mapping[int, int], name: str
) -> dict[int, list[RowT]]:
    """Return the rows of each image; those of unknown categories are counted and left out."""
    groups: dict[int, list[RowT]] = {image_id: [] for image_id in image_ids}
    unknown: list[int] = []
    for row in rows:
        if row.image_id not in groups:
            raise DataError(f"{name}: image {row.image_id} is not listed in the ground truth")
        if row.category_id in labels:
            groups[row.image_id].append(row)
        else:
            unknown.append(row.category_id)
    if unknown:
        logger.warning(
            "%s: left out %s of categories that the ground truth does not list, the first is %d",
            name,
            format_count(len(unknown), "box"),
            unknown[0],
        )
    return groups


def _columns(rows: Sequence[_Row], labels: Mapping[int, int]) -> dict[str, Any]:
    boxes = np.array([row.bbox for row in rows], np.float64).reshape(-1, 4)
    boxes[:, 2:] += boxes[:, :2]
    return {
        "boxes": boxes,
        "labels": np.array([labels[row.category_id] for row in rows], np.int64),
    }


def _annotations(rows: Sequence[_Object], labels: Mapping[int, int]) -> Annotations:
    areas = [row.bbox[2] * row.bbox[3] if row.area is None else row.area for row in rows]
    return Annotations(
        **_columns(rows, labels),
        areas=np.array(areas, np.float64),
        is_crowd=np.array([row.iscrowd for row in rows], np.bool_),
        is_difficult=np.zeros(len(rows), np.bool_),
        box_ids=np.arange(len(rows)),
    )


def _detections(rows: Sequence[_Detection], labels: Mapping[int, int]) -> Detections:
    ordered = sorted(rows, key=lambda row: -row.score)
    scores: Any = np.array([row.score for row in ordered], np.float64)
    return Detections(**_columns(ordered, labels), scores=scores)
