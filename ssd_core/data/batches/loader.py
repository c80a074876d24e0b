"""Training batches from a split: threads decode and augment ahead of the learner."""

from collections.abc import Generator, Iterator
from contextlib import closing
from dataclasses import KW_ONLY, dataclass

import numpy as np

from ssd_core.config import AugmentConfig, ModelConfig, TrainConfig
from ssd_core.data.ahead import map_ahead
from ssd_core.data.batches.augment import sample
from ssd_core.data.batches.order import SampleOrder, sample_stream
from ssd_core.data.shards.reader import SplitReader
from ssd_core.errors import UsageError, located
from ssd_core.logs import logger
from ssd_core.structures import Batch, FloatArray

_BATCHES_AHEAD = 2
"""Batches in preparation while the learner uses one."""

_MAX_REPEATS = 100
"""Of an image in one batch: enough for an experiment with a single image."""

_ROWS_PER_TASK = 4  # few, so that all threads finish a batch together


_Task = tuple[Batch, int, list[tuple[int, int, int]]]
"""Rows of a batch that one thread fills: the batch, the first row, `SampleOrder.at` per row."""


def check_world_size(config: TrainConfig, world_size: int) -> None:
    """Raise UsageError unless every device gets the same number of images, and of shards."""
    if (shards := config.virtual_shards) and shards % world_size:
        raise UsageError(
            f"train.virtual_shards {shards} does not divide over {world_size} devices; choose a "
            "power of 2 of at least as many shards"
        )
    if config.batch_size % world_size:
        raise UsageError(
            f"train.batch_size {config.batch_size} does not divide over {world_size} devices; it "
            "counts the images on all devices"
        )


def positions_ahead(step: int, *, batch_size: int, rank: int, world_size: int) -> list[range]:
    """Return the positions of a rank in the batches that its threads work on, up to this step's."""
    rows = batch_size // world_size
    firsts = range(max(step - _BATCHES_AHEAD, 0) * batch_size, (step + 1) * batch_size, batch_size)
    return [range(first + rank * rows, first + (rank + 1) * rows) for first in firsts]


@dataclass(frozen=True)
class Loader:
    """Batches of augmented samples, the same for any number of threads, first step and ranks."""

    reader: SplitReader
    _: KW_ONLY
    model: ModelConfig
    augment: AugmentConfig
    batch_size: int
    """Images per optimizer step, over all ranks."""
    seed: int
    num_threads: int
    factors: FloatArray | None = None
    """[N] how often each image is to be taken, relative to others; None for equally often."""
    rank: int = 0
    """The slice of each batch to make, one of `world_size` equal slices."""
    world_size: int = 1

    def __post_init__(self) -> None:
        num_images = sum(self.reader.shard_rows)
        if self.batch_size > _MAX_REPEATS * num_images > 0:
            raise UsageError(
                f"train.batch_size {self.batch_size} takes each of the {num_images} images more "
                f"than {_MAX_REPEATS} times per step; choose at most {num_images}"
            )
        if self.batch_size > num_images > 0 and self.rank == 0:
            logger.warning(
                "train.batch_size %d takes some of the %d images several times per step; choose at "
                "most %d",
                *(self.batch_size, num_images, num_images),
            )

    def batches(self, first_step: int, last_step: int) -> Generator[Batch, None, None]:
        """Yield the batches of `first_step` .. `last_step - 1`, counted from the start of training.

        A batch is valid until the next one is requested. Closing the iterator ends the threads.
        """
        order = SampleOrder(self.reader.shard_rows, self.seed, self.factors)
        ring = [self._empty_batch() for _ in range(_BATCHES_AHEAD + 1)]
        tasks = (
            task
            for step in range(first_step, last_step)
            for task in self._tasks(order, step, ring[step % len(ring)])
        )
        tasks_per_batch = len(range(0, len(ring[0].labels), _ROWS_PER_TASK))
        depth = _BATCHES_AHEAD * tasks_per_batch
        with closing(
            map_ahead(self._fill, tasks, num_threads=self.num_threads, depth=depth)
        ) as filled:
            for step in range(first_step, last_step):
                for _ in range(tasks_per_batch):
                    next(filled)
                yield ring[step % len(ring)]

    def name_images(self, step: int) -> list[str]:
        """Return the paths of the images in the batch of a step, counted from 1, on all ranks."""
        order = SampleOrder(self.reader.shard_rows, self.seed, self.factors)
        positions = range((step - 1) * self.batch_size, step * self.batch_size)
        records = self.reader.read([order.at(position)[1] for position in positions])
        return [record.image_path for record in records]

    def _empty_batch(self) -> Batch:
        rows = self.batch_size // self.world_size
        num_boxes = max(8, -(-self.reader.max_boxes // 8) * 8)
        side = self.model.image_size
        return Batch(
            images=np.empty((rows, side, side, 3), np.uint8),
            boxes=np.empty((rows, num_boxes, 4), np.float32),
            labels=np.empty((rows, num_boxes), np.int64),
        )

    def _tasks(self, order: SampleOrder, step: int, batch: Batch) -> Iterator[_Task]:
        rows = len(batch.labels)
        parts = positions_ahead(
            step, batch_size=self.batch_size, rank=self.rank, world_size=self.world_size
        )
        self.reader.expect(order.shards_of(*parts))
        samples = [order.at(position) for position in parts[-1]]
        for row in range(0, rows, _ROWS_PER_TASK):
            yield batch, row, samples[row : row + _ROWS_PER_TASK]

    def _fill(self, task: _Task) -> None:
        batch, first_row, samples = task
        records = self.reader.read([index for _, index, _ in samples])
        for row, (place, record) in enumerate(zip(samples, records, strict=True), first_row):
            with located(f"{self.reader.split} image {record.index} ({record.image_path})"):
                boxes, labels = sample(
                    record.image,
                    record.annotations,
                    sample_stream(self.seed, *place),
                    config=self.augment,
                    model=self.model,
                    out=batch.images[row],
                )
            batch.boxes[row], batch.labels[row] = 0, 0
            batch.boxes[row, : len(boxes)] = boxes
            batch.labels[row, : len(labels)] = labels
