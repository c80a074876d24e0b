"""The twelve metrics by pycocotools itself, to check ours."""

import contextlib
import io
from collections.abc import Mapping, Sequence
from typing import Any

from ssd_core.errors import DataError
from ssd_core.evaluation.coco import COCO_METRICS, CocoArrays
from ssd_core.structures import Array, ClassInfo

_TOLERANCE = 1e-9


def load_pycocotools() -> None:
    """Import it before any work, so that a missing one is named in time."""
    import pycocotools  # noqa: F401


def check_metrics(
    values: Mapping[str, float | None], arrays: CocoArrays, classes: Sequence[ClassInfo]
) -> None:
    """Compare the metrics, given by name, with those of pycocotools.

    Raises:
        DataError: they differ by more than 1e-9.
    """
    evaluator, _ = run_pycocotools(coco_dataset(arrays, classes), arrays.detections)
    for name, theirs in zip(COCO_METRICS, evaluator.stats.tolist(), strict=True):
        ours = values[name]
        if abs((-1 if ours is None else ours) - theirs) > _TOLERANCE:
            raise DataError(f"pycocotools computes {name} {theirs}, not {ours}")


def run_pycocotools(
    ground_truth: Mapping[str, Any], results: str | Sequence[Any] | Array
) -> tuple[Any, str]:
    """Return pycocotools' evaluator after its work, and its output.

    `ground_truth` is the content of a COCO file; `results` are rows, an array of seven columns, or
    the path of a file.
    """
    from pycocotools.coco import COCO
    from pycocotools.cocoeval import COCOeval

    def index(content: Mapping[str, Any]) -> Any:
        dataset = COCO()
        dataset.dataset = content
        dataset.createIndex()
        return dataset

    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        truth = index(ground_truth)
        if len(results):
            found = truth.loadRes(results)
        else:  # which it refuses
            found = index({**ground_truth, "annotations": []})
        evaluator = COCOeval(truth, found, "bbox")
        evaluator.evaluate()
        evaluator.accumulate()
        evaluator.summarize()
    return evaluator, printed.getvalue()


def coco_dataset(arrays: CocoArrays, classes: Sequence[ClassInfo]) -> dict[str, Any]:
    """Return the objects as the content of a COCO file."""
    columns = (arrays.images, arrays.labels, arrays.areas, arrays.is_crowd, arrays.boxes)
    keys = ("id", "image_id", "category_id", "area", "iscrowd", "bbox")
    numbers = range(1, len(arrays.boxes) + 1)
    return {
        "info": {},
        "images": [{"id": number} for number in range(1, arrays.num_images + 1)],
        "categories": [{"id": info.label, "name": info.name} for info in classes],
        "annotations": [
            dict(zip(keys, row, strict=True))
            for row in zip(numbers, *(column.tolist() for column in columns), strict=True)
        ],
    }
