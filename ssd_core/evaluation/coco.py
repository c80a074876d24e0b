"""The twelve COCO metrics, from arrays; no other module imports the evaluator library."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ssd_core.errors import DataError
from ssd_core.structures import (
    Annotations,
    Array,
    BoolArray,
    ClassInfo,
    Detections,
    IntArray,
)

RECALL_GRID = np.linspace(0.0, 1.0, 101)
"""Recalls at which a precision curve is sampled."""


@dataclass(frozen=True, slots=True)
class _Cells:
    """Cells of the evaluator's tables; a metric is their mean."""

    is_precision: bool
    iou: float | None = None
    area: str = "all"
    max_detections: int = 100


COCO_METRICS = {
    "ap": _Cells(True),
    "ap50": _Cells(True, iou=0.5),
    "ap75": _Cells(True, iou=0.75),
    "ap_small": _Cells(True, area="small"),
    "ap_medium": _Cells(True, area="medium"),
    "ap_large": _Cells(True, area="large"),
    "ar_1": _Cells(False, max_detections=1),
    "ar_10": _Cells(False, max_detections=10),
    "ar_100": _Cells(False),
    "ar_small": _Cells(False, area="small"),
    "ar_medium": _Cells(False, area="medium"),
    "ar_large": _Cells(False, area="large"),
}
"""The twelve metrics by name, in the order of pycocotools."""

IOUS = (0.5, 0.55, 0.6, 0.65, 0.7, 0.75, 0.8, 0.85, 0.9, 0.95)
SIZES = {"small": (0.0, 32.0**2), "medium": (32.0**2, 96.0**2), "large": (96.0**2, 1e10)}
"""Smallest and largest area of an object in square pixels; a border belongs to both sizes."""
ASPECTS = {"tall": (0.0, 2 / 3), "square": (2 / 3, 1.5), "wide": (1.5, 1e10)}
"""Smallest and largest width of an object, relative to its height; a border belongs to both."""
_AREAS = ("all", *SIZES)
_MAX_DETECTIONS = (1, 10, 100)


@dataclass(frozen=True, slots=True, kw_only=True)
class ClassScores:
    """Accuracy of one class; None without objects."""

    info: ClassInfo
    num_objects: int
    """Without crowds."""
    values: dict[str, float | None]
    """Keys of COCO_METRICS; None with nothing to measure."""
    precision: NDArray[np.float64]
    """[101] precision at IoU .5 for each recall of RECALL_GRID."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CocoScores:
    """Accuracy over all classes, and of each."""

    values: dict[str, float | None]
    """Keys of COCO_METRICS; None with nothing to measure: ap_small without small objects."""
    classes: tuple[ClassScores, ...]

    @property
    def metrics(self) -> dict[str, float]:
        """The measured values."""
        return {name: value for name, value in self.values.items() if value is not None}


ERROR_TYPES = {
    "localisation": "the right class, IoU .10 to .50",
    "classification": "another class, IoU .50 or more",
    "duplicate": "the object was already found",
    "background": "no object, IoU below .10",
    "both": "another class, IoU .10 to .50",
    "missed": "objects without a detection or an error of the first two types",
}
"""Definition of each type."""
_ERROR_KEYS = dict(zip(ERROR_TYPES, ("Loc", "Cls", "Dupe", "Bkg", "Both", "Miss"), strict=True))


@dataclass(frozen=True, slots=True, kw_only=True)
class ErrorShare:
    """All errors of one type."""

    count: int
    ap50_cost: float
    """How much AP50 would rise if these errors alone were fixed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CocoArrays:
    """G objects and D detections of all images, as evaluators take them.

    Boxes are x, y, width and height in pixels. Images are numbered from 1, because evaluators treat
    an id of 0 as "not matched".
    """

    num_images: int
    images: IntArray
    """[G] number of the object's image."""
    labels: IntArray
    """[G] 1..K."""
    boxes: NDArray[np.float64]
    """[G, 4]."""
    areas: NDArray[np.float64]
    """[G] square pixels."""
    is_crowd: BoolArray
    """[G]."""
    detections: NDArray[np.float64]
    """[D, 7] number of the image, box, score, label."""


def evaluate_coco(
    truths: Sequence[Annotations], found: Sequence[Detections], classes: Sequence[ClassInfo]
) -> CocoScores:
    """Compare detections with the truth as pycocotools does (equal to 1e-9, see the tests).

    `truths` and `found` have one entry per image, and `classes` are in label order. Crowd boxes
    count neither as found nor as missed. Difficult objects count like all others, since COCO has no
    such flag. Equal scores keep the order of images and detections.

    Raises:
        DataError: a box or a score is not finite; some evaluators report that as a perfect result.
    """
    arrays = join_images(truths, found)
    return score_classes(match_arrays(arrays, classes), arrays, classes)


