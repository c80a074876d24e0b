"""Measure throughput and latency of a model."""

import secrets
import tempfile
from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

from ssd_core import __version__
from ssd_core.backends import find_framework
from ssd_core.backends.base import Detector
from ssd_core.backends.ranks import Nodes
from ssd_core.benchmark import history
from ssd_core.benchmark.environment import comparable_conditions, describe_environment
from ssd_core.benchmark.speed import BatchSpeed, generate_images, measure_speed
from ssd_core.config import BenchmarkConfig
from ssd_core.data.shards.reader import open_split
from ssd_core.errors import DataError, GateError, UsageError, located
from ssd_core.logs import announce, logger
from ssd_core.metrics import END_TO_END, METRICS, PARTS
from ssd_core.stages.detector import OpenedModel, choose_framework, open_model
from ssd_core.stages.evaluated import read_evaluation
from ssd_core.stages.frame import Input, Invocation, Results, check_owner, run_stage
from ssd_core.stages.outputs import read_output
from ssd_core.stages.perf import bounded, measure, write_generated_data
from ssd_core.stages.train import Training
from ssd_core.store import Location
from ssd_core.store.known_file import digest_json
from ssd_core.structures import StageResult

_MAX_IMAGES = 64
_GENERATED_IMAGES = 8
_PERCENTILES = (50, 90, 99)


class SpeedSeries(NamedTuple):
    """Earlier results, to compare with and to append to."""

    directory: Location
    run_id: str | None = None
    """Name of the new result, unique within the series; None generates one."""


def run(
    config: BenchmarkConfig,
    model_dir: Location,
    out_dir: Location,
    *,
    data_dir: Location | None = None,
    evaluation: Location | None = None,
    series: SpeedSeries | None = None,
    framework: str | None = None,
    device: str = "auto",
) -> StageResult:
    """Measure the speed of a model at each configured batch size.

    `images_per_second` is the throughput at the fastest batch size, from encoded images to
    detections, while threads decode ahead of the device. `latency_ms_*` are end-to-end times of the
    smallest batch size, without overlap. With `train_steps` also the speed of a training with the
    recipe of the model is measured, on the train split or on generated images. With a series the
    metadata of the result have a `verdict`, one of `history.Word`.

    Args:
        config: the `benchmark` section.
        model_dir: output of `train`, or its `model` folder.
        out_dir: directory of the results.
        data_dir: output of `convert`, whose val images are the input; None generates images.
        evaluation: output of `evaluate` for the same model, framework and precision, whose AP
            stands beside the speed.
        series: earlier results to compare with and to append to.
        framework: framework to run in; None takes the usual one, see `choose_framework`.
        device: device to run on.
    """
    check_owner("benchmark", out_dir)
    framework = choose_framework(model_dir, framework)
    if config.train_steps:
        find_framework(framework)  # a runtime of exported files does not train
    inputs = {}
    if data_dir is None:
        images, origin = generate_images(_GENERATED_IMAGES), "generated"
    else:
        images, inputs["dataset"] = _read_images(data_dir)
        origin = "val split"
    model = open_model(model_dir, config.postprocess, framework=framework, device=device)
    inputs["model"] = model.source
    accuracy = {}
    if evaluation is not None:
        evaluated = read_evaluation(evaluation, model)
        inputs["evaluation"] = evaluated.described()
        accuracy = {"ap": evaluated.results["metrics"]["ap"]}
        announce("%s", METRICS["ap"].describe(accuracy["ap"]))
    invocation = Invocation(
        stage="benchmark",
        config=config,
        inputs=inputs,
        options={"framework": framework, "device": device},
    )

    def work(folder: Path) -> Results:
        logger.info("measuring on %s; images: %s", model.device.name, origin)
        with located(str(data_dir or "generated images")):
            speeds = list(_measure(model.detector, images, config))
        results = _results(speeds, images, origin, model)
        results["metrics"] |= accuracy
        if image := invocation.content()["image"]:
            results["environment"]["image"] = image
        if config.train_steps:
            speed = _measure_training(model, data_dir, config.train_steps, framework)
            announce("%s", METRICS["train_images_per_second"].describe(speed))
            results["metrics"]["train_images_per_second"] = speed
        if series is not None:
            verdict = _compare(config, model, results, series)
            results["verdict"] = verdict.content()
        return results

    results = run_stage(invocation, out_dir, work, is_measurement=True)
    metadata: dict[str, str | float] = {"device": model.device.name}
    if verdict := results.get("verdict"):
        metadata["verdict"] = verdict["word"]
        metadata |= {name: verdict[name] for name in ("change", "comparison")}
    return StageResult(metrics=results["metrics"], metadata=metadata)


def _results(
    speeds: Sequence[BatchSpeed], images: Sequence[bytes], origin: str, model: OpenedModel
) -> Results:
    return {
        "metrics": _metrics(speeds),
        "batches": [_batch_results(speed) for speed in speeds],
        "images": {
            "origin": origin,
            "count": len(images),
            "mean_bytes": round(sum(map(len, images)) / len(images)),
        },
        "model": model.description.summary() | {"weights": model.source.digest},
        "environment": describe_environment(model.device),
    }


