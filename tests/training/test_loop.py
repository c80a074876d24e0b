"""The loop with a small learner: intervals, resuming, signals, divergence."""

import json
import math
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from ssd_core.backends.ranks import RankEnv, Ranks
from ssd_core.config import LossScaleConfig
from ssd_core.errors import DivergedError, StoppedError, UsageError
from ssd_core.store import LocalDirectory
from ssd_core.structures import Batch
from ssd_core.training.loop import train
from ssd_core.training.run import Run
from tests.train_logs import read_log
from tests.training.small_run import make_batches, make_config, make_run, outcome


def events(run: Run, event: str) -> list[int]:
    return [line["step"] for line in read_log(run.log_path) if line["event"] == event]


def test_lines_and_checkpoints_come_at_their_intervals(tmp_path):
    run = make_run(tmp_path, make_config(steps=11, log_interval=3, checkpoint_interval=4))
    state = train(run)
    assert (state.step, state.samples) == (11, 44)
    checkpoints = sorted(path.name for path in tmp_path.glob("checkpoints/step-*"))
    assert checkpoints == ["step-00000008", "step-00000011"]
    first, *steps, last = read_log(run.log_path)
    assert [line["step"] for line in steps] == [3, 4, 6, 8, 9, 11]
    assert {line["event"] for line in steps} == {"step"}
    assert first.pop("time") > 1.7e9
    assert first == {
        "event": "start",
        "step": 0,
        "total_steps": 11,
        "batch_size": 4,
        "images": 10,
        "world_size": 1,
    }
    assert (last["event"], last["step"], last["samples"]) == ("end", 11, 44)
    seconds = state.seconds - steps[0]["seconds"]
    assert last["images_per_second"] == pytest.approx(32 / seconds, rel=0.01)
    assert last["warm_up_steps"] == 3
    assert last["seconds"] == round(state.seconds, 6)


def test_a_line_means_its_interval(tmp_path):
    fine = make_run(tmp_path / "fine", make_config(log_interval=1))
    coarse = make_run(tmp_path / "coarse", make_config(log_interval=4))
    train(fine)
    train(coarse)
    each = [line["loss"] for line in read_log(fine.log_path) if line["event"] == "step"]
    means = [line["loss"] for line in read_log(coarse.log_path) if line["event"] == "step"]
    assert means == pytest.approx([np.mean(each[start : start + 4]) for start in (0, 4, 8)])
    line = read_log(coarse.log_path)[1]
    assert (line["step"], line["samples"], line["epoch"]) == (4, 16, 1.6)
    assert 0 <= line["data_wait"] <= 1
    assert 0 < line["gradient_norm"] < 10
    assert {"learning_rate", "loss_cls", "loss_bbox", "images_per_second"} <= set(line)
    assert 10e6 < line["host_memory"] < 100e9
    assert line["device_memory"] is None


@pytest.mark.parametrize(
    ("epochs", "expected"), [(1, 3), (2, 5), (0.1, 1), (1e-9, 1), (64, 160), (4.4, 11)]
)
def test_epochs_are_rounded_up_to_whole_steps(tmp_path, epochs, expected):
    run = make_run(tmp_path, make_config(steps=None, epochs=epochs))  # 10 images, batch 4
    assert run.total_steps == expected


def test_a_start_epoch_leaves_out_images_and_learning_rates(tmp_path):
    config = make_config(steps=None, epochs=4, log_interval=1)  # 10 steps
    whole = make_run(tmp_path / "whole", config)
    late = make_run(tmp_path / "late", config.model_copy(update={"start_epoch": 2}))
    seen = []

    def watched(first: int, last: int) -> Iterator[Batch]:
        for batch in make_batches(first, last):
            seen.append(batch.labels[0, 0])
            yield batch

    train(whole)
    state = train(replace(late, batches=watched))
    assert seen == [5, 6, 7, 8, 9]
    assert (state.step, state.samples) == (10, 20)
    entries = [
        [
            (line["step"], line["epoch"], line["learning_rate"])
            for line in read_log(run.log_path)[1:-1]
        ]
        for run in (whole, late)
    ]
    assert entries[1] == entries[0][5:]


