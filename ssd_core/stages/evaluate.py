"""Evaluate a model on a data set: the COCO metrics."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ssd_core.benchmark.environment import describe_environment
from ssd_core.config import EvaluateConfig
from ssd_core.data.shards.reader import SplitReader, open_split
from ssd_core.evaluation.coco import ClassScores, CocoScores
from ssd_core.evaluation.confusion import confusion_matrix
from ssd_core.evaluation.detections_file import DETECTIONS_FILE, write_detections
from ssd_core.evaluation.run import EvaluatedImage, check_image_set, evaluate_detector
from ssd_core.evaluation.voc import VOC_METRICS, evaluate_voc
from ssd_core.logs import announce
from ssd_core.report.figures import format_figures
from ssd_core.stages.detector import OpenedModel, open_model
from ssd_core.stages.frame import Input, Invocation, Results, check_owner, run_stage
from ssd_core.store import Location
from ssd_core.structures import ClassInfo, StageResult

_MAX_CONFUSED = 50
"""Largest number of classes for which a confusion matrix is legible."""


def run(
    config: EvaluateConfig,
    model_dir: Location,
    data_dir: Location,
    out_dir: Location,
    *,
    framework: str = "torch",
    device: str = "auto",
) -> StageResult:
    """Evaluate a model on a split of a converted data set.

    Writes `detections.json` (COCO results format) and `results.json`.

    Args:
        config: the `evaluate` section.
        model_dir: output of `train`, or its `model` folder.
        data_dir: output of `convert`.
        out_dir: directory of the results.
        framework: framework to run in.
        device: device to run on.

    Raises:
        DataError: the model and the data set have different classes, or the data set cannot tell
            which images `config.images` leaves out.
    """
    check_owner("evaluate", out_dir)
    reader = open_split(data_dir, config.split)
    check_image_set(config.images, reader.manifest)
    model = open_model(
        model_dir,
        config.postprocess,
        data_classes=reader.classes,
        framework=framework,
        device=device,
    )
    invocation = Invocation(
        stage="evaluate",
        config=config,
        inputs={"model": model.source, "dataset": Input(data_dir.uri, reader.manifest.digest)},
        options={"framework": framework, "device": device},
    )

    def work(folder: Path) -> Results:
        scores, images = evaluate_detector(model.detector, reader, config)
        found = ((image.image_id, image.found) for image in images)
        write_detections(folder / DETECTIONS_FILE, found, reader.classes)
        results = _results(scores, images, model, reader)
        if config.voc_ap:
            _add_voc(results, images, reader.classes)
        announce("%s", format_figures(results, has_closing_line=config.closing_line))
        return results

    results = run_stage(invocation, out_dir, work)
    return StageResult(
        metrics={name: value for name, value in results["metrics"].items() if value is not None},
        metadata={
            "split": config.split,
            "images": results["images"],
            "skipped_images": results["skipped_images"],
        },
    )


def _results(
    scores: CocoScores, images: Sequence[EvaluatedImage], model: OpenedModel, reader: SplitReader
) -> Results:
    return {
        "metrics": scores.values,
        "images": len(images),
        "skipped_images": reader.num_images - len(images),
        "objects": sum(scored.num_objects for scored in scores.classes),
        "detections": sum(len(image.found) for image in images),
        "classes": [_class_results(scored) for scored in scores.classes],
        "confusion": _confusion(images, reader.classes),
        "model": model.description.summary(),
        "data": {"name": reader.manifest.name, "split": reader.split},
        "environment": describe_environment(model.device),
    }


def _add_voc(
    results: Results, images: Sequence[EvaluatedImage], classes: Sequence[ClassInfo]
) -> None:
    """Add the values of each class, and their mean over the classes with objects."""
    truths, found = [image.truth for image in images], [image.found for image in images]
    per_class = evaluate_voc(truths, found, classes)
    for row, values in zip(results["classes"], per_class, strict=True):
        row |= values
    for name in VOC_METRICS:
        measured = [value for values in per_class if (value := values[name]) is not None]
        results["metrics"][name] = sum(measured) / len(measured) if measured else None


def _confusion(
    images: Sequence[EvaluatedImage], classes: Sequence[ClassInfo]
) -> dict[str, Any] | None:
    """Return one row per true class and one column per detected class, the background last."""
    if len(classes) > _MAX_CONFUSED:
        return None
    pairs = ((image.truth, image.found) for image in images)
    return {
        "classes": [*(info.name for info in classes), "background"],
        "matrix": confusion_matrix(pairs, len(classes)).tolist(),
    }


def _class_results(scored: ClassScores) -> dict[str, Any]:
    return {
        "label": scored.info.label,
        "name": scored.info.name,
        "objects": scored.num_objects,
        "ap": scored.ap,
        "ap50": scored.ap50,
        "precision_at_recall": [round(value, 4) for value in scored.precision.tolist()]
        if scored.num_objects
        else None,
    }
