"""The needs of a training, from probes: time, memory, and the largest batch that fits."""

import math
from collections.abc import Mapping
from contextlib import nullcontext, suppress
from dataclasses import asdict, dataclass, replace
from typing import Any, NamedTuple

from ssd_core.backends import open_backend
from ssd_core.backends.ranks import Nodes
from ssd_core.config import Recipe
from ssd_core.errors import OwnershipError, ProcessFailedError, UsageError
from ssd_core.logs import format_count, logger, quiet
from ssd_core.process.memory import read_memory_limit
from ssd_core.stages.perf import bounded, measure
from ssd_core.stages.train import Training
from ssd_core.store import Location
from ssd_core.training.ownership import find_batch_size
from ssd_core.training.run import count_steps

_SECONDS = 40.0
"""Aim for the timed steps; the start of the framework and smaller batches come on top."""
_MIN_STEPS, _MAX_STEPS = 4, 200
_FEW_STEPS = 2
"""Enough for the peak of the memory."""
_LEAST_IMAGES = 2
"""Per device; batch normalisation cannot train on one."""
_RATE = 1e-9
"""Learning rate of a probe: no batch size makes it diverge."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """The needs of a training."""

    steps: int
    seconds_per_step: float
    evaluations: int
    """Their time is not part of the plan."""
    memory: str
    """Where the most memory is taken: `device` or `host`."""
    peak_memory: int
    """Bytes per process."""
    memory_limit: int
    """Bytes that a process may take."""
    largest_batch: int | None
    """Over all devices, extrapolated from the memory at two sizes, at most the training images;
    None if the memory did not grow."""
    bytes_read: int
    """Of shards, with one pass per epoch."""

    @property
    def hours(self) -> float:
        """Time of all steps."""
        return self.steps * self.seconds_per_step / 3600


class _Probe(NamedTuple):
    batch_size: int
    seconds_per_step: float
    start: Mapping[str, Any]
    last: Mapping[str, Any]
    """Line of the last steps."""


def make_plan(training: Training, nodes: Nodes) -> Plan:
    """Train for about a minute on the devices of this machine, and return the needs of all steps.

    Raises:
        UsageError: the batch does not fit or does not divide, or there are several machines.
    """
    config, split = training.recipe.train, training.manifest.splits["train"]
    world = nodes.num_devices
    half_size = max(1, config.batch_size // world // 2) * world
    half = _try(1, training, nodes, half_size, _FEW_STEPS)
    pace = half.seconds_per_step * config.batch_size / half_size
    num_steps = min(_MAX_STEPS, max(_MIN_STEPS, int(_SECONDS / pace)))
    whole = _try(2, training, nodes, config.batch_size, num_steps)
    memory = "host" if whole.last["device_memory"] is None else "device"
    limit = read_memory_limit() // world
    if memory == "device":
        limit = whole.start["device"]["memory"]
    steps = count_steps(config, split.images)
    largest = _extrapolate(half, whole, f"{memory}_memory", limit, world)
    return Plan(
        steps=steps,
        seconds_per_step=whole.seconds_per_step,
        evaluations=math.ceil(steps / config.evaluate_every) if config.evaluate_every else 0,
        memory=memory,
        peak_memory=whole.last[f"{memory}_memory"],
        memory_limit=limit,
        largest_batch=largest and min(largest, split.images // world * world),
        bytes_read=round(
            sum(shard.num_bytes for shard in split.shards)
            * (steps * config.batch_size / split.images)
        ),
    )


def check_budget(training: Training, plan: Plan, hours: float) -> None:
    """Raise UsageError if a training takes longer than `hours`; it names the length that fits."""
    if plan.hours <= hours:
        return
    config = training.recipe.train
    steps = int(hours * 3600 / plan.seconds_per_step)
    remedy = f"--set train.steps={steps}"
    if config.steps is None:
        remedy = f"--epochs {config.epochs * steps / plan.steps:.3g}"
    raise UsageError(
        f"the training would take {plan.hours:.3g} h, longer than --budget {hours:g}: "
        f"{plan.steps} steps of {plan.seconds_per_step:.3g} s, of which {steps} fit; use {remedy}"
    )


def take_largest_batch(training: Training, out_dir: Location, nodes: Nodes) -> Training:
    """Return a training with the largest batch that fits; one that continues keeps its batch.

    Raises:
        UsageError: the devices have no memory of their own, a batch of two images per device does
            not fit, or there are several machines.
    """
    if (continued := _find_continued(training, out_dir)) is not None:
        size = continued.recipe.train.batch_size
        logger.info("the training in %s has batches of %d images", out_dir, size)
        return continued
    size = _find_largest_batch(training, nodes)
    logger.info("the largest batch that fits has %d images", size)
    return replace(training, recipe=_with_train(training.recipe, batch_size=size))


def _find_continued(training: Training, out_dir: Location) -> Training | None:
    """Return the training with the batch of that in `out_dir`, None where it starts again."""
    is_fresh = training.resume == "fresh"
    with suppress(OwnershipError) if is_fresh else nullcontext():
        if (size := find_batch_size(out_dir)) is not None:
            recipe = _with_train(training.recipe, batch_size=size)
            continued = replace(training, recipe=recipe)
            # A fresh one continues only itself, and replaces any other.
            if not is_fresh or continued.check_out(out_dir) is not None:
                return continued
    return None


def _find_largest_batch(training: Training, nodes: Nodes) -> int:
    """Double the batch until it does not fit, then halve the range of sizes, to an eighth."""
    world, config = nodes.num_devices, training.recipe.train
    if config.micro_batch_size is not None:
        raise UsageError(
            "--batch-size auto has no limit with train.micro_batch_size, which bounds the memory; "
            "choose --batch-size N"
        )
    if world == 1 or training.device == "cpu":  # else only a rank may open its device
        _check_has_memory(asdict(open_backend(training.framework, training.device).info))
    with quiet():
        smallest = _probe(training, nodes, _LEAST_IMAGES * world, _FEW_STEPS)
    _check_has_memory(smallest.start["device"])
    too_large = training.manifest.splits["train"].images // world + 1
    fitting, tried = _LEAST_IMAGES, 2 * _LEAST_IMAGES
    while tried < too_large:
        if _fits(training, nodes, tried * world):
            fitting, tried = tried, 2 * tried
        else:
            too_large = tried
    while too_large - fitting > max(1, fitting // 8):
        tried = (fitting + too_large) // 2
        if _fits(training, nodes, tried * world):
            fitting = tried
        else:
            too_large = tried
    return fitting * world


def _check_has_memory(device: Mapping[str, Any]) -> None:
    """Raise UsageError for a processor."""
    if device["memory"] is None:
        raise UsageError(
            f"--batch-size auto needs the memory of a GPU or NPU, not that of {device['name']}; "
            "choose --batch-size N, 'ssd plan' estimates it"
        )


def _fits(training: Training, nodes: Nodes, batch_size: int) -> bool:
    """Return whether a batch fits, where a smaller one does."""
    try:
        with quiet():
            _probe(training, nodes, batch_size, _FEW_STEPS)
    except (UsageError, ProcessFailedError) as error:
        if error.exit_code != UsageError.exit_code:
            raise
        logger.info("a batch of %d images does not fit", batch_size)
        return False
    logger.info("a batch of %d images fits", batch_size)
    return True


def _with_train(recipe: Recipe, **changes: Any) -> Recipe:
    return recipe.model_copy(update={"train": recipe.train.model_copy(update=changes)})


def _try(number: int, training: Training, nodes: Nodes, batch_size: int, steps: int) -> _Probe:
    """Probe for a plan; only the trial is announced, not the training inside it."""
    size = format_count(batch_size, "image")
    logger.info("trial %d of 2: %s of %s", number, format_count(steps, "step"), size)
    with quiet():
        return _probe(training, nodes, batch_size, steps)


def _probe(training: Training, nodes: Nodes, batch_size: int, steps: int) -> _Probe:
    optimizer = training.recipe.train.optimizer.model_copy(
        update={"learning_rate": _RATE, "rate_batch_size": None}
    )
    recipe = bounded(training.recipe, steps)
    recipe = _with_train(recipe, batch_size=batch_size, optimizer=optimizer)
    measured = measure(training.with_recipe(recipe), nodes)
    start, *_, last, _ = measured.lines
    speed = measured.results["metrics"]["images_per_second"]
    return _Probe(batch_size, batch_size / speed, start, last)


def _extrapolate(half: _Probe, whole: _Probe, name: str, limit: int, world: int) -> int | None:
    """Return the largest batch, as memory grows linearly with it."""
    growth = (whole.last[name] - half.last[name]) * world
    if growth <= 0 or whole.batch_size == half.batch_size:
        return None
    room = (limit - whole.last[name]) * world / growth * (whole.batch_size - half.batch_size)
    return int(whole.batch_size + room) // world * world
