"""The step that brings in a model that another run, or somebody else, has made."""

from pathlib import Path

from ssd_core.logs import logger
from ssd_core.model_dir import CONFIG_FILE, WEIGHTS_FILE, local_model, read_model
from ssd_core.store import LocalDirectory, Location
from ssd_core.store.transfer import upload_directory
from ssd_core.structures import StageResult


def run(place: Location, out_dir: Path) -> StageResult:
    """Copy a model, and check that it is whole.

    Args:
        place: a model directory, the output of a training, or a published model, also in a store.
        out_dir: place of the copy.

    Returns:
        Metadata: `recipe` whose settings the model was made with, `uri`, `digest` of the weights.

    Raises:
        UsageError: there is no model.
        DataError: a file is missing or damaged.
        SurroundingsError: the store is away, or the disk is full.
    """
    upload_directory(local_model(place), LocalDirectory(out_dir), last=CONFIG_FILE)
    description = read_model(LocalDirectory(out_dir)).description
    logger.info("%s: %s, %d steps", place, description.recipe, description.step)
    return StageResult(
        metadata={
            "recipe": description.recipe,
            "uri": place.uri,
            "digest": description.file(WEIGHTS_FILE).sha256,
            "training_id": description.training_id,
        }
    )
