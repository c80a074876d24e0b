"""Fetch a model that another run has produced."""

from pathlib import Path

from ssd_core.logs import logger
from ssd_core.model_dir import CONFIG_FILE, WEIGHTS_FILE, local_model, read_model
from ssd_core.store import LocalDirectory, Location
from ssd_core.store.transfer import upload_directory
from ssd_core.structures import StageResult


def run(source: Location, out_dir: Path) -> StageResult:
    """Copy a model and verify the copy.

    Args:
        source: a model directory, the output of a training, or a published model.
        out_dir: directory of the copy.

    Returns:
        Metadata: name of the `recipe`, `uri`, `digest` of the weights, `training_id`.

    Raises:
        UsageError: the model does not exist.
        DataError: a file is missing or damaged.
    """
    copy = LocalDirectory(out_dir)
    upload_directory(local_model(source), copy, last=CONFIG_FILE)
    description = read_model(copy).description
    logger.info("%s: %s, %d steps", source, description.recipe.name, description.step)
    return StageResult(
        metadata={
            "recipe": description.recipe.name,
            "uri": source.uri,
            "digest": description.file(WEIGHTS_FILE).sha256,
            "training_id": description.training_id,
        }
    )
