"""Combine the results of other stages into one HTML page."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import ValidationError

from ssd_core.config import ReportConfig, first_problem
from ssd_core.data.decode import decode_image
from ssd_core.data.shards.manifest import read_manifest
from ssd_core.data.shards.reader import SplitReader
from ssd_core.errors import DataError, located
from ssd_core.evaluation.detections_file import DETECTIONS_FILE, parse_detections
from ssd_core.logs import logger
from ssd_core.metrics import key_metrics
from ssd_core.report import sections
from ssd_core.report.accuracy import accuracy
from ssd_core.report.images import AnnotatedImage, annotate_image, take_while_small
from ssd_core.report.page import render_page
from ssd_core.stages.evaluated import open_evaluated
from ssd_core.stages.frame import Input, Invocation, Results, run_stage
from ssd_core.stages.outputs import StageOutput, check_one_model, read_outputs
from ssd_core.stages.shapes import LogLine, StepLine
from ssd_core.store import Location
from ssd_core.store.local import write_file
from ssd_core.structures import ClassInfo, Detections, Record, StageResult
from ssd_core.train_log import LOG_FILE, parse_log

REPORT_FILE = "report.html"
MARKDOWN_FILE = "report.md"
JSON_FILE = "report.json"

_NOTHING = Detections(
    boxes=np.zeros((0, 4), np.float32), scores=np.zeros(0, np.float32), labels=np.zeros(0, np.int64)
)


def run(
    config: ReportConfig,
    inputs: Sequence[Location],
    out_dir: Location,
    *,
    data_dir: Location | None = None,
    run_id: str = "",
) -> StageResult:
    """Write the page, and its values as `report.md` and `report.json`.

    Sections without an input are omitted.

    Args:
        config: the `report` section.
        inputs: output directories of the stages in REPORTED, in any order.
        out_dir: directory of the page.
        data_dir: output of `convert`, for the sample images; None uses the evaluated data set, if
            it still exists.
        run_id: the run of a pipeline that the inputs come from.

    Raises:
        UsageError: an input is of another stage or model, or two are of the same stage; or
            `data_dir` is not the evaluated data set.
        DataError: an input is incomplete or damaged.
    """
    outputs = read_outputs(inputs)
    check_one_model(outputs, takes_exports=True)
    read = {stage: output.described() for stage, output in outputs.items()}
    if data_dir is not None:
        read["dataset"] = Input(data_dir.uri, read_manifest(data_dir).digest)
    content = _content(config, outputs, data_dir, run_id)

    def work(folder: Path) -> Results:
        for name in (REPORT_FILE, MARKDOWN_FILE):
            write_file(folder / name, render_page(name, content))
        write_file(folder / JSON_FILE, json.dumps(_values(outputs), indent=1))
        return {"metrics": _metrics(outputs)}

    invocation = Invocation(stage="report", config=config, inputs=read, options={"run": run_id})
    results = run_stage(invocation, out_dir, work)
    return StageResult(metrics=results["metrics"], metadata={"title": content["title"]})


def _content(
    section: ReportConfig,
    outputs: Mapping[str, StageOutput],
    data_dir: Location | None,
    run_id: str,
) -> dict[str, Any]:
    """Return the content of the page by section."""
    results = {stage: output.results for stage, output in outputs.items()}
    invocations = {stage: output.invocation for stage, output in outputs.items()}
    content = sections.overview(results, invocations, model=_find_model(outputs), run_id=run_id)
    if section.title is not None:
        content["title"] = section.title
    content["accuracy"] = accuracy(results["evaluate"]) if "evaluate" in outputs else None
    content["speed"] = sections.speed(results["benchmark"]) if "benchmark" in outputs else None
    content["training"] = _training(outputs)
    is_illustrated = section.images and "evaluate" in outputs
    reader = open_evaluated(outputs["evaluate"], data_dir) if is_illustrated else None
    content["images"] = _images(section, outputs["evaluate"], reader) if reader else []
    content["image_threshold"] = section.score_threshold
    return content


def _training(outputs: Mapping[str, StageOutput]) -> dict[str, Any] | None:
    if "train" not in outputs:
        return None
    path = outputs["train"].directory / LOG_FILE
    log = parse_log(outputs["train"].read(LOG_FILE), path)
    for line in log:
        try:
            (StepLine if line["event"] == "step" else LogLine).model_validate(line)
        except ValidationError as error:
            raise DataError(f"{path}: {first_problem(error)}; train again") from None
    return sections.training(log)


def _images(
    section: ReportConfig, evaluate: StageOutput, reader: SplitReader
) -> list[AnnotatedImage]:
    """Return the images with most errors, as many as requested or as fit."""
    worst = evaluate.results["worst_images"][: section.images]
    content = evaluate.read(DETECTIONS_FILE)
    with located(str(evaluate.directory / DETECTIONS_FILE)):
        found = parse_detections(content, reader.classes, score_threshold=section.score_threshold)
    images = take_while_small(
        _image(record, found.get(record.image_id, _NOTHING), reader.classes)
        for record in reader.read(image["row"] for image in worst)
    )
    if len(images) < len(worst):
        logger.warning("only %d of %d images fit into the report", len(images), len(worst))
    return images


def _image(record: Record, found: Detections, classes: Sequence[ClassInfo]) -> AnnotatedImage:
    with located(record.image_path):
        pixels = decode_image(record.image)
    name = Path(record.image_path).name
    return annotate_image(name, pixels, truth=record.annotations, found=found, classes=classes)


def _find_model(outputs: Mapping[str, StageOutput]) -> str | None:
    """Return the path or URI of the model, which the training wrote or another stage read."""
    for name, output in outputs.items():
        if name == "train":
            return output.directory.uri
        if "model" in output.invocation["inputs"]:
            uri: str = output.invocation["inputs"]["model"]["uri"]
            return uri
    return None


def _values(outputs: Mapping[str, StageOutput]) -> dict[str, Any]:
    """Return the values that the page is made of, by stage."""
    return {
        stage: {"invocation": output.invocation, "results": output.results}
        for stage, output in outputs.items()
    }


def _metrics(outputs: Mapping[str, StageOutput]) -> dict[str, float]:
    """Return the key metrics of evaluation and benchmark."""
    return {
        metric.name: value
        for stage in ("evaluate", "benchmark")
        if stage in outputs
        for metric in key_metrics(stage)
        if (value := outputs[stage].results["metrics"].get(metric.name)) is not None
    }
