"""Images per second of a training, from its log: as the reference tool counts, and as it was.

The log is ours, a `.log.json` of mmcv 1, or the output of MindSpore. The true figure is that of
steady state: images divided by the seconds of their steps, data loading included, without the
first window after a start, which contains the warm-up.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Any

from pydantic_core import from_json

from ssd_core.errors import DataError, UsageError, located
from ssd_core.train_log import TimedSteps, find_timed_steps, parse_log, steady_speed

_CALC_FPS_SKIPPED = 50
"""Steps of each epoch that calc_fps.py of Ascend's ModelZoo-PyTorch leaves out."""
_EPOCH_TIME = re.compile(
    r"epoch time: ([\d.]+)(?: ms)?, per step time: ([\d.]+)(?: ms)?", re.IGNORECASE
)
_BATCH_OF_DEVICE = re.compile(r"samples_per_gpu *= *(\d+)")
_EXPECTED = (
    "expected train_log.jsonl, a .log.json of mmcv, or the output of a training with MindSpore"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingSpeed:
    """The speed of a training, as two programs count it."""

    log: str
    """Kind of the log: `ssd`, `mmcv` or `mindspore`."""
    images_per_second: float
    """Of all devices together."""
    reference: str
    """Name of the tool that prints the other figure."""
    reference_value: float | None
    """Its figure; None if it fails on this log."""
    reference_unit: str
    difference: str
    """Why the figures differ, in one sentence."""


def measure_log(
    content: bytes, name: object, *, devices: int | None = None, batch: int | None = None
) -> TrainingSpeed:
    """Return the speed of the training that has written a log.

    Args:
        content: of the log.
        name: the file, for messages.
        devices: number of devices that train together; by default that of the log, else 1.
        batch: images per step and device; by default that of the log.

    Raises:
        DataError: the log is damaged, of another kind, or has no timed steps.
        UsageError: the log does not contain the batch size.
    """
    text = content.decode(errors="replace")
    first = text.partition("\n")[0]
    with located(str(name)):
        try:
            if '"event"' in first:
                return _measure_ours(parse_log(content, "line"), devices, batch)
            if first.startswith("{"):
                return _measure_mmcv(list(_parse_lines(text)), devices or 1, batch)
            if found := _EPOCH_TIME.findall(text):
                return _measure_mindspore(found, devices or 1, batch)
        except (LookupError, TypeError, ValueError, ArithmeticError) as error:
            raise DataError(f"malformed log ({error!r}); {_EXPECTED}") from None
        raise DataError(f"not the log of a training; {_EXPECTED}")


def _measure_ours(
    lines: Sequence[dict[str, Any]], devices: int | None, batch: int | None
) -> TrainingSpeed:
    windows, start = find_timed_steps(lines), lines[0]
    world = start["world_size"]
    claimed = (devices or world) * (batch or start["batch_size"] // world)
    epochs = [[w for w in windows if w.epoch == e] for e in dict.fromkeys(w.epoch for w in windows)]
    return _compare("ssd", windows, epochs, claimed, start["batch_size"])


def _parse_lines(text: str) -> Iterator[dict[str, Any]]:
    """Yield the lines of mmcv, without a last line that is still being written."""
    for number, line in enumerate(text.split("\n")[:-1], 1):
        try:
            parsed = from_json(line)
        except ValueError:
            parsed = None
        if not isinstance(parsed, dict):
            raise DataError(f"line {number} is not a JSON object; {_EXPECTED}")
        yield parsed


def _measure_mmcv(
    lines: Sequence[dict[str, Any]], devices: int, batch: int | None
) -> TrainingSpeed:
    found = _BATCH_OF_DEVICE.search(str(lines[0].get("config", ""))) if lines else None
    known = int(found[1]) if found else None
    if batch is None and known is None:
        raise UsageError("the log does not contain the batch size; add --batch N, per device")
    images = devices * (known or batch or 0)
    windows: list[TimedSteps] = []
    epochs: list[list[TimedSteps]] = [[]]
    for line in lines:
        if line.get("mode") == "val":
            epochs.append([])
        if line.get("mode") != "train":
            continue
        before = windows[-1] if windows else None
        epoch, end, mean = line["epoch"], line["iter"], line["time"]
        steps = end - before.end if before and before.epoch == epoch else end
        windows.append(
            TimedSteps(
                epoch=epoch,
                end=end,
                steps=steps,
                images=steps * images,
                seconds=steps * mean,
                is_first=before is None,
            )
        )
        epochs[-1].append(windows[-1])
    claimed = devices * (batch or known or 0)
    return _compare("mmcv", windows, epochs[:-1], claimed, images)


def _compare(
    log: str,
    windows: Sequence[TimedSteps],
    epochs: Sequence[Sequence[TimedSteps]],
    claimed: int,
    batch: int,
) -> TrainingSpeed:
    """Compare the true speed with that of calc_fps.py.

    Args:
        log: kind of the log.
        windows: all of them.
        epochs: those of each epoch that calc_fps.py counts.
        claimed: images per step that its arguments state.
        batch: images per step.
    """
    speed, left_out = _steady_speed(windows)
    rates = [
        [claimed * w.steps / w.seconds for w in epoch if w.end > _CALC_FPS_SKIPPED]
        for epoch in epochs
    ]
    reference = fmean(map(fmean, rates)) if rates and all(rates) else None
    if reference is None:
        why = "it divides by zero: an epoch is too short, or the log has no line of a validation"
    elif claimed != batch:
        why = (
            f"it multiplies by {claimed} images per step, --devices times --batch, but a step has "
            f"{batch}"
        )
    else:
        why = (
            "it takes the mean of the speeds of windows, and leaves out the first "
            f"{_CALC_FPS_SKIPPED} steps of every epoch"
        )
    return TrainingSpeed(
        log=log,
        images_per_second=speed,
        reference="Ascend's calc_fps.py",
        reference_value=reference,
        reference_unit="images/s",
        difference=f"{why}; the true figure {left_out}",
    )


def _measure_mindspore(
    found: Sequence[tuple[str, str]], devices: int, batch: int | None
) -> TrainingSpeed:
    if batch is None:
        raise UsageError("the log does not contain the batch size; add --batch N, per device")
    windows = []
    for epoch, (total, mean) in enumerate(found, 1):
        steps, seconds = round(float(total) / float(mean)), float(total) / 1000
        images, is_first = steps * devices * batch, epoch == 1
        windows.append(
            TimedSteps(
                epoch=epoch,
                end=steps,
                steps=steps,
                images=images,
                seconds=seconds,
                is_first=is_first,
            )
        )
    speed, left_out = _steady_speed(windows)
    last = windows[-1]
    whole = f"a step of {devices} devices has {devices * batch} images, not {batch}"
    return TrainingSpeed(
        log="mindspore",
        images_per_second=speed,
        reference="MindSpore",
        reference_value=1000 * last.seconds / last.steps,
        reference_unit="ms/step",
        difference="it prints the time of a step in each epoch, here in the last one"
        + (f"; {whole}" if devices > 1 else "")
        + f"; the true figure {left_out}",
    )


def _steady_speed(windows: Sequence[TimedSteps]) -> tuple[float, str]:
    """Return the images per second, and the part that is left out."""
    if not windows:
        raise DataError("the log has no timed steps; wait for the first ones")
    speed, left_out = steady_speed(windows)
    if left_out:
        return speed, f"leaves out {left_out} steps as warm-up"
    return speed, "includes the warm-up, as there are no further steps"
