"""Training and detection of SSD300-VGG16 on a GPU, from synthetic batches and from the loader.

There is no peer to compare with. Record the date of the run with its output.

    python -m benchmarks.gpu           # 8 minutes at most
    python -m benchmarks.gpu --tiny    # a small network in seconds, on any device
"""

import argparse
import tempfile
import time
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from itertools import repeat
from pathlib import Path

import torch
from torch.utils.flop_counter import FlopCounterMode

from benchmarks.images import make_images
from ssd_core.backends.torch.backend import TorchBackend
from ssd_core.backends.torch.learner import TorchLearner
from ssd_core.benchmark.speed import generate_images, measure_speed
from ssd_core.config import ConvertConfig, TrainConfig
from ssd_core.data.shards.reader import SplitReader, open_split
from ssd_core.process.processor import count_processors
from ssd_core.recipes import load_recipe
from ssd_core.stages import convert
from ssd_core.stages.feed import open_loader
from ssd_core.store import LocalDirectory
from ssd_core.structures import Batch

_NUM_CLASSES = 80
_LOADER_THREADS = 4
_DENSE_TFLOPS = {"V100": 125, "A100": 312, "H100": 989, "H200": 989}
"""Peaks of 16-bit matrix products without sparsity, from NVIDIA's data sheets (SXM)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """How much is measured."""

    recipe: str
    images: int
    train_batches: tuple[int, ...]
    detect_batches: tuple[int, ...]
    seconds: float
    """Of each measurement, about; there are two per batch size of training, one of detection."""
    interval: int
    """Steps between two readings of the loss, which wait for the device."""


FULL = Plan(
    recipe="ssd300_vgg16",
    images=1000,
    train_batches=(64, 128),
    detect_batches=(1, 8, 64),
    seconds=20,
    interval=10,
)
TINY = Plan(
    recipe="demo",
    images=20,
    train_batches=(2,),
    detect_batches=(1,),
    seconds=0.1,
    interval=1,
)


def measure(plan: Plan, work_dir: Path) -> Iterator[str]:
    """Yield all lines."""
    config = load_recipe(plan.recipe).train
    backend = TorchBackend("auto", config.precision)
    yield (
        f"{backend.info.name}, {backend.info.framework}, {count_processors()} processors, "
        f"{backend.info.precision}, recipe {plan.recipe}"
    )
    reader = make_shards(plan, work_dir)
    for batch_size in plan.train_batches:
        changes = {
            "batch_size": batch_size,
            "loader_threads": min(_LOADER_THREADS, count_processors()),
        }
        sized = config.model_copy(update=changes)
        learner = backend.learner(sized, _NUM_CLASSES)
        yield from measure_training(learner, sized, reader, backend.info.name, plan)
    learner = backend.learner(config, _NUM_CLASSES)
    detector, files = learner.detector(config.model.postprocess), generate_images(8)
    for batch_size in plan.detect_batches:
        speed = measure_speed(detector, files, batch_size=batch_size, seconds=plan.seconds)
        parts = {part: speed.milliseconds(part, 50) for part in speed.seconds}
        device_ms = parts["forward"] + parts["postprocess"]
        detail = ", ".join(f"{part} {value:.3g} ms" for part, value in parts.items())
        yield (
            f"detection, batch {batch_size}: forward and post-processing "
            f"{batch_size / device_ms * 1000:.3g} images/s; {detail}"
        )


def make_shards(plan: Plan, work_dir: Path) -> SplitReader:
    """Return the training split of generated images."""
    shards = LocalDirectory(work_dir / f"shards-{plan.images}")
    convert.run(ConvertConfig(), str(make_images(work_dir, plan.images)), shards)
    return open_split(shards, "train")


def measure_training(
    learner: TorchLearner, config: TrainConfig, reader: SplitReader, name: str, plan: Plan
) -> Iterator[str]:
    """Yield the rates of training from one batch again and again, and from the loader."""
    loader = open_loader(config, reader)
    with closing(loader.batches(0, 2**31)) as batches:
        batch = next(batches)
        held = Batch(
            images=batch.images.copy(), boxes=batch.boxes.copy(), labels=batch.labels.copy()
        )
        flops = count_flops(learner, held)
        for feed, source in (("synthetic batches", repeat(held)), ("the loader", batches)):
            time_steps(
                learner, source, plan.seconds / 4, plan.interval
            )  # the first steps choose algorithms
            rate, waiting = time_steps(learner, source, plan.seconds, plan.interval)
            images = rate * config.batch_size
            teraflops = images * flops / config.batch_size / 1e12
            yield (
                f"training from {feed}, batch {config.batch_size}: {images:.3g} images/s; "
                f"{teraflops:.3g} TFLOP/s{describe_share(name, teraflops)}; waits for data "
                f"{waiting:.2%} of the time; {describe_memory()}"
            )


def time_steps(
    learner: TorchLearner, batches: Iterator[Batch], seconds: float, interval: int
) -> tuple[float, float]:
    """Return the steps per second, and the share of the time that they waited for a batch."""
    started, waiting, steps = time.perf_counter(), 0.0, 0
    while not steps or time.perf_counter() - started < seconds:
        for _ in range(interval):
            asked = time.perf_counter()
            batch = next(batches)
            waiting += time.perf_counter() - asked
            read = learner.step(batch, 1e-6)
        read()
        steps += interval
    elapsed = time.perf_counter() - started
    return steps / elapsed, waiting / elapsed


def count_flops(learner: TorchLearner, batch: Batch) -> int:
    """Return the additions and multiplications of a step, forward and backward."""
    with FlopCounterMode(display=False) as counter:
        learner.step(batch, 1e-6)()
    return int(counter.get_total_flops())


def describe_share(name: str, teraflops: float) -> str:
    """Return the share of the peak of a known device."""
    peaks = [peak for model, peak in _DENSE_TFLOPS.items() if model in name]
    return f", {teraflops / peaks[0]:.1%} of the dense 16-bit peak (goal 45%)" if peaks else ""


def describe_memory() -> str:
    """Return the most memory of an accelerator that was in use at once."""
    if not torch.accelerator.is_available():
        return "no accelerator"
    return f"peak memory {torch.accelerator.max_memory_allocated() / 2**30:.1f} GiB"


def main() -> None:
    """Measure, and print each line when it is known."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.gpu", description=__doc__)
    parser.add_argument("--tiny", action="store_true", help="a small network, on any device")
    parser.add_argument("--work", type=Path, default=Path(tempfile.gettempdir(), "ssd-benchmarks"))
    options = parser.parse_args()
    if not (options.tiny or torch.accelerator.is_available()):
        parser.error("no accelerator is available; --tiny runs on a processor")
    for line in measure(TINY if options.tiny else FULL, options.work):
        print(line, flush=True)


if __name__ == "__main__":
    main()
