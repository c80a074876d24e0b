"""KFP component: bring in a model that exists already."""

from typing import NamedTuple

from kfp import dsl

from components import images


@dsl.component(base_image=images.TOOLS, install_kfp_package=False)
def fetch_model(uri: str, model: dsl.Output[dsl.Model]) -> NamedTuple(  # type: ignore[valid-type]
    "Fetched", [("recipe", str)]
):
    """Copy a model from anywhere, checked.

    Args:
        uri: Path or URI of a published model, a model directory or the output of a training.

    Returns:
        model: The model.
        recipe: Name of the recipe that it was made with.
    """
    from pathlib import Path

    from ssd_core.stages import fetch_model as stage
    from ssd_core.stages.doorway import doorway
    from ssd_core.store import Location

    with doorway():
        result = stage.run(Location.parse(uri), Path(model.path))
        model.metadata.update(result.metadata)
        return (result.metadata["recipe"],)
