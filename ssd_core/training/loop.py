"""The training loop, the same for every framework: from the last checkpoint to the last step."""

import math
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType
from typing import Any

import numpy as np

from ssd_core.backends.base import Learner, ReadLosses
from ssd_core.backends.ranks import ALONE, Ranks
from ssd_core.config import TrainConfig
from ssd_core.errors import DivergedError, StoppedError, UsageError, located
from ssd_core.logs import Progress, logger
from ssd_core.metrics import METRICS, summarize
from ssd_core.process import watchdog
from ssd_core.process.sigterm import saving_on_sigterm
from ssd_core.store.local import explain_disk_errors
from ssd_core.structures import Batch
from ssd_core.train_log import append, rewind
from ssd_core.training.checkpoints import CheckpointDir, TrainState
from ssd_core.training.schedule import learning_rate

_NUM_NAMED = 3
"""Images of a bad batch that its message names."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """All that the loop works with."""

    config: TrainConfig
    num_images: int
    """Of the training split."""
    learner: Learner
    batches: Callable[[int, int], Iterator[Batch]]
    """Yields the batches of steps first .. last - 1."""
    name_images: Callable[[int], list[str]]
    """Returns the paths of the images in the batch of a step, counted from 1."""
    checkpoints: CheckpointDir
    log_path: Path
    facts: Mapping[str, Any]
    """Further entries of the `start` line of the log."""
    initialize: Callable[[], dict[str, Any]] = dict
    """Loads initial weights into the learner and describes them; called without a checkpoint."""
    take_over: Callable[[], None] = lambda: None
    """Called when the checkpoint is loaded, before anything is written."""
    ranks: Ranks = ALONE
    """Each process runs this loop; only rank 0 writes and evaluates."""
    evaluate: Callable[[], dict[str, float]] | None = None
    """Measures the learner's current weights; called when `evaluate_every` is set."""

    @property
    def is_first(self) -> bool:
        """Whether this process writes the files."""
        return self.ranks.rank == 0

    @property
    def total_steps(self) -> int:
        """Optimizer steps of the whole run; `epochs` are rounded up to whole steps."""
        return self.config.steps or max(1, math.ceil(self._steps_of(self.config.epochs)))

    @property
    def first_step(self) -> int:
        """Steps that are left out, because of `start_epoch`."""
        return math.floor(self._steps_of(self.config.start_epoch))

    def _steps_of(self, epochs: float) -> float:
        return round(epochs * self.num_images / self.config.batch_size, 6)

    def ends_kept_epoch(self, step: int) -> bool:
        """Return whether the checkpoint after `step` stays, because of `keep_every_epochs`."""
        if self.config.keep_every_epochs is None:
            return False
        images = self.config.keep_every_epochs * self.num_images
        before, after = ((each * self.config.batch_size) // images for each in (step - 1, step))
        return before < after


@dataclass(slots=True, kw_only=True)
class _Interval:
    """The steps since the last line of the log."""

    started: float = field(default_factory=time.monotonic)
    idle_since: float = field(default_factory=time.monotonic)
    data_seconds: float = 0.0
    losses: list[ReadLosses] = field(default_factory=list)


def train(run: Run) -> TrainState:
    """Train to the last step, from the last checkpoint if there is one.

    SIGTERM and Ctrl-C end it with a StoppedError after a checkpoint; a loss or weight that is not
    finite ends it with a DivergedError.
    """
    config, total = run.config, run.total_steps
    state = _resume(run)
    interval, figures = _Interval(), ""
    with _stop_requests() as stop, Progress("train: step", total, done=state.step) as progress:
        for batch in _batches(run, state):
            interval.data_seconds += time.monotonic() - interval.idle_since
            rate = learning_rate(state.step, total, config.optimizer.learning_rate, config.schedule)
            interval.losses.append(run.learner.step(batch, rate))
            interval.idle_since = time.monotonic()
            state.step += 1
            state.samples += config.batch_size
            watchdog.beat()
            if run.is_first:
                progress.update(state.step, figures)

            stop_signal = run.ranks.greatest(stop[0] if stop else 0)
            must_evaluate = _is_due(run, state.step, config.evaluate_every)
            must_save = (
                bool(stop_signal)
                or must_evaluate  # its checkpoint stays while it is the best one
                or run.ends_kept_epoch(state.step)
                or _is_due(run, state.step, config.checkpoint_interval)
            )
            if not (must_save or _is_due(run, state.step, config.log_interval)):
                continue
            if run.is_first:
                run.checkpoints.check_newest()
            figures = _log(run, state, interval, rate)
            if must_save:
                run.ranks.on_first(lambda: _save(run, state))
            if stop_signal and run.ranks.env.local_rank:
                sys.exit(128 + stop_signal)  # the first rank of the machine reports it
            if stop_signal:
                raise _stopped(run, state, signal.Signals(stop_signal))
            if must_evaluate:
                _evaluate(run, state)
            interval = _Interval()
    end = {
        "event": "end",
        "step": state.step,
        "samples": state.samples,
        "skipped": state.skipped,
        "seconds": round(state.seconds, 6),
        "images_per_second": round(state.images_per_second, 3),
    }
    _append(run, end)
    return state


def _batches(run: Run, state: TrainState) -> Iterator[Batch]:
    """Yield the remaining batches, until evaluations have lost their patience."""
    every, patience = run.config.evaluate_every, run.config.patience

    def is_hopeless() -> bool:
        if every is None or patience is None or state.best_step is None:
            return False
        return state.step >= state.best_step + patience * every

    if not is_hopeless():
        for batch in run.batches(state.step, run.total_steps):
            yield batch
            if is_hopeless():
                break
    if state.step < run.total_steps and run.is_first:
        logger.info(
            "the training ends after step %d of %d: no evaluation was better than that of step %s",
            state.step,
            run.total_steps,
            state.best_step,
        )


def _resume(run: Run) -> TrainState:
    """Load the last checkpoint, and repeat the evaluation that followed it if it was lost."""
    state, start = TrainState(step=run.first_step), dict(run.facts)

    def begin() -> tuple[dict[str, Any], bool]:
        nonlocal state
        if checkpoint := run.checkpoints.resume():
            state, arrays = checkpoint
            if state.step > run.total_steps:
                raise UsageError(
                    f"the last checkpoint is that after step {state.step}, the last step would be "
                    f"{run.total_steps}; choose more train.epochs, or --resume fresh to start again"
                )
            with located(str(run.checkpoints.last_dir)):
                run.learner.load_state(arrays)
        elif origin := run.initialize():
            start["init"] = origin
        run.take_over()
        with explain_disk_errors(run.log_path):
            rewind(run.log_path, state.step)
        # The last evaluation of a training that is continued follows its last checkpoint.
        is_last = run.checkpoints.is_continued and run.config.evaluate_every is not None
        must_evaluate = is_last or _is_due(run, state.step, run.config.evaluate_every)
        return state.model_dump(mode="json"), must_evaluate

    shared, must_evaluate = run.ranks.on_first(begin)
    if not run.is_first:
        state = TrainState.model_validate(shared)
    if run.ranks.world_size > 1:
        run.learner.load_state(run.ranks.share(run.learner.state()))
    first = {
        "event": "start",
        "step": state.step,
        "total_steps": run.total_steps,
        "batch_size": run.config.batch_size,
        "images": run.num_images,
    }
    _append(run, first | start)
    if state.samples:
        logger.info("continuing after step %d of %d", state.step, run.total_steps)
        if must_evaluate:
            _evaluate(run, state)
    return state


def _is_due(run: Run, step: int, every: int | None) -> bool:
    return every is not None and (step % every == 0 or step == run.total_steps)


def _log(run: Run, state: TrainState, interval: _Interval, rate: float) -> str:
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
        "seconds": round(state.seconds, 6),
    }
    _append(run, line)
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
        raise _diverged(run, step, f"the loss of step {step} is {values['loss']}")
    can_fall = run.config.loss_scale.growth_interval is not None and values["loss_scale"] > 1
    if not (can_fall or math.isfinite(values["gradient_norm"])):
        raise _diverged(run, step, f"the gradient of step {step} is not finite")