def _compare(
    config: BenchmarkConfig, model: OpenedModel, results: Results, series: SpeedSeries
) -> history.Verdict:
    """Append a result to a series, and announce how it compares with the earlier ones."""
    earlier = history.read_series(series.directory)
    new = history.Measurement(
        run=series.run_id or secrets.token_hex(8),
        time=history.now(),
        conditions=comparable_conditions(
            results["environment"],
            config.batch_sizes,
            network=_digest_network(model, config),
            images=results["images"]["origin"],
        ),
        metrics=_trained_accuracy(model.source) | results["metrics"],
        model={name: str(value) for name, value in results["model"].items()},
        version=__version__,
        environment=results["environment"],
        is_stable=all(row["warm_up"]["is_stable"] for row in results["batches"]),
    )
    history.append(series.directory, new, earlier)
    verdict = history.judge(new, earlier)
    announce("%s", verdict.describe())
    if not new.is_stable:
        seconds = config.seconds
        announce(
            "for a longer warm-up, add --set benchmark.seconds=%g (now %g)", 2 * seconds, seconds
        )
    return verdict


def _trained_accuracy(source: Input) -> dict[str, float]:
    """Return the AP of the weights, if a model is the output of a training that measured it."""
    try:
        metrics = read_output(Location.parse(source.uri)).results.get("metrics", {})
    except (UsageError, DataError):  # a model without its training, or while that continues
        return {}
    return {"ap": metrics["ap"]} if metrics.get("ap") is not None else {}


def _digest_network(model: OpenedModel, config: BenchmarkConfig) -> str:
    """Return a digest of all that decides the work per image, apart from the weights."""
    network = model.description.model
    postprocess = config.postprocess.apply(network.postprocess)
    network = network.model_copy(update={"postprocess": postprocess})
    # Without defaults, a key that a later version adds does not end the series.
    values = network.model_dump(mode="json", exclude_defaults=True)
    return digest_json(values | {"num_classes": len(model.classes)})[:16]


def check_verdict(config: BenchmarkConfig, result: StageResult) -> None:
    """Fail a run that is slower than its series by too much; called after all writes.

    Raises:
        GateError: the result is slower than `fail_on_regression` permits.
    """
    limit, values = config.fail_on_regression, result.metadata
    if limit is None or values.get("verdict") != "slower":
        return
    if -float(values["change"]) > limit:
        raise GateError(
            f"{values['comparison']}; at most {limit:g} % are accepted "
            "(benchmark.fail_on_regression)"
        )


def _read_images(data_dir: Location) -> tuple[list[bytes], Input]:
    """Return the first val images, and their data set."""
    reader = open_split(data_dir, "val")
    if reader.num_images == 0:
        raise DataError(f"{data_dir}: the val split has no images to measure with")
    records = islice(reader.read(range(reader.num_images)), _MAX_IMAGES)
    images = [bytes(record.image) for record in records]
    return images, Input(data_dir.uri, reader.manifest.digest)


def _measure(
    detector: Detector, images: Sequence[bytes], section: BenchmarkConfig
) -> Iterator[BatchSpeed]:
    """Measure each batch size, the smallest first, and log the results."""
    for batch_size in sorted(set(section.batch_sizes)):
        speed = measure_speed(detector, images, batch_size=batch_size, seconds=section.seconds)
        announce("%s", _describe(speed))
        yield speed


def _measure_training(
    model: OpenedModel, data_dir: Location | None, steps: int, framework: str
) -> float:
    """Return the images per second of a training with the recipe of the model."""
    with tempfile.TemporaryDirectory(prefix="ssd-benchmark-") as folder:
        training = Training(
            recipe=bounded(model.description.recipe, steps),
            data_dir=data_dir or write_generated_data(Path(folder), model.description.num_classes),
            framework=framework,
            device=model.device.device,
        )
        speed: float = measure(training, Nodes(1)).results["metrics"]["images_per_second"]
    return speed


def _metrics(speeds: Sequence[BatchSpeed]) -> dict[str, float]:
    latencies = {
        f"latency_ms_p{percentile}": speeds[0].milliseconds(END_TO_END, percentile)
        for percentile in _PERCENTILES
    }
    return {"images_per_second": max(speed.images_per_second for speed in speeds)} | latencies


def _batch_results(speed: BatchSpeed) -> dict[str, Any]:
    """Return the row of a batch size; times are milliseconds per batch."""
    return {
        "batch_size": speed.batch_size,
        "images_per_second": speed.images_per_second,
        "milliseconds": {
            part: {f"p{p}": round(speed.milliseconds(part, p), 4) for p in _PERCENTILES}
            for part in (*PARTS, END_TO_END)
        },
        "candidates_per_image": round(speed.candidates_per_image, 1),
        "timed_batches": len(speed.seconds[END_TO_END]),
        "warm_up": {"batches": speed.warm_up_batches, "is_stable": speed.is_stable},
    }


def _describe(speed: BatchSpeed) -> str:
    parts = ", ".join(
        f"{part.replace('_', ' ')} {speed.milliseconds(part, 50):.1f}"
        for part in (*PARTS, END_TO_END)
    )
    rate = METRICS["images_per_second"].describe(speed.images_per_second)
    unstable = "" if speed.is_stable else " (times were still changing after the warm-up)"
    candidates = f"{speed.candidates_per_image:,.0f} boxes per image enter NMS"
    return f"batch {speed.batch_size}: {rate}; median ms per batch: {parts}; {candidates}{unstable}"