def score_classes(evaluator: Any, arrays: CocoArrays, classes: Sequence[ClassInfo]) -> CocoScores:
    """Evaluate as `evaluate_coco` does, for images that are joined and matched."""
    evaluator.accumulate()
    precision, recall = evaluator.eval["precision"], evaluator.eval["recall"]
    counts = np.bincount(arrays.labels[~arrays.is_crowd], minlength=len(classes) + 1)
    per_class = tuple(
        ClassScores(
            info=info,
            num_objects=int(counts[info.label]),
            values=_values(precision[:, :, [column]], recall[:, [column]]),
            precision=precision[0, :, column, 0, -1].copy(),
        )
        for column, info in enumerate(classes)
    )
    return CocoScores(values=_values(precision, recall), classes=per_class)


def count_sizes(arrays: CocoArrays, num_classes: int) -> dict[str, IntArray]:
    """Return the number of objects by size, [K + 1] by label; crowds do not count."""
    labels, areas = arrays.labels[~arrays.is_crowd], arrays.areas[~arrays.is_crowd]
    return {
        size: np.bincount(labels[(areas >= low) & (areas <= high)], minlength=num_classes + 1)
        for size, (low, high) in SIZES.items()
    }


def score_aspects(
    arrays: CocoArrays, classes: Sequence[ClassInfo]
) -> dict[str, tuple[int, float | None]]:
    """Return the number of objects of each of ASPECTS, without crowds, and their AP.

    As for sizes, a detection without an object counts if its own aspect is in the range.
    """
    # The evaluator selects by area alone, so it gets the aspect in its place.
    aspects, found = _aspects(arrays.boxes), _aspects(arrays.detections[:, 1:5])
    evaluator = _evaluator(replace(arrays, areas=aspects), classes, found_areas=found)
    evaluator.params.area_rng = list(ASPECTS.values())
    evaluator.params.area_rng_lbl = list(ASPECTS)
    evaluator.params.max_dets = [_MAX_DETECTIONS[-1]]
    evaluator.evaluate()
    evaluator.accumulate()
    precision, objects = evaluator.eval["precision"], aspects[~arrays.is_crowd]
    return {
        name: (_count_between(objects, low, high), _mean(precision[:, :, :, column]))
        for column, (name, (low, high)) in enumerate(ASPECTS.items())
    }


def join_images(truths: Sequence[Annotations], found: Sequence[Detections]) -> CocoArrays:
    """Join the objects and the detections of images, given in the same order."""
    return CocoArrays(
        num_images=len(truths),
        images=_image_numbers(truths),
        labels=_join([truth.labels for truth in truths], np.int64),
        boxes=_xywh([truth.boxes for truth in truths]),
        areas=_join([truth.areas for truth in truths], np.float64),
        is_crowd=_join([truth.is_crowd for truth in truths], np.bool_),
        detections=_detection_rows(found),
    )


def format_summary(values: Mapping[str, float | None]) -> str:
    """Return the twelve lines that pycocotools prints, character by character."""
    return "\n".join(_line(cells, values[name]) for name, cells in COCO_METRICS.items())


def _line(cells: _Cells, value: float | None) -> str:
    title = "Average Precision  (AP)" if cells.is_precision else "Average Recall     (AR)"
    iou = "0.50:0.95" if cells.iou is None else f"{cells.iou:0.2f}"
    selection = f"IoU={iou:<9} | area={cells.area:>6} | maxDets={cells.max_detections:>3}"
    return f" {title} @[ {selection} ] = {-1 if value is None else value:0.3f}"


def split_errors(evaluator: Any) -> dict[str, ErrorShare]:
    """Return count and cost of the errors by the keys of ERROR_TYPES (TIDE, Bolya et al. 2020).

    An error is a detection without its object at IoU .5, of the first type that fits, or an object
    without any detection.
    """
    found = evaluator.tide_errors()
    return {
        name: ErrorShare(count=found["counts"][key], ap50_cost=found["delta_ap"][key])
        for name, key in _ERROR_KEYS.items()
    }


def find_targets(evaluator: Any) -> tuple[IntArray, IntArray]:
    """Return the rows of the detections that count at IoU .5, and of their objects, or -1.

    Those on a crowd, and of one class in one image those after the first hundred, do not count.
    """
    found = evaluator.image_diagnostics(iou_thr=0.5)
    rows = np.fromiter(found["dt_status"], np.int64, len(found["dt_status"]))
    owners = np.zeros(rows.max(initial=0) + 1, np.int64)
    matched = found["dt_match"]
    owners[np.fromiter(matched, np.int64, len(matched))] = list(matched.values())
    return rows - 1, owners[rows] - 1  # ids count from 1


