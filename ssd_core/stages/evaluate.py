"""Evaluate a model on a data set, or the detections of another program: the COCO metrics."""

import hashlib
from collections.abc import Sequence
from pathlib import Path

from ssd_core.backends import open_ranks
from ssd_core.benchmark.environment import describe_environment
from ssd_core.config import EvaluateConfig
from ssd_core.data.shards.reader import open_split
from ssd_core.errors import UsageError
from ssd_core.evaluation.accuracy import measure_accuracy
from ssd_core.evaluation.check import check_metrics, load_pycocotools
from ssd_core.evaluation.coco import join_images
from ssd_core.evaluation.detections_file import DETECTIONS_FILE, IMAGES_FILE, write_detections
from ssd_core.evaluation.files import GROUND_TRUTH_FILE, format_ground_truth, join_files
from ssd_core.evaluation.run import EvaluatedImage, check_image_set, detect_split, is_counted
from ssd_core.logs import announce
from ssd_core.report.figures import format_figures
from ssd_core.stages.detector import choose_framework, open_model
from ssd_core.stages.frame import Input, Invocation, Results, check_owner, run_stage
from ssd_core.store import Location
from ssd_core.store.local import write_file
from ssd_core.store.location import read_input
from ssd_core.structures import ClassInfo, StageResult

_FOREIGN_KEYS = {"images", "voc_ap", "closing_line"}
"""The keys of the section that do not belong to a model."""


def run(
    config: EvaluateConfig,
    model_dir: Location,
    data_dir: Location,
    out_dir: Location,
    *,
    framework: str | None = None,
    device: str = "auto",
    is_checked: bool = False,
) -> StageResult:
    """Evaluate a model on a split of a converted data set.

    Writes `detections.json` and `ground_truth.json` in COCO's formats, and `results.json`.

    Args:
        config: the `evaluate` section.
        model_dir: output of `train`, or its `model` folder.
        data_dir: output of `convert`.
        out_dir: directory of the results.
        framework: framework to run in; None takes the usual one, see `choose_framework`.
        device: device to run on.
        is_checked: whether to compare the COCO metrics with those of pycocotools.

    Raises:
        DataError: the model and the data set have different classes, the data set lacks
            objects that `config.images` depends on, or pycocotools computes other figures.
    """
    check_owner("evaluate", out_dir)
    if is_checked:
        load_pycocotools()
    framework = choose_framework(model_dir, framework)
    reader = open_split(data_dir, config.split)
    check_image_set(config.images, reader.manifest)
    with open_ranks(framework) as ranks:
        model = open_model(
            model_dir,
            config.postprocess,
            data_classes=reader.classes,
            framework=framework,
            device=device,
            ranks=ranks,
        )
        invocation = Invocation(
            stage="evaluate",
            config=config,
            inputs={"model": model.source, "dataset": Input(data_dir.uri, reader.manifest.digest)},
            options={"framework": framework, "device": device},
        )

        def work(folder: Path) -> Results:
            images = detect_split(model.detector, reader, config, ranks)

            def measure() -> Results:
                _write_images(folder, images, reader.classes)
                skipped = reader.num_images - len(images)
                origin = {
                    "model": model.description.summary(),
                    "data": {"name": reader.manifest.name, "split": reader.split},
                    "environment": describe_environment(model.device),
                }
                return _measure(
                    images, skipped, reader.classes, config, origin, is_checked=is_checked
                )

            return ranks.on_first(measure)

        results = run_stage(invocation, out_dir, work, ranks=ranks, is_measurement=True)
    return _summary(results, split=config.split)


def run_files(
    config: EvaluateConfig,
    detections: Location,
    ground_truth: Location,
    out_dir: Location,
    *,
    is_checked: bool = False,
) -> StageResult:
    """Evaluate detections in the COCO results format against a COCO annotation file.

    Args:
        config: the `evaluate` section; only the keys that do not belong to a model may be set.
        detections: the file of another program, of `run`, or of `ssd predict`, whose ids
            `images.json` beside it relates to file names.
        ground_truth: the annotation file.
        out_dir: directory of the same files as those of `run`.
        is_checked: whether to compare the COCO metrics with those of pycocotools.

    Raises:
        UsageError: a file does not exist, or a key belongs to a model.
        DataError: a file has another format, or they do not belong together.
    """
    check_owner("evaluate_files", out_dir)
    if is_checked:
        load_pycocotools()
    if others := config.model_fields_set - _FOREIGN_KEYS:
        raise UsageError(f"evaluate.{min(others)} has no effect on --detections; leave it out")
    files = {"detections": detections, "ground_truth": ground_truth}
    if detections.parent.head(IMAGES_FILE):
        files["images"] = detections.parent / IMAGES_FILE
    contents = {
        name: read_input(file, "a JSON file in COCO's format") for name, file in files.items()
    }
    all_images, classes = join_files(
        **contents, truth_name=str(ground_truth), found_name=str(detections)
    )
    images = [image for image in all_images if is_counted(image.truth, config.images)]
    invocation = Invocation(
        stage="evaluate_files",
        config=config,
        inputs={
            name: Input(file.uri, hashlib.sha256(contents[name]).hexdigest())
            for name, file in files.items()
        },
    )

    def work(folder: Path) -> Results:
        _write_images(folder, images, classes)
        skipped = len(all_images) - len(images)
        return _measure(images, skipped, classes, config, {}, is_checked=is_checked)

    return _summary(run_stage(invocation, out_dir, work))


def _write_images(
    folder: Path, images: Sequence[EvaluatedImage], classes: Sequence[ClassInfo]
) -> None:
    """Write the files from which `compare` or another program can repeat the evaluation."""
    found = ((image.image_id, image.found) for image in images)
    write_detections(folder / DETECTIONS_FILE, found, classes)
    write_file(folder / GROUND_TRUTH_FILE, format_ground_truth(images, classes))


def _measure(
    images: Sequence[EvaluatedImage],
    skipped: int,
    classes: Sequence[ClassInfo],
    config: EvaluateConfig,
    origin: Results,
    *,
    is_checked: bool,
) -> Results:
    """Measure, print and perhaps check the accuracy; `origin` becomes a part of the results."""
    results = measure_accuracy(images, classes, config) | origin
    results |= {"image_set": config.images, "skipped_images": skipped}
    announce("%s", format_figures(results, has_closing_line=config.closing_line))
    if is_checked:
        truths, found = [image.truth for image in images], [image.found for image in images]
        check_metrics(results["metrics"], join_images(truths, found), classes)
        announce("pycocotools computes the same twelve figures")
    return results


def _summary(results: Results, **more: str) -> StageResult:
    return StageResult(
        metrics={name: value for name, value in results["metrics"].items() if value is not None},
        metadata=more | {name: results[name] for name in ("image_set", "images", "skipped_images")},
    )
