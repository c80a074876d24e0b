"""The training loop, the same for every framework: from the last checkpoint to the last step."""

import math
import signal
import sys
import time
from collections.abc import Iterator
from typing import Any

import numpy as np

from ssd_core.errors import StoppedError, UsageError, located
from ssd_core.logs import Progress, logger
from ssd_core.metrics import METRICS, summarize
from ssd_core.process import watchdog
from ssd_core.process.signals import stop_requests
from ssd_core.store.local import explain_disk_errors
from ssd_core.structures import Batch
from ssd_core.train_log import rewind
from ssd_core.training.checkpoints import TrainState
from ssd_core.training.record import Interval, append_end, append_line, diverged, log_interval
from ssd_core.training.run import Run
from ssd_core.training.schedule import learning_rate

_AGREE_SECONDS = 2.0


def train(run: Run) -> TrainState:
    """Train to the last step, from the last checkpoint if there is one.

    SIGTERM and Ctrl-C end it with a StoppedError after a checkpoint; a loss or weight that is not
    finite ends it with a DivergedError.
    """
    config, total = run.config, run.total_steps
    state = _resume(run)
    interval, figures, agree_every = Interval(), "", 1
    with stop_requests() as stop, Progress("train: step", total, done=state.step) as progress:
        for batch in _batches(run, state):
            interval.data_seconds += time.monotonic() - interval.idle_since
            rate = learning_rate(state.step, total, config.peak_rate, config.schedule)
            interval.losses.append(run.learner.step(batch, rate))
            interval.idle_since = time.monotonic()
            state.step += 1
            state.samples += config.batch_size
            watchdog.beat()
            if run.is_first:
                progress.update(state.step, figures)

            must_evaluate = _is_due(run, state.step, config.evaluate_every)
            must_save = (
                must_evaluate  # its checkpoint stays while it is the best one
                or run.ends_kept_epoch(state.step)
                or _is_due(run, state.step, config.checkpoint_interval)
            )
            must_log = must_save or _is_due(run, state.step, config.log_interval)
            stop_signal = 0
            if must_log or state.step % agree_every == 0:
                stop_signal = run.ranks.greatest(stop[0] if stop else 0)
            if not (must_log or stop_signal):
                continue
            if run.is_first:
                run.checkpoints.check_newest()
            figures = log_interval(run, state, interval, rate)
            agree_every = _steps_between_agreements(run, interval)
            if must_save or stop_signal:
                run.ranks.on_first(lambda: _save(run, state))
            if stop_signal and run.ranks.env.local_rank:
                sys.exit(128 + stop_signal)  # the first rank of the machine reports it
            if stop_signal:
                raise _stopped(run, state, signal.Signals(stop_signal))
            if must_evaluate:
                _evaluate(run, state)
            interval = Interval()
    append_end(run, state)
    return state


def _steps_between_agreements(run: Run, interval: Interval) -> int:
    """Return after how many steps the ranks exchange a signal to stop, the same on all ranks.

    Each exchange waits for every rank, so they take place at most every `_AGREE_SECONDS`, by the
    pace of the slowest rank in the interval, whose device has finished.
    """
    if run.ranks.world_size == 1:
        return 1
    seconds = (time.monotonic() - interval.started) / len(interval.losses)
    return max(1, int(_AGREE_SECONDS * 1e6) // run.ranks.greatest(math.ceil(seconds * 1e6)))


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
    append_line(run, first | start)
    if state.samples:
        logger.info("continuing after step %d of %d", state.step, run.total_steps)
        if must_evaluate:
            _evaluate(run, state)
    return state


def _is_due(run: Run, step: int, every: int | None) -> bool:
    return every is not None and (step % every == 0 or step == run.total_steps)


def _save(run: Run, state: TrainState) -> None:
    """Commit a checkpoint, unless the last update has made a weight infinite or NaN."""
    arrays = run.learner.state()
    for name, array in arrays.items():
        if array.dtype.kind == "f" and not np.isfinite(array).all():
            raise diverged(run, state.step, f"after step {state.step} '{name}' is not finite")
    run.checkpoints.save(
        state, arrays, lambda step: step == state.best_step or run.ends_kept_epoch(step)
    )


def _evaluate(run: Run, state: TrainState) -> None:
    """Measure the current weights, and keep them if they are the best so far."""
    assert run.evaluate is not None, "evaluate_every needs `evaluate`"
    metrics = run.ranks.on_first(run.evaluate)
    append_line(run, {"event": "evaluation", "step": state.step, **metrics})
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


def _stopped(run: Run, state: TrainState, number: signal.Signals) -> StoppedError:
    return StoppedError(
        f"stopped by {number.name} after step {state.step} of {run.total_steps}; "
        "the same command continues from there",
        number,
    )
