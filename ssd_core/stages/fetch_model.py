"""Fetch a model that another run has produced."""

from pathlib import Path

from ssd_core.logs import logger
from ssd_core.model_dir import WEIGHTS_FILE, copy_model
from ssd_core.store import LocalDirectory, Location
from ssd_core.structures import StageResult


def run(source: Location, out_dir: Path) -> StageResult:
    """Copy a model, and verify it as it is read.

    Args:
        source: a model directory, the output of a training, or a published model.
        out_dir: directory of the copy.

    Returns:
        Metadata: name of the `recipe`, `digest` of the weights, `training_id`, and the `uri` for
        later steps: the source in a store, else the copy.

    Raises:
        UsageError: the model does not exist.
        DataError: a file is missing or damaged.
    """
    copy = LocalDirectory(out_dir)
    description = copy_model(source, copy)
    logger.info("%s: %s, %d steps", source, description.recipe.name, description.step)
    return StageResult(
        metadata={
            "recipe": description.recipe.name,
            "uri": (source if source.local is None else copy).uri,
            "digest": description.file(WEIGHTS_FILE).sha256,
            "training_id": description.training_id,
        }
    )
