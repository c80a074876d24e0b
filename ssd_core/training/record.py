"""The record of a run: the lines of its log, and the errors that they explain."""

import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from ssd_core.backends.base import ReadLosses
from ssd_core.errors import DivergedError
from ssd_core.logs import logger
from ssd_core.metrics import METRICS, summarize
from ssd_core.process.memory import read_peak_memory
from ssd_core.store.local import explain_disk_errors
from ssd_core.train_log import append, find_timed_steps, parse_log, steady_speed
from ssd_core.training.checkpoints import TrainState
from ssd_core.training.run import Run

_NUM_NAMED = 3
"""Images of a bad batch that its message names."""


@dataclass(slots=True, kw_only=True)
class Interval:
    """The steps since the last line of the log."""

    started: float = field(default_factory=time.monotonic)
    idle_since: float = field(default_factory=time.monotonic)
    data_seconds: float = 0.0
    losses: list[ReadLosses] = field(default_factory=list)


def log_interval(run: Run, state: TrainState, interval: Interval, rate: float) -> str:
    """Wait for the device, log an interval, and return its figures for the progress line."""
    losses = _read_losses(run, state, interval.losses)
    state.skipped += losses["skipped"]
    seconds = time.monotonic() - interval.started
    state.seconds += seconds
    state.loss = losses["loss"]
    num_images = len(interval.losses) * run.config.batch_size
    line = {
        "event": "step",
        "step": state.step,
        "samples": state.samples,
        "epoch": round(state.step * run.config.batch_size / run.num_images, 3),
        **losses,
        "learning_rate": rate,
        "images_per_second": round(num_images / seconds, 3),
        "data_wait": round(interval.data_seconds / seconds, 4),
        "host_memory": read_peak_memory(),
        "device_memory": run.device_memory(),
        "seconds": round(state.seconds, 6),
    }
    append_line(run, line)
    figures = summarize("train", line)
    _log_epoch(run, state, num_images, figures)
    if state.best_step is not None:
        name = run.config.best_metric
        best = METRICS[name].describe(state.best_metrics.get(name))
        figures.append(f"best {best}")
    return ", ".join(figures)


def _log_epoch(run: Run, state: TrainState, num_images: int, figures: list[str]) -> None:
    """Log an interval that ends an epoch, or the training."""
    seen = state.step * run.config.batch_size
    ends_epoch = (seen - num_images) // run.num_images < seen // run.num_images
    if run.is_first and (ends_epoch or state.step == run.total_steps):
        place = (state.step, run.total_steps, seen / run.num_images)
        logger.info("step %d of %d, %.2f epochs: %s", *place, ", ".join(figures))


def _read_losses(run: Run, state: TrainState, reads: list[ReadLosses]) -> dict[str, Any]:
    """Return the means of an interval; the losses of every step must be finite."""
    readings = [read() for read in reads]
    for step, values in enumerate(readings, state.step - len(reads) + 1):
        _check_finite(run, step, values)
    figures: dict[str, Any] = {
        name: _mean([values[name] for values in readings]) for name in readings[0]
    }
    norms = [norm for values in readings if math.isfinite(norm := values["gradient_norm"])]
    figures["gradient_norm"] = _mean(norms) if norms else None
    figures["loss_scale"] = readings[-1]["loss_scale"]
    return figures | {"skipped": len(readings) - len(norms)}


def _check_finite(run: Run, step: int, values: Mapping[str, float]) -> None:
    """Check the figures of a step; infinite gradients may be due to a scale that can still fall."""
    if not all(math.isfinite(values[name]) for name in values.keys() - {"gradient_norm"}):
        raise diverged(run, step, f"the loss of step {step} is {values['loss']}")
    can_fall = run.config.loss_scale.growth_interval is not None and values["loss_scale"] > 1
    if not (can_fall or math.isfinite(values["gradient_norm"])):
        raise diverged(run, step, f"the gradient of step {step} is not finite")


def _mean(values: Sequence[float]) -> float:
    return math.fsum(values) / len(values)


def append_end(run: Run, state: TrainState) -> None:
    """Log the end of the training, with its speed in steady state."""
    if not run.is_first:
        return
    speed, left_out = steady_speed(
        find_timed_steps(parse_log(run.log_path.read_bytes(), run.log_path))
    )
    line = {
        "event": "end",
        "step": state.step,
        "samples": state.samples,
        "skipped": state.skipped,
        "seconds": round(state.seconds, 6),
        "images_per_second": round(speed, 3),
        "warm_up_steps": left_out,
    }
    append_line(run, line)


def append_line(run: Run, line: Mapping[str, Any]) -> None:
    """Append a line with its time to the log, in the process that writes it."""
    if not run.is_first:
        return
    line = {**line, "time": round(time.time(), 3)}
    with explain_disk_errors(run.log_path):
        append(run.log_path, line)
    for listener in run.listeners:
        listener(line)


def diverged(run: Run, step: int, problem: str) -> DivergedError:
    """Log the images of a step that went wrong, and return an error that names some of them."""
    images = run.name_images(step)
    append_line(run, {"event": "diverged", "step": step, "problem": problem, "images": images})
    more = len(images) - _NUM_NAMED
    names = ", ".join(images[:_NUM_NAMED]) + (f" and {more} more in the log" if more > 0 else "")
    last = run.checkpoints.last_dir if run.is_first else "see rank 0"
    return DivergedError(
        f"training diverged: {problem}, with the images {names}; last good checkpoint: "
        f"{last or 'none'}; check them, or try a lower train.optimizer.learning_rate (now "
        f"{run.config.optimizer.learning_rate:g})"
    )
