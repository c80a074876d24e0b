"""`ssd fps`: three kinds of logs, each with figures computed by hand."""

import json
from pathlib import Path

import pytest

from ssd_core.benchmark.fps import measure_log
from ssd_core.errors import DataError, UsageError
from tests.commands import call_ssd


def mmcv_log(*, batch: int = 8) -> list[dict[str, object]]:
    """Return two epochs; the first steps are slow, then one window of the second epoch."""
    times = {1: (2.0, 0.5, 0.25), 2: (0.5, 0.5, 0.125)}
    lines: list[dict[str, object]] = [
        {"env_info": "Python: 3.7", "config": f"data = dict(\n    samples_per_gpu={batch},\n"}
    ]
    for epoch, means in times.items():
        for window, mean in enumerate(means, 1):
            line = {"mode": "train", "epoch": epoch, "iter": 50 * window, "lr": 0.002}
            lines.append(line | {"data_time": 0.01, "loss": 3.1, "time": mean})
        lines.append({"mode": "val", "epoch": epoch, "iter": 170, "lr": 0.002, "bbox_mAP": 0.2})
    return lines


def written(lines: list[dict[str, object]]) -> bytes:
    return "".join(f"{json.dumps(line)}\n" for line in lines).encode()


# calc_fps.py: per epoch the mean of 64 / 0.5 and 64 / 0.25, then of 64 / 0.5 and 64 / 0.125.
CALC_FPS = ((128 + 256) / 2 + (128 + 512) / 2) / 2
TRUE_MMCV = 64 * 250 / (50 * (0.5 + 0.25 + 0.5 + 0.5 + 0.125))


@pytest.mark.parametrize(
    ("batch", "factor", "why"),
    [
        (None, 1, "mean of the speeds of windows"),
        (8, 1, "mean of the speeds of windows"),
        (64, 8, "it multiplies by 512 images per step, --devices times --batch, but a step has 64"),
    ],
)
def test_mmcv(batch: int | None, factor: int, why: str) -> None:
    speed = measure_log(written(mmcv_log()), "log", devices=8, batch=batch)
    assert speed.reference_value == pytest.approx(CALC_FPS * factor)
    assert speed.images_per_second == pytest.approx(TRUE_MMCV)
    assert why in speed.difference
    assert speed.difference.endswith("leaves out 50 steps as warm-up")


def test_mmcv_without_validation_fails_there_and_not_here() -> None:
    lines = [line for line in mmcv_log() if line.get("mode") != "val"]
    speed = measure_log(written(lines), "log", devices=8)
    assert speed.reference_value is None
    assert "divides by zero" in speed.difference
    assert speed.images_per_second == pytest.approx(TRUE_MMCV)


@pytest.mark.parametrize(
    "line",
    ["Train epoch time: {}.000 ms, per step time: {}.000 ms", "epoch time: {}, per step time: {}"],
)
def test_both_generations_of_mindspore(line: str) -> None:
    epochs = [(90000, 900), (10000, 100), (8000, 80)]
    text = "".join(
        f"epoch: {number} step: 100, loss is 3.1\n{line.format(*times)}\n"
        for number, times in enumerate(epochs, 1)
    )
    speed = measure_log(f"In sink mode\n{text}".encode(), "log", devices=8, batch=32)
    assert (speed.reference_value, speed.reference_unit) == (80, "ms/step")
    assert speed.images_per_second == pytest.approx(256 * 200 / 18)
    assert "a step of 8 devices has 256 images, not 32" in speed.difference
    assert speed.difference.endswith("leaves out 100 steps as warm-up")


def our_log() -> list[dict[str, object]]:
    """Return a training of 3 epochs of 100 steps with 2 ranks, continued after step 200."""
    start = {"event": "start", "batch_size": 8, "images": 800, "world_size": 2}
    steps = [(20, 20.0), (100, 60.0), (160, 75.0), (200, 85.0)]
    lines: list[dict[str, object]] = [start | {"step": 0}]
    lines += [{"event": "step", "step": step, "seconds": seconds} for step, seconds in steps]
    lines += [{"event": "evaluation", "step": 200, "ap": 0.1}, start | {"step": 200}]
    lines += [{"event": "step", "step": 240, "seconds": 125.0}]
    return [*lines, {"event": "step", "step": 300, "seconds": 140.0}]


@pytest.mark.parametrize(("batch", "factor"), [(None, 1), (4, 1), (8, 2)])
def test_our_own_log(batch: int | None, factor: int) -> None:
    speed = measure_log(written(our_log()), "log", batch=batch)
    rates = [8 * 80 / 40, (8 * 60 / 15 + 8 * 40 / 10) / 2, 8 * 60 / 15]
    assert speed.reference_value == pytest.approx(factor * sum(rates) / 3)
    assert speed.images_per_second == pytest.approx(8 * 240 / (40 + 15 + 10 + 15))
    assert speed.difference.endswith("leaves out 60 steps as warm-up")


def test_a_single_window_is_better_than_none() -> None:
    speed = measure_log(written(our_log()[:2]), "log")
    assert speed.images_per_second == pytest.approx(8)
    assert speed.difference.endswith("includes the warm-up, as there are no further steps")


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"epoch: 1 step: 5, loss is 2.0\n",
        b"epoch time: 1.2.3, per step time: 5\n",
        b"epoch time: 100, per step time: 0\n",
        b'{"config": "samples_per_gpu=8"}\nnonsense\n',
        b'{"mode": "train", "epoch": 1, "iter": 50}\n',
        b'{"mode": "train", "epoch": 1, "iter": 50, "time": "x"}\n',
        b'{"mode": "train", "epoch": 1, "iter": 50, "time": NaN}\n',
        b'{"mode": "val"}\n',
        b'{"event": "step", "step": 1, "seconds": 2}\n',
        b'{"event": "start", "step": 0, "batch_size": 4, "images": 0, "world_size": 1}\n'
        b'{"event": "step", "step": 1, "seconds": 2}\n',
        b'{"event": "start", "step": 0}\nnonsense\n',
    ],
)
def test_a_malformed_log_is_named(content: bytes) -> None:
    with pytest.raises(DataError, match=r"^train\.log"):
        measure_log(content, "train.log", batch=8)


def test_a_log_without_the_batch_size_needs_it() -> None:
    for content in (b"epoch time: 100, per step time: 5\n", written(mmcv_log()[1:])):
        with pytest.raises(UsageError, match="add --batch N"):
            measure_log(content, "log")


def test_the_command_prints_both_figures(tmp_path: Path) -> None:
    log = tmp_path / "20221014.log.json"
    log.write_bytes(written(mmcv_log()))
    done = call_ssd("fps", log, "--devices", "8", "--batch", "64")
    assert done.stdout.splitlines()[:2] == [
        "true                  170.67 images/s",
        "Ascend's calc_fps.py  2,048.00 images/s",
    ]
    found = json.loads(call_ssd("fps", log, "--devices", "8", "--json").stdout)
    assert found["reference_value"] == pytest.approx(CALC_FPS)
    log.rename(tmp_path / "train_log.jsonl")
    of_folder = call_ssd("fps", tmp_path, "--devices", "8", "--json").stdout
    assert json.loads(of_folder) == found
    done = call_ssd("fps", tmp_path / "none")
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)