def test_the_best_weights_are_kept(tmp_path):
    run = make_run(tmp_path, make_config(evaluate_every=2))
    seen = {}
    evaluate = run.evaluate
    assert evaluate is not None

    def watched() -> dict[str, float]:
        metrics = evaluate()
        seen[metrics["ap"]] = run.learner.weights()["weight"]
        return metrics

    state = train(replace(run, evaluate=watched))
    assert len(seen) == 6
    assert state.best_metrics["ap"] == max(seen)
    assert state.best_step is not None
    assert state.best_step < 12
    assert np.array_equal(state.best_weights["weight"], seen[max(seen)])
    assert events(run, "evaluation") == [2, 4, 6, 8, 10, 12]


def test_patience_ends_a_training_after_its_best_evaluations(tmp_path, caplog):
    caplog.set_level("INFO")
    run = make_run(tmp_path, make_config(steps=50, evaluate_every=2, patience=3))
    state = train(run)
    assert state.step == state.best_step + 6 < 50
    assert max(events(run, "evaluation")) == events(run, "end")[0] == state.step
    assert f"ends after step {state.step} of 50: no evaluation was better" in caplog.text


@pytest.mark.parametrize("changes", [{}, {"patience": 1}], ids=["to the end", "patience"])
def test_a_training_resumes_after_every_step(tmp_path, changes):
    """Copy it after each checkpoint; the remainder of every copy is that of the original."""
    config = make_config(checkpoint_interval=1, evaluate_every=3, **changes)
    whole = make_run(tmp_path / "whole", config)
    first_steps = []

    def batches_with_copies(first: int, last: int) -> Iterator[Batch]:
        for batch in make_batches(first, last):
            shutil.copytree(tmp_path / "whole", tmp_path / str(batch.labels[0, 0]))
            yield batch

    last_step = train(replace(whole, batches=batches_with_copies)).step
    assert (last_step == 12) == (not changes)
    for step in range(last_step):
        resumed = make_run(tmp_path / str(step), config)
        train(resumed)
        assert outcome(resumed) == outcome(whole), step
        first_steps.append(events(resumed, "start")[-1])
    assert first_steps == list(range(last_step))


def test_checkpoints_stay_after_epochs_and_after_the_best_evaluation(tmp_path):
    # 10 images, batches of 4: epochs 2 and 4 end in steps 5 and 10.
    run = make_run(tmp_path, make_config(keep_every_epochs=2, evaluate_every=3, steps=14))
    best = train(run).best_step
    assert best in {3, 6, 9}
    found = {int(path.name[5:]) for path in tmp_path.glob("checkpoints/step-*")}
    assert found == {5, 10, best, 12, 14}


def test_a_checkpoint_beyond_the_last_step_is_refused(tmp_path):
    train(make_run(tmp_path))
    with pytest.raises(UsageError, match="after step 12, the last step would be 8; choose more"):
        train(make_run(tmp_path, make_config(steps=8)))


def test_initial_weights_are_loaded_only_without_a_checkpoint(tmp_path):
    origin = {"source": "weights.safetensors"}
    for expected in ([origin], [origin, None]):
        run = replace(make_run(tmp_path), initialize=lambda: origin)
        train(run)
        starts = [line for line in read_log(run.log_path) if line["event"] == "start"]
        assert [line.get("init") for line in starts] == expected


def test_a_kill_at_any_instant_changes_nothing():
    program = Path(__file__).with_name("kill_everywhere.py")
    # What a dead process wrote is not lost, so the files may be in memory, where fsync is free.
    memory = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
    with tempfile.TemporaryDirectory(dir=memory) as folder:
        words = [sys.executable, str(program), folder]
        output = subprocess.run(words, stdout=subprocess.PIPE, check=True).stdout
    whole, *killed = [json.loads(line) for line in output.splitlines()]
    assert killed[-1]["name"] == "again"
    assert killed[-1]["killed"] > 20
    assert len(killed) > 80
    for training in killed:
        name = f"{training['name']} {training['act']}"
        for part in ("state", "arrays", "model", "log", "leftovers"):
            assert training["outcome"][part] == whole["outcome"][part], name
        # A kill between the last commit and the removal of an older one keeps that one.
        assert {*training["outcome"]["checkpoints"]} >= {*whole["outcome"]["checkpoints"]}, name


DYNAMIC = LossScaleConfig(start=8, growth_interval=100)


def make_run_with(out_dir: Path, figures: dict[str, float], **changes) -> Run:
    """A training whose learner returns other figures for step 7."""
    run = make_run(out_dir, make_config(log_interval=5, **changes))
    step = run.learner.step

    def step_with_figures(batch: Batch, rate: float):
        read = step(batch, rate)
        return (lambda: read() | figures) if batch.labels[0, 0] == 6 else read

    run.learner.step = step_with_figures
    return run


