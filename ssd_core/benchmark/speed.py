"""How fast a detector is, from the bytes of photographs to detections, and where the time goes.

Three measurements a batch size, after a warm-up:

- the parts, one after another, the device synchronised after each: what each of them costs;
- end to end, the same work without the synchronisation between the parts: the latency of a batch;
- throughput, with threads that decode ahead of the device as evaluation does: images a second.
"""

import time
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass
from itertools import cycle
from statistics import median
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from ssd_core.backends.base import Detector
from ssd_core.data.ahead import batched, map_batches_ahead
from ssd_core.data.decode import load_image
from ssd_core.structures import ImageArray

PARTS = ("decode", "preprocess", "forward", "postprocess")
"""`decode` includes the resize to the network input; `preprocess` the way to the device."""

END_TO_END = "end_to_end"

_WINDOW = 5
_TOLERANCE = 0.05
_MIN_BATCHES = 3

Loaded = tuple[ImageArray, tuple[int, int]]
ResultT = TypeVar("ResultT")


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchSpeed:
    """Speed at one batch size."""

    batch_size: int
    images_per_second: float
    """Throughput, bytes to detections, decoding on threads ahead of the device."""
    seconds: dict[str, NDArray[np.float64]]
    """Times of single batches, for each of PARTS and for END_TO_END."""
    warm_up_batches: int
    is_stable: bool
    """Whether the warm-up ended because the times had settled, not because its time was up."""

    def milliseconds(self, part: str, percentile: float) -> float:
        """Return a percentile of the times of a part, in milliseconds a batch."""
        return float(np.percentile(self.seconds[part], percentile)) * 1000


def measure_speed(
    detector: Detector, photos: Sequence[bytes], *, batch_size: int, seconds: float
) -> BatchSpeed:
    """Measure a detector at one batch size.

    Args:
        detector: what is measured.
        photos: image files, taken in turn; at least one.
        batch_size: images a forward pass.
        seconds: about how long to measure; the warm-up takes as long at most.

    Raises:
        DataError: a photo cannot be decoded.
    """
    batches = batched(cycle(photos), batch_size)
    warm_up, is_stable = _warm_up(lambda: _detect(detector, next(batches)), seconds)
    third = seconds / 3
    parts = _repeat(lambda: _time_parts(detector, next(batches)), third)
    whole = _repeat(lambda: _timed(lambda: _detect(detector, next(batches))), third)
    return BatchSpeed(
        batch_size=batch_size,
        images_per_second=_throughput(detector, photos, batch_size, third),
        seconds=dict(zip(PARTS, np.array(parts).T, strict=True)) | {END_TO_END: np.array(whole)},
        warm_up_batches=warm_up,
        is_stable=is_stable,
    )


def _time_parts(detector: Detector, photos: Sequence[bytes]) -> list[float]:
    """Return the seconds of each of PARTS."""
    times = [time.perf_counter()]

    def lap() -> None:
        detector.synchronize()
        times.append(time.perf_counter())

    images, sizes = _stack([load_image(photo, detector.image_size) for photo in photos])
    lap()
    inputs = detector.preprocess(images)
    lap()
    outputs = detector.forward(inputs)
    lap()
    detector.postprocess(outputs, sizes)
    lap()
    return np.diff(times).tolist()


def _detect(detector: Detector, photos: Sequence[bytes]) -> None:
    images, sizes = _stack([load_image(photo, detector.image_size) for photo in photos])
    detector.detect(images, sizes)
    detector.synchronize()


def _throughput(
    detector: Detector, photos: Sequence[bytes], batch_size: int, seconds: float
) -> float:
    """Return images a second in steady state: the batch that fills the pipe is not counted."""
    batches = map_batches_ahead(
        lambda photo: load_image(photo, detector.image_size), cycle(photos), batch_size=batch_size
    )
    with closing(batches):
        detector.detect(*_stack(next(batches)))
        times = _repeat(lambda: _timed(lambda: detector.detect(*_stack(next(batches)))), seconds)
    return batch_size * len(times) / sum(times)


def _warm_up(run: Callable[[], object], limit: float) -> tuple[int, bool]:
    """Repeat until two windows of batches take equally long; say how many, and whether they do."""
    times: list[float] = []
    while len(times) < _MIN_BATCHES or sum(times) < limit:
        times.append(_timed(run))
        before, after = times[-2 * _WINDOW : -_WINDOW], times[-_WINDOW:]
        if len(before) == _WINDOW and abs(median(after) / median(before) - 1) < _TOLERANCE:
            return len(times), True
    return len(times), False


def _repeat(run: Callable[[], ResultT], seconds: float) -> list[ResultT]:
    """Call `run` for `seconds`, a few times at least."""
    results: list[ResultT] = []
    started = time.perf_counter()
    while len(results) < _MIN_BATCHES or time.perf_counter() - started < seconds:
        results.append(run())
    return results


def _timed(run: Callable[[], object]) -> float:
    started = time.perf_counter()
    run()
    return time.perf_counter() - started


def _stack(loaded: Sequence[Loaded]) -> tuple[ImageArray, list[tuple[int, int]]]:
    return np.stack([pixels for pixels, _ in loaded]), [size for _, size in loaded]
