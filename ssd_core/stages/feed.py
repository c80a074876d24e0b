"""The input of a training: batches of the training split, and evaluations on the val split."""

import math
from collections.abc import Callable

import numpy as np

from ssd_core.backends.base import Learner
from ssd_core.backends.ranks import ALONE, Ranks, read_rank_env
from ssd_core.config import AugmentConfig, PhotometricSpec, Recipe, TrainConfig
from ssd_core.data.batches.balance import repeat_factors
from ssd_core.data.batches.loader import Loader, check_world_size
from ssd_core.data.shards.reader import SplitReader, open_split
from ssd_core.evaluation.coco import evaluate_coco
from ssd_core.evaluation.run import check_image_set, detect_split
from ssd_core.logs import Progress
from ssd_core.store import Location

_UNCHANGED = AugmentConfig(
    zoom_out_probability=0,
    crop_min_ious=(),
    flip_probability=0,
    colours=PhotometricSpec(probability=0),
)


def open_loader(config: TrainConfig, reader: SplitReader, ranks: Ranks = ALONE) -> Loader:
    """Return the batches of a split, or the part of them that belongs to this rank.

    Raises:
        UsageError: the batch does not divide over the ranks.
    """
    check_world_size(config, ranks.world_size)
    factors = None
    if config.repeat_threshold is not None:
        factors = repeat_factors(reader.read_in_order(), config.repeat_threshold)
    return Loader(
        reader,
        model=config.model,
        augment=config.augment,
        batch_size=config.batch_size,
        seed=config.seed,
        num_threads=config.loader_threads or read_rank_env().num_processors,
        factors=factors,
        rank=ranks.rank,
        world_size=ranks.world_size,
    )


def open_evaluation(
    recipe: Recipe, data_dir: Location, learner: Learner
) -> Callable[[], dict[str, float]] | None:
    """Return the evaluation of the current weights on the val split, if one is configured."""
    if recipe.train.evaluate_every is None:
        return None
    reader, config = open_split(data_dir, "val"), recipe.evaluate
    check_image_set(config.images, reader.manifest)
    postprocess = config.postprocess.apply(recipe.train.model.postprocess)

    def evaluate() -> dict[str, float]:
        images = detect_split(learner.detector(postprocess), reader, config)
        truths, found = [image.truth for image in images], [image.found for image in images]
        metrics = evaluate_coco(truths, found, reader.classes).metrics
        if recipe.train.validation_loss:
            metrics["val_loss"] = _measure_loss(recipe, data_dir, learner)
        return metrics

    return evaluate


def _measure_loss(recipe: Recipe, data_dir: Location, learner: Learner) -> float:
    """Return the loss on the val split, of all its images and a few again in the last batch."""
    reader = open_split(data_dir, "val")
    batch_size = max(1, min(recipe.evaluate.batch_size, reader.num_images))
    changes = {"augment": _UNCHANGED, "repeat_threshold": None, "batch_size": batch_size}
    loader = open_loader(recipe.train.model_copy(update=changes), reader)
    count = math.ceil(reader.num_images / batch_size)
    sums = np.zeros(4)
    with Progress("validation loss: batch", count) as progress:
        for done, batch in enumerate(loader.batches(0, count), 1):
            sums += learner.measure(batch)
            progress.update(done)
    cls, bbox, divisor, _ = sums
    return float((cls + bbox) / max(divisor, 1))
