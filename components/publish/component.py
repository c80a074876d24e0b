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
    from pathlib import Path

    from ssd_core.config import PublishConfig
    from ssd_core.stages import publish as stage
    from ssd_core.stages.doorway import doorway, keep_output, read_section
    from ssd_core.store import LocalDirectory, Location
    from ssd_core.store.layout import Layout

    with doorway():
        layout, out_dir = Layout(data_root), Path(published.path)
        inputs = [Location.parse(each.path) for each in (model, evaluation, speed)]
        label = stage.Label(name=name, version=version) if name else None
        section = read_section(PublishConfig, recipe, "publish")
        result = stage.run(section, inputs, LocalDirectory(out_dir), layout=layout, label=label)
        keep_output(out_dir, layout.run(run, "publish"))
        published.metadata.update(result.metadata)
