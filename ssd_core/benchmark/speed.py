"""Speed of a detector, from the bytes of image files to detections, and where the time goes.

Three measurements per batch size, after a warm-up:

- the parts, one after another, the device synchronised after each: the cost of each part;
- end to end, the same work without synchronisation between the parts: the latency of a batch;
- throughput in images per second, decoding on threads ahead of the device as evaluation does.

The first two take turns batch by batch, so that clocks and other load change both alike.
"""

import time
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass
from itertools import cycle
from statistics import median
from typing import TypeVar

import cv2
import numpy as np
import simplejpeg
from numpy.typing import NDArray

from ssd_core.backends.base import Detector
from ssd_core.data.ahead import batched, map_batches_ahead
from ssd_core.data.batches.resize import load_image
from ssd_core.metrics import END_TO_END, PARTS
from ssd_core.process import watchdog
from ssd_core.structures import ImageArray

_WINDOW = 5
_TOLERANCE = 0.05
_MIN_BATCHES = 3

_WIDTH, _HEIGHT = 640, 480
_QUALITY = 90

Loaded = tuple[ImageArray, tuple[int, int]]
ResultT = TypeVar("ResultT")


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchSpeed:
    """Speed at one batch size."""

    batch_size: int
    images_per_second: float
    """Throughput, bytes to detections, decoding on threads ahead of the device."""
    seconds: dict[str, NDArray[np.float64]]
    """Durations of single batches, for each of PARTS and for END_TO_END."""
    candidates_per_image: float
    """Boxes of all classes that enter NMS, on average: post-processing depends on them."""
    warm_up_batches: int
    is_stable: bool
    """Whether the warm-up ended because the durations were stable, not because of its limit."""

    def milliseconds(self, part: str, percentile: float) -> float:
        """Return a percentile of the durations of a part, in milliseconds per batch."""
        return float(np.percentile(self.seconds[part], percentile)) * 1000


def measure_speed(
    detector: Detector, images: Sequence[bytes], *, batch_size: int, seconds: float
) -> BatchSpeed:
    """Measure a detector at one batch size for about `seconds`, which also limits the warm-up.

    `images` holds at least one image file; they are taken in turn.
    """
    batches = batched(cycle(images), batch_size)
    warm_up, is_stable = _warm_up(lambda: _detect(detector, next(batches)), seconds)
    timed = _repeat(lambda: _time_batch(detector, next(batches)), seconds * 2 / 3)
    durations, candidates = (np.array(column) for column in zip(*timed, strict=True))
    return BatchSpeed(
        batch_size=batch_size,
        images_per_second=_throughput(detector, images, batch_size, seconds / 3),
        seconds=dict(zip((*PARTS, END_TO_END), durations.T, strict=True)),
        candidates_per_image=float(candidates.mean()) / batch_size,
        warm_up_batches=warm_up,
        is_stable=is_stable,
    )


def generate_images(count: int) -> list[bytes]:
    """Return 640x480 JPEG files about as large, and as slow to decode, as photographs.

    They stand in for a data set, and are the same for every call: noise of all scales, each twice
    as fine as the one before, in the proportions of natural images.
    """
    rng = np.random.default_rng(0)
    return [
        simplejpeg.encode_jpeg(_paint(rng), quality=_QUALITY, colorspace="RGB")
        for _ in range(count)
    ]


def _paint(rng: np.random.Generator) -> ImageArray:
    canvas = np.zeros((_HEIGHT, _WIDTH, 3), np.float32)
    for octave in range(1, 9):
        cells = 2**octave
        noise = rng.standard_normal((cells * 3 // 4 + 1, cells, 3)).astype(np.float32)
        canvas += (
            cv2.resize(noise, (_WIDTH, _HEIGHT), interpolation=cv2.INTER_CUBIC) * 100 / cells**0.6
        )
    return np.clip(128 + canvas, 0, 255).astype(np.uint8)


def _time_batch(detector: Detector, images: Sequence[bytes]) -> tuple[list[float], int]:
    """Return the seconds of each of PARTS and of END_TO_END, and the candidates of the batch."""
    parts, candidates = _time_parts(detector, images)
    return [*parts, _timed(lambda: _detect(detector, images))], candidates


def _time_parts(detector: Detector, images: Sequence[bytes]) -> tuple[list[float], int]:
    """Return the seconds of each of PARTS, and the candidates of the batch."""
    times = [time.perf_counter()]

    def lap() -> None:
        detector.synchronize()
        times.append(time.perf_counter())

    pixels, sizes = _load(detector, images)
    lap()
    inputs = detector.preprocess(pixels)
    lap()
    outputs = detector.forward(inputs)
    lap()
    found = detector.postprocess(outputs, sizes)
    lap()
    return np.diff(times).tolist(), sum(each.candidates for each in found)


def _detect(detector: Detector, images: Sequence[bytes]) -> None:
    detector.detect(*_load(detector, images))
    detector.synchronize()


def _throughput(
    detector: Detector, images: Sequence[bytes], batch_size: int, seconds: float
) -> float:
    """Return the images per second in steady state, without the batch that fills the pipeline."""
    batches = map_batches_ahead(
        lambda image: load_image(image, detector.config), cycle(images), batch_size=batch_size
    )
    with closing(batches):
        detector.detect(*_stack(next(batches)))
        times = _repeat(lambda: _timed(lambda: detector.detect(*_stack(next(batches)))), seconds)
    return batch_size * len(times) / sum(times)


def _warm_up(run: Callable[[], object], limit: float) -> tuple[int, bool]:
    """Repeat until two windows of batches take equally long.

    Returns the number of batches, and whether they became stable within the limit.
    """
    times: list[float] = []
    while len(times) < _MIN_BATCHES or sum(times) < limit:
        watchdog.beat()
        times.append(_timed(run))
        before, after = times[-2 * _WINDOW : -_WINDOW], times[-_WINDOW:]
        if len(before) == _WINDOW and abs(median(after) / median(before) - 1) < _TOLERANCE:
            return len(times), True
    return len(times), False


def _repeat(run: Callable[[], ResultT], seconds: float) -> list[ResultT]:
    """Call `run` for `seconds`, but at least _MIN_BATCHES times."""
    results: list[ResultT] = []
    started = time.perf_counter()
    while len(results) < _MIN_BATCHES or time.perf_counter() - started < seconds:
        watchdog.beat()
        results.append(run())
    return results


def _timed(run: Callable[[], object]) -> float:
    started = time.perf_counter()
    run()
    return time.perf_counter() - started


def _load(detector: Detector, images: Sequence[bytes]) -> tuple[ImageArray, list[tuple[int, int]]]:
    return _stack([load_image(image, detector.config) for image in images])


def _stack(loaded: Sequence[Loaded]) -> tuple[ImageArray, list[tuple[int, int]]]:
    return np.stack([pixels for pixels, _ in loaded]), [size for _, size in loaded]
