"""KFP component: fetch an existing model."""

from kfp import dsl

from components import images


@dsl.component(base_image=images.TOOLS, install_kfp_package=False)
def fetch_model(uri: str, model: dsl.Output[dsl.Model]) -> None:
    """Copy a model and verify the copy.

    Args:
        uri: Path or URI of a published model, a model directory or the output of a training.

    Returns:
        model: The model, with its recipe.
    """
    from pathlib import Path

    from ssd_core.stages import fetch_model as stage
    from ssd_core.stages.doorway import doorway
    from ssd_core.store import Location

    with doorway():
        result = stage.run(Location.parse(uri), Path(model.path))
        model.metadata.update(result.metadata)
