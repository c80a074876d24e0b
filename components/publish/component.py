"""KFP component: publish a model that meets its requirements."""

from typing import Any

from kfp import dsl

from components import images


@dsl.component(base_image=images.TOOLS, install_kfp_package=False)
def publish(
    recipe: dict[str, Any],
    data_root: str,
    run: str,
    name: str,
    version: str,
    model: dsl.Input[dsl.Model],
    evaluation: dsl.Input[dsl.Artifact],
    speed: dsl.Input[dsl.Artifact],
    published: dsl.Output[dsl.Artifact],
) -> None:
    """Check the requirements of a model and publish it as `models/<name>/<version>/`.

    Args:
        recipe: The recipe from `resolve_config`.
        data_root: Path or URI of the root.
        run: Id of the pipeline run.
        name: Name of the model; empty only checks the requirements.
        version: Version of the model; empty for the id of its training.
        model: Output of `train`.
        evaluation: Output of `evaluate`.
        speed: Output of `benchmark`.

    Returns:
        published: `results.json` with the URI of the published model.
    """
    from ssd_core.config import PublishConfig
    from ssd_core.stages import publish as stage
    from ssd_core.stages.doorway import doorway, fill_output, find_input, read_section
    from ssd_core.store.layout import Layout

    with doorway():
        layout = Layout(data_root)
        out_dir = layout.run(run, "publish")
        section = read_section(PublishConfig, recipe, "publish")
        inputs = [find_input(each) for each in (model, evaluation, speed)]
        label = stage.Label(name=name, version=version) if name else None
        result = stage.run(section, inputs, out_dir, layout=layout, label=label)
        fill_output(published, out_dir, result)
