"""Measure the speed of a training by training for some steps; its model is not kept.

`ssd train --runs perf`, in place of the performance scripts of the reference systems.
"""

import os
import platform
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, redirect_stdout
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

from ssd_core.backends.ranks import Nodes, read_rank_env
from ssd_core.benchmark.speed import generate_images
from ssd_core.config import ConvertConfig, InitConfig, Recipe
from ssd_core.errors import UsageError
from ssd_core.logs import announce
from ssd_core.stages import convert, train
from ssd_core.stages.frame import Results, check_owner, run_stage
from ssd_core.stages.outputs import read_output
from ssd_core.store import LocalDirectory, Location
from ssd_core.structures import StageResult
from ssd_core.train_log import LOG_FILE, append, parse_log

DEFAULT_STEPS = 200
_LINES = 10
"""Lines of the log; the steps before the first one are warm-up."""
_GENERATED_IMAGES = 8


def run(training: train.Training, out_dir: Location, nodes: Nodes) -> StageResult:
    """Train for `train.steps` steps, or 200, and write the speed in steady state.

    Writes `results.json`, the log of the training, and a summary as the reference writes it. Unlike
    a training it is never finished: each call measures.

    Raises:
        UsageError: several machines, or a launcher's ranks, whose directories are not one.
    """
    check_owner("perf", out_dir)
    short = training.with_recipe(bounded(training.recipe))
    invocation = replace(train.request(short), stage="perf")

    def work(folder: Path) -> Results:
        results, lines = measure(short, nodes)
        for line in lines:
            append(folder / LOG_FILE, line)
        summary = _summarize(results, short.recipe, nodes.num_devices)
        case = summary["CaseName"].replace("/", "-")  # a recipe may have any name
        (folder / f"{case}.log").write_text(
            "".join(f"{name} = {value}\n" for name, value in summary.items())
        )
        announce("Final Performance images/sec : %s", summary["ActualFPS"])
        announce("E2E Training Duration sec : %s", summary["E2ETrainingTime"])
        return results

    check_machine(nodes)
    results = run_stage(invocation, out_dir, work, is_measurement=True)
    return StageResult(metrics=results["metrics"], metadata={"uri": out_dir.uri})


def bounded(recipe: Recipe, steps: int | None = None) -> Recipe:
    """Return a recipe that only trains for `steps` steps, from random weights."""
    steps = steps or recipe.train.steps or DEFAULT_STEPS
    changes = {
        "steps": steps,
        "start_epoch": 0,
        "evaluate_every": None,
        "patience": None,
        "checkpoint_interval": steps,
        "keep_every_epochs": None,
        "log_interval": max(1, steps // _LINES),
        "log": (),
        "init": InitConfig(),
    }
    return recipe.model_copy(update={"train": recipe.train.model_copy(update=changes)})


def check_machine(nodes: Nodes) -> None:
    """Raise UsageError unless a measurement would run on the devices of one machine."""
    if nodes.nnodes > 1 or read_rank_env().world_size > 1:
        raise UsageError(
            "only the devices of one machine are measured; on several, or under a launcher, train "
            f"with --set train.steps={DEFAULT_STEPS} --resume fresh, and with a --batch-size"
        )


class Measured(NamedTuple):
    """The speed of a training whose model was not kept."""

    results: Results
    """Those that are not about the model."""
    lines: list[dict[str, Any]]
    """Its log."""


def measure(training: train.Training, nodes: Nodes) -> Measured:
    """Train in a temporary directory, with the output on standard error."""
    check_machine(nodes)
    started = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="ssd-perf-") as folder, _printing_to_stderr():
        out_dir = LocalDirectory(Path(folder) / "trained")
        train.run_on_devices(training, out_dir, num_devices=nodes.num_devices)
        found = read_output(out_dir).results
        lines = parse_log(out_dir.get(LOG_FILE), LOG_FILE)
    kept = ("metrics", "steps", "warm_up_steps", "samples", "seconds", "environment")
    results = {name: found[name] for name in kept} | {"total_seconds": time.monotonic() - started}
    return Measured(results, lines)


@contextmanager
def _printing_to_stderr() -> Iterator[None]:
    """Redirect standard output, also that of new processes."""
    saved = os.dup(1)
    os.dup2(2, 1)
    try:
        with redirect_stdout(sys.stderr):
            yield
    finally:
        os.dup2(saved, 1)
        os.close(saved)


def _summarize(results: Mapping[str, Any], recipe: Recipe, num_devices: int) -> dict[str, str]:
    """Return the summary of the reference's scripts, by the names there."""
    speed, batch_size = results["metrics"]["images_per_second"], recipe.train.batch_size
    per_device = batch_size // num_devices
    return {
        "Network": recipe.name,
        "RankSize": str(num_devices),
        "BatchSize": str(per_device),
        "DeviceType": platform.machine(),
        "CaseName": f"{recipe.name}_bs{per_device}_{num_devices}p_perf",
        "ActualFPS": f"{speed:.2f}",
        "TrainingTime": f"{1000 * batch_size / speed:.2f}",
        "ActualLoss": f"{results['metrics']['loss']:.4f}",
        "E2ETrainingTime": f"{results['total_seconds']:.0f}",
    }


def write_generated_data(folder: Path, num_classes: int) -> Location:
    """Write a small data set of generated images, each with an object of every class."""
    names = [f"{number}.jpg" for number in range(_GENERATED_IMAGES)]
    source, data_dir = folder / "source", LocalDirectory(folder / "shards")
    source.mkdir()
    for name, content in zip(names, generate_images(len(names)), strict=True):
        (source / name).write_bytes(content)
    boxes = [
        f"{20 + 5 * number % 300},40,{120 + 5 * number % 300},240,{number}"
        for number in range(1, num_classes + 1)
    ]
    (source / "train.txt").write_text("".join(f"{name} {' '.join(boxes)}\n" for name in names))
    convert.run(ConvertConfig(format="txt", train="train.txt"), str(source), data_dir)
    return data_dir
