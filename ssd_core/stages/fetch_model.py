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
        Metadata: name of the `recipe`, `uri`, `digest` of the weights, `training_id`.

    Raises:
        UsageError: the model does not exist.
        DataError: a file is missing or damaged.
    """
    description = copy_model(source, LocalDirectory(out_dir))
    logger.info("%s: %s, %d steps", source, description.recipe.name, description.step)
    return StageResult(
        metadata={
            "recipe": description.recipe.name,
            "uri": source.uri,
            "digest": description.file(WEIGHTS_FILE).sha256,
            "training_id": description.training_id,
        }
    )