def calibrate(evaluator: Any) -> tuple[float | None, list[dict[str, float]]]:
    """Return the expected calibration error (Guo et al. 2017) and its bins with detections.

    A bin is a tenth of the scores: their mean, the precision at IoU .5 and their number.
    """
    found = evaluator.calibration(n_bins=10, iou_threshold=0.5)
    names = {"score": "avg_confidence", "precision": "avg_accuracy", "detections": "count"}
    bins = [
        {name: each[key] for name, key in names.items()} for each in found["bins"] if each["count"]
    ]
    return found["ece"] if bins else None, bins


def count_confusions(arrays: CocoArrays, classes: Sequence[ClassInfo]) -> IntArray:
    """Return the confusion matrix of the evaluator, which matches boxes of any class."""
    evaluator = _evaluator(arrays, classes)
    found = evaluator.confusion_matrix(iou_thr=0.5, max_det=len(arrays.detections) + 1)
    matrix: IntArray = found["matrix"].astype(np.int64)
    return matrix


def match_arrays(arrays: CocoArrays, classes: Sequence[ClassInfo]) -> Any:
    """Return the evaluator after it has matched detections and objects.

    Raises:
        DataError: a box or a score is not finite.
    """
    evaluator = _evaluator(arrays, classes)
    evaluator.evaluate()
    return evaluator


def match_cells(arrays: CocoArrays, classes: Sequence[ClassInfo]) -> Iterator[dict[str, Any]]:
    """Yield the evaluator's matches in each image with objects or detections of a class.

    Detections (`dtIds`, at most 100) are numbered from 1; `dtMatched` and `dtIgnore` have a row for
    each of IOUS.
    """
    evaluator = _evaluator(arrays, classes)
    evaluator.params.area_rng, evaluator.params.area_rng_lbl = [[0, 1e10]], ["all"]
    evaluator.evaluate()
    yield from filter(None, evaluator.eval_imgs)


def _evaluator(
    arrays: CocoArrays, classes: Sequence[ClassInfo], found_areas: Array | None = None
) -> Any:
    from hotcoco import COCO, COCOeval

    numbers = (arrays.boxes, arrays.areas, arrays.detections)
    if not all(np.isfinite(values).all() for values in numbers):
        raise DataError("a box, an area or a score is not a finite number")
    truth = COCO.from_arrays(
        [{"id": number, "width": 0, "height": 0} for number in range(1, arrays.num_images + 1)],
        [{"id": info.label, "name": info.name} for info in classes],
        arrays.images,
        arrays.labels,
        arrays.boxes,
        ids=np.arange(1, len(arrays.boxes) + 1),
        area=arrays.areas,
        iscrowd=arrays.is_crowd,
    )
    found = truth.load_res(arrays.detections)
    if found_areas is not None:
        found.update_anns(ids=np.arange(1, len(found_areas) + 1), area=found_areas)
    return COCOeval(truth, found, "bbox")


def _detection_rows(found: Sequence[Detections]) -> Array:
    boxes = _xywh([image.boxes for image in found])
    scores = _join([image.scores for image in found], np.float64)
    labels = _join([image.labels for image in found], np.float64)
    return np.column_stack([_image_numbers(found), boxes, scores, labels])


def _image_numbers(items: Sequence[Annotations] | Sequence[Detections]) -> Array:
    return np.repeat(np.arange(1, len(items) + 1), [len(item) for item in items])


def _xywh(boxes: Sequence[Array]) -> Array:
    """Stack xyxy boxes as xywh; in float64 the difference of two float32 is exact."""
    stacked = np.concatenate([np.zeros((0, 4)), *boxes])
    stacked[:, 2:] -= stacked[:, :2]
    return stacked


def _aspects(boxes: Array) -> Array:
    """Return width by height of xywh boxes; one without height is as wide as the limit."""
    width, height = boxes[:, 2], boxes[:, 3]
    aspects: Array = np.minimum(width / np.maximum(height, 1e-9), ASPECTS["wide"][1])
    return aspects


def _count_between(values: Array, low: float, high: float) -> int:
    return int(((values >= low) & (values <= high)).sum())


def _join(arrays: Sequence[Array], dtype: type[np.generic]) -> Array:
    """Concatenate any number of arrays, even none."""
    return np.concatenate([np.zeros(0, dtype), *arrays]).astype(dtype)


def _values(precision: Array, recall: Array) -> dict[str, float | None]:
    """Return the metrics of precision [IoU, recall, class, area, max] and recall without axis 1."""
    return {name: _mean(_select(cells, precision, recall)) for name, cells in COCO_METRICS.items()}


def _select(cells: _Cells, precision: Array, recall: Array) -> Array:
    table = precision if cells.is_precision else recall
    if cells.iou is not None:
        table = table[IOUS.index(cells.iou)]
    return table[..., _AREAS.index(cells.area), _MAX_DETECTIONS.index(cells.max_detections)]


def _mean(values: Array) -> float | None:
    measured = values[values > -1]  # the evaluator's value of a cell with nothing to measure
    return float(measured.mean()) if measured.size else None
