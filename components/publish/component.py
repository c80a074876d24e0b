"""KFP component: hand a model out, when it is good enough."""

from typing import Any

from kfp import dsl

from components import images


@dsl.component(base_image=images.TOOLS, install_kfp_package=False)
def publish(
    config: dict[str, Any],
    data_root: str,
    run: str,
    name: str,
    version: str,
    model: dsl.Input[dsl.Model],
    evaluation: dsl.Input[dsl.Artifact],
    speed: dsl.Input[dsl.Artifact],
    published: dsl.Output[dsl.Artifact],
) -> None:
    """Check a model against its bars, and publish it under `models/<name>/<version>/`.

    Args:
        config: The `publish` section produced by `resolve_config`.
        data_root: Path or URI that holds data sets, trainings and published models.
        run: Id of the pipeline run, which names the place of the results.
        name: Name of the model; empty only checks the bars.
        version: Version of the model; empty for the id of its training.
        model: What `train` learned.
        evaluation: What `evaluate` found.
        speed: What `benchmark` found.

    Returns:
        published: `results.json` with the place of the published model.
    """
    from pathlib import Path

    from ssd_core.config import PublishConfig, parse_section
    from ssd_core.stages import publish as stage
    from ssd_core.stages.doorway import doorway, keep_output
    from ssd_core.store import LocalDirectory
    from ssd_core.store.places import Places

    with doorway():
        places, out_dir = Places(data_root), Path(published.path)
        inputs = [Path(model.path), Path(evaluation.path), Path(speed.path)]
        label = stage.Label(name=name, version=version) if name else None
        section = parse_section(PublishConfig, config, "publish")
        result = stage.run(section, inputs, LocalDirectory(out_dir), places=places, label=label)
        keep_output(out_dir, places.run(run, "publish"))
        published.metadata.update(result.metadata)