@pytest.mark.parametrize(
    ("figures", "changes", "problem"),
    [
        ({"loss": math.nan}, {}, "the loss of step 7 is nan"),
        ({"loss": math.nan, "loss_scale": 8}, {"loss_scale": DYNAMIC}, "the loss of step 7 is nan"),
        ({"gradient_norm": math.inf}, {}, "the gradient of step 7 is not finite"),
        ({"gradient_norm": math.inf}, {"loss_scale": DYNAMIC}, "the gradient of step 7"),
    ],
)
def test_figures_that_are_not_finite_stop_the_run_with_the_images(
    tmp_path, figures, changes, problem
):
    run = make_run_with(tmp_path, figures, **changes)
    named = "with the images step 7 0.jpg, step 7 1.jpg, step 7 2.jpg and 1 more in the log"
    with pytest.raises(DivergedError, match=f"{problem}.*, {named}; .*step-00000004"):
        train(run)
    assert events(run, "step") == [4, 5]
    assert read_log(run.log_path)[-1]["images"] == [f"step 7 {row}.jpg" for row in range(4)]
    assert [path.name for path in tmp_path.glob("checkpoints/step-*")] == ["step-00000004"]
    train(make_run(tmp_path))
    assert events(run, "diverged") == []


def test_a_step_that_overflows_is_counted_while_the_scale_can_fall(tmp_path):
    bad = {"gradient_norm": math.inf, "loss_scale": 8.0}
    run = make_run_with(tmp_path, bad, loss_scale=DYNAMIC)
    assert train(run).skipped == 1
    lines = read_log(run.log_path)[1:]
    assert [line["skipped"] for line in lines] == [0, 0, 1, 0, 0, 1]
    assert 0 < lines[2]["gradient_norm"] < 10


def test_weights_that_are_not_finite_are_never_saved(tmp_path):
    run = make_run(tmp_path)
    step = run.learner.step

    def step_with_a_bad_update(batch: Batch, rate: float):
        result = step(batch, rate)
        if batch.labels[0, 0] == 7:  # the loss is still finite, the next one would not be
            run.learner.arrays["optimizer/momentum"][3] = math.inf
        return result

    run.learner.step = step_with_a_bad_update
    with pytest.raises(DivergedError, match="after step 8 'optimizer/momentum' is not finite"):
        train(run)
    assert [path.name for path in tmp_path.glob("checkpoints/step-*")] == ["step-00000004"]


def batches_with_signal(number: int, step: int, first: int, last: int) -> Iterator[Batch]:
    for batch in make_batches(first, last):
        if batch.labels[0, 0] == step:
            signal.raise_signal(number)
        yield batch


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_a_signal_ends_the_run_after_its_step(tmp_path, number, code):
    before = signal.getsignal(number)
    run = make_run(tmp_path)
    with pytest.raises(StoppedError, match=f"{number.name} after step 6 of 12") as error:
        train(replace(run, batches=partial(batches_with_signal, number, 5)))
    assert error.value.exit_code == code
    assert signal.getsignal(number) is before
    assert run.checkpoints.last_dir == LocalDirectory(tmp_path / "checkpoints" / "step-00000006")
    train(make_run(tmp_path))
    assert events(run, "start") == [0, 6]
    assert events(run, "step") == [2, 4, 6, 8, 10, 12]


@pytest.mark.parametrize(("microseconds", "last"), [(1, 12), (400_000, 10), (1_000_000, 8)])
def test_ranks_agree_on_a_signal_at_log_lines_and_every_two_seconds(tmp_path, microseconds, last):
    class Pair(Ranks):
        """This rank, and one that takes `microseconds` per step."""

        def greatest(self, number: int) -> int:
            return number if number in (0, signal.SIGTERM) else max(number, microseconds)

    run = make_run(tmp_path, make_config(steps=24, log_interval=6, checkpoint_interval=24))
    batches = partial(batches_with_signal, signal.SIGTERM, 7)
    with pytest.raises(StoppedError, match=f"SIGTERM after step {last} of 24"):
        train(replace(run, batches=batches, ranks=Pair(RankEnv(world_size=2))))
    assert run.checkpoints.last_dir is not None
    assert run.checkpoints.last_dir.name == f"step-{last:08}"
