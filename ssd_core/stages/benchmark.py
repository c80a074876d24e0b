"""The benchmark step: measures throughput and latency of a model."""

import secrets
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, replace
from itertools import islice
from pathlib import Path
from typing import Any

from ssd_core import __version__
from ssd_core.backends.base import Detector
from ssd_core.benchmark import history
from ssd_core.benchmark.environment import comparable_conditions, describe_environment
from ssd_core.benchmark.speed import END_TO_END, PARTS, BatchSpeed, generate_images, measure_speed
from ssd_core.config import BenchmarkConfig, parse_section
from ssd_core.data.shards.reader import open_split
from ssd_core.errors import DataError, GateError, located
from ssd_core.logs import logger
from ssd_core.metrics import METRICS
from ssd_core.stages.detector import open_model
from ssd_core.stages.invocation import (
    prepare_out_dir,
    read_output,
    write_invocation,
    write_results,
)
from ssd_core.store import LocalDirectory, Location
from ssd_core.structures import StageResult

_MAX_IMAGES = 64
_GENERATED_IMAGES = 8
_PERCENTILES = (50, 90, 99)


def run(
    config: Mapping[str, Any],
    model_dir: Location,
    out_dir: Path,
    *,
    data_dir: Location | None = None,
    framework: str = "torch",
    device: str = "auto",
) -> StageResult:
    """Measure the speed of a model at each configured batch size; writes `results.json`.

    `images_per_second` is the throughput at the fastest of the batch sizes, from the bytes of the
    images to detections, with decoding on threads ahead of the device. `latency_ms_*` are
    end-to-end times of a batch of the smallest size, nothing overlapping.

    Args:
        config: the `benchmark` section.
        model_dir: output of `train`, or its `model` folder, also in a store.
        out_dir: place of the results.
        data_dir: output of `convert`, also in a store, whose val images are the input; None
            generates images.
        framework: framework to run in.
        device: device to run on.

    Raises:
        UsageError: a wrong configuration, framework or device.
        DataError: an incomplete model or data set.
    """
    section = parse_section(BenchmarkConfig, config, "benchmark")
    model = open_model(model_dir, section.postprocess, framework=framework, device=device)
    inputs = {"model_dir": model.source}
    if data_dir is None:
        images, origin = generate_images(_GENERATED_IMAGES), "generated"
    else:
        images, inputs["data_dir"] = _read_images(data_dir)
        origin = "val split"
    prepare_out_dir(LocalDirectory(out_dir), "benchmark")
    logger.info("measuring on %s, %s images", model.device.name, origin)
    with located(str(data_dir or "generated images")):
        speeds = list(_measure(model.detector, images, section))
    metrics = _metrics(speeds)
    results = {
        "metrics": metrics,
        "batches": [_batch_results(speed) for speed in speeds],
        "images": {
            "origin": origin,
            "count": len(images),
            "mean_bytes": round(sum(map(len, images)) / len(images)),
        },
        "model": model.description.summary(),
        "environment": describe_environment(model.device),
    }
    options = {"framework": framework, "device": device}
    write_invocation(
        LocalDirectory(out_dir),
        "benchmark",
        section.model_dump(mode="json"),
        inputs=inputs,
        **options,
    )
    write_results(LocalDirectory(out_dir), results)
    return StageResult(metrics=metrics, metadata={"device": model.device.name})


def compare(
    config: Mapping[str, Any],
    result: StageResult,
    out_dir: Path,
    series: Location,
    run_id: str | None = None,
) -> StageResult:
    """Add a result to a series, and say how it compares with what was there.

    The verdict goes into `results.json`, and into the metadata of the returned result: `verdict` is
    `first`, `faster`, `same` or `slower`, `comparison` says it in a line.

    Args:
        config: the `benchmark` section.
        result: what `run` returned.
        out_dir: what `run` wrote.
        series: place of the series.
        run_id: name of this result in the series: the same run adds only one; None makes a new one.

    Raises:
        UsageError: nothing can be written to the series.
        DataError: a measurement of the series is damaged.
    """
    section = parse_section(BenchmarkConfig, config, "benchmark")
    results = read_output(out_dir).results
    earlier = history.read_series(series)
    new = history.Measurement(
        run=run_id or secrets.token_hex(8),
        time=history.now(),
        conditions=comparable_conditions(
            results["environment"], section.batch_sizes, results["images"]["origin"]
        ),
        metrics=results["metrics"],
        model={name: str(value) for name, value in results["model"].items()},
        version=__version__,
    )
    history.append(series, new, earlier)
    verdict = history.judge(new, earlier, section.tolerance)
    logger.info("%s", verdict.describe())
    write_results(LocalDirectory(out_dir), results | {"verdict": asdict(verdict)})
    said = {"verdict": verdict.word, "comparison": verdict.describe()}
    return replace(result, metadata={**result.metadata, **said})


def check_verdict(config: Mapping[str, Any], result: StageResult) -> None:
    """Stop where a slower result shall fail the run; called when everything is written.

    Raises:
        GateError: it is slower.
    """
    section = parse_section(BenchmarkConfig, config, "benchmark")
    if section.fail_if_slower and result.metadata.get("verdict") == "slower":
        raise GateError(str(result.metadata["comparison"]))


def _read_images(data_dir: Location) -> tuple[list[bytes], dict[str, str]]:
    """Return the first images of the val split, and their entry for the invocation."""
    reader = open_split(data_dir, "val")
    if reader.num_images == 0:
        raise DataError(f"{data_dir}: the val split has no images to measure with")
    records = islice(reader.read(range(reader.num_images)), _MAX_IMAGES)
    images = [bytes(record.image) for record in records]
    return images, {"uri": data_dir.uri, "digest": reader.manifest.digest}


def _measure(
    detector: Detector, images: Sequence[bytes], section: BenchmarkConfig
) -> Iterator[BatchSpeed]:
    """Measure each batch size, the smallest first, and say what was found."""
    for batch_size in sorted(set(section.batch_sizes)):
        speed = measure_speed(detector, images, batch_size=batch_size, seconds=section.seconds)
        logger.info("%s", _describe(speed))
        yield speed


def _metrics(speeds: Sequence[BatchSpeed]) -> dict[str, float]:
    latencies = {
        f"latency_ms_p{percentile}": speeds[0].milliseconds(END_TO_END, percentile)
        for percentile in _PERCENTILES
    }
    return {"images_per_second": max(speed.images_per_second for speed in speeds)} | latencies


def _batch_results(speed: BatchSpeed) -> dict[str, Any]:
    """Return the row of a batch size; times are milliseconds a batch."""
    return {
        "batch_size": speed.batch_size,
        "images_per_second": speed.images_per_second,
        "milliseconds": {
            part: {f"p{p}": round(speed.milliseconds(part, p), 4) for p in _PERCENTILES}
            for part in (*PARTS, END_TO_END)
        },
        "timed_batches": len(speed.seconds[END_TO_END]),
        "warm_up": {"batches": speed.warm_up_batches, "is_stable": speed.is_stable},
    }


def _describe(speed: BatchSpeed) -> str:
    parts = ", ".join(
        f"{part.replace('_', ' ')} {speed.milliseconds(part, 50):.1f}"
        for part in (*PARTS, END_TO_END)
    )
    rate = METRICS["images_per_second"].describe(speed.images_per_second)
    unstable = "" if speed.is_stable else " (the warm-up ended before the times had settled)"
    return f"batch {speed.batch_size}: {rate}; median ms a batch: {parts}{unstable}"
