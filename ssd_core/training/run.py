"""A training run: its parts, and its lengths in steps."""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ssd_core.backends.base import Learner
from ssd_core.backends.ranks import ALONE, Ranks
from ssd_core.config import TrainConfig
from ssd_core.logs import format_count
from ssd_core.structures import Batch
from ssd_core.train_log import LineListener
from ssd_core.training.checkpoints import CheckpointDir


def count_steps(config: TrainConfig, num_images: int) -> int:
    """Return the optimizer steps of a whole run; `epochs` are rounded up to whole steps."""
    return config.steps or max(1, math.ceil(_steps_of(config.epochs, config, num_images)))


def _steps_of(epochs: float, config: TrainConfig, num_images: int) -> float:
    return round(epochs * num_images / config.batch_size, 6)


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
    listeners: Sequence[LineListener] = ()
    """They take the lines of the log, on rank 0."""
    device_memory: Callable[[], int | None] = lambda: None
    """Returns the peak of the device's memory in bytes, None without one of its own."""
    evaluate: Callable[[], dict[str, float]] | None = None
    """Measures the learner's current weights; called when `evaluate_every` is set."""

    @property
    def is_first(self) -> bool:
        """Whether this process writes the files."""
        return self.ranks.rank == 0

    @property
    def total_steps(self) -> int:
        """Optimizer steps of the whole run."""
        return count_steps(self.config, self.num_images)

    @property
    def first_step(self) -> int:
        """Steps that are left out, because of `start_epoch`."""
        return math.floor(_steps_of(self.config.start_epoch, self.config, self.num_images))

    def describe(self) -> str:
        """Return what trains on what."""
        team = f" with {self.ranks.world_size} ranks" if self.ranks.world_size > 1 else ""
        return f"training on {format_count(self.num_images, 'image')}{team}"

    def describe_step(self) -> str:
        """Return the batch and the learning rate, and how it follows from the batch."""
        config, world_size = self.config, self.ranks.world_size
        rate, base = config.optimizer.learning_rate, config.optimizer.rate_batch_size
        rule = f"in proportion to {rate:g} for {base} images" if base else "not scaled"
        share = f", {config.batch_size // world_size} per rank," if world_size > 1 else ""
        return (
            f"a step takes {format_count(config.batch_size, 'image')}{share} "
            f"at a learning rate of {config.peak_rate:g} ({rule})"
        )

    def ends_kept_epoch(self, step: int) -> bool:
        """Return whether the checkpoint after `step` stays, because of `keep_every_epochs`."""
        if self.config.keep_every_epochs is None:
            return False
        images = self.config.keep_every_epochs * self.num_images
        before, after = ((each * self.config.batch_size) // images for each in (step - 1, step))
        return before < after
