"""KFP component: fetch an existing model."""

from kfp import dsl

from components import images


@dsl.component(base_image=images.TOOLS, install_kfp_package=False)
def fetch_model(uri: str, data_root: str, run: str, model: dsl.Output[dsl.Model]) -> None:
    """Copy a model and verify the copy.

    Args:
        uri: Path or URI of a published model, a model directory or the output of a training.
        data_root: Path or URI of the root.
        run: Id of the pipeline run.

    Returns:
        model: The model, with its recipe.
    """
    from pathlib import Path

    from ssd_core.stages import fetch_model as stage
    from ssd_core.stages.doorway import doorway, record_step
    from ssd_core.stages.frame import Invocation
    from ssd_core.store import Location
    from ssd_core.store.layout import Layout

    with doorway():
        result = record_step(
            Invocation(stage="fetch_model", config={}, inputs={}, options={"uri": uri}),
            Layout(data_root).run(run, "fetch_model"),
            stage.run,
            Location.parse(uri),
            Path(model.path),
        )
        model.metadata.update(result.metadata)