def _mean(values: Sequence[float]) -> float:
    return math.fsum(values) / len(values)


def _save(run: Run, state: TrainState) -> None:
    """Commit a checkpoint, unless the last update has made a weight infinite or NaN."""
    arrays = run.learner.state()
    for name, array in arrays.items():
        if array.dtype.kind == "f" and not np.isfinite(array).all():
            raise _diverged(run, state.step, f"after step {state.step} '{name}' is not finite")
    run.checkpoints.save(
        state, arrays, lambda step: step == state.best_step or run.ends_kept_epoch(step)
    )


def _evaluate(run: Run, state: TrainState) -> None:
    """Measure the current weights, and keep them if they are the best so far."""
    assert run.evaluate is not None, "evaluate_every needs `evaluate`"
    metrics = run.ranks.on_first(run.evaluate)
    _append(run, {"event": "evaluation", "step": state.step, **metrics})
    if run.is_first:
        figures = summarize("evaluate", metrics)
        if "val_loss" in metrics:
            figures.append(METRICS["val_loss"].describe(metrics["val_loss"]))
        logger.info("step %d of %d, val split: %s", state.step, run.total_steps, ", ".join(figures))
    name = run.config.best_metric
    value, best = metrics.get(name), state.best_metrics.get(name)
    is_better = value is not None and (best is None or METRICS[name].is_better(value, best))
    if state.best_step is None or is_better:
        state.best_step, state.best_metrics = state.step, metrics
        state.best_weights = run.learner.weights() if run.is_first else {}


def _append(run: Run, line: Mapping[str, Any]) -> None:
    if not run.is_first:
        return
    with explain_disk_errors(run.log_path):
        append(run.log_path, line)


def _diverged(run: Run, step: int, problem: str) -> DivergedError:
    """Log the images of a step that went wrong, and return an error that names some of them."""
    images = run.name_images(step)
    _append(run, {"event": "diverged", "step": step, "problem": problem, "images": images})
    more = len(images) - _NUM_NAMED
    names = ", ".join(images[:_NUM_NAMED]) + (f" and {more} more in the log" if more > 0 else "")
    last = run.checkpoints.last_dir if run.is_first else "see rank 0"
    return DivergedError(
        f"training diverged: {problem}, with the images {names}; last good checkpoint: "
        f"{last or 'none'}; check them, or try a lower train.optimizer.learning_rate (now "
        f"{run.config.optimizer.learning_rate:g})"
    )


def _stopped(run: Run, state: TrainState, number: signal.Signals) -> StoppedError:
    return StoppedError(
        f"stopped by {number.name} after step {state.step} of {run.total_steps}; "
        "the same command continues from there",
        number,
    )


@contextmanager
def _stop_requests() -> Iterator[list[signal.Signals]]:
    """Collect SIGTERM and SIGINT, which the loop reads after each step; a second one exits at once.

    Python delivers signals to the main thread only; in any other thread the list stays empty.
    """
    received: list[signal.Signals] = []

    def note(number: int, frame: FrameType | None) -> None:
        if received:
            os._exit(128 + number)  # the default action does not end process 1 of a container
        received.append(signal.Signals(number))

    if threading.current_thread() is not threading.main_thread():
        yield received
        return
    previous = {number: signal.signal(number, note) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        with saving_on_sigterm():
            yield received
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)
