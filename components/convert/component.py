"""KFP component: convert a data set to shards."""

from typing import Any

from kfp import dsl

from components import images


@dsl.component(base_image=images.TOOLS, install_kfp_package=False)
def convert(
    recipe: dict[str, Any],
    source: str,
    data_root: str,
    run: str,
    dataset: dsl.Output[dsl.Dataset],
    metrics: dsl.Output[dsl.Metrics],
) -> None:
    """Convert a data set to shards under `data_root`; the artifact only refers to them.

    Args:
        recipe: The recipe from `resolve_config`.
        source: Path or URI of the data set.
        data_root: Path or URI of the root.
        run: Id of the pipeline run.

    Returns:
        dataset: `uri` and `digest` of the shards, as metadata and as a JSON file.
        metrics: Numbers of images and boxes.
    """
    import json
    from pathlib import Path

    from ssd_core.config import ConvertConfig
    from ssd_core.stages import convert as stage
    from ssd_core.stages.doorway import doorway, read_section, record_step
    from ssd_core.stages.frame import Invocation
    from ssd_core.store.layout import Layout

    with doorway():
        layout, section = Layout(data_root), read_section(ConvertConfig, recipe, "convert")
        result = record_step(
            Invocation(stage="convert", config=section, inputs={}, options={"source": source}),
            layout.run(run, "convert"),
            stage.run_in,
            layout,
            section,
            source,
        )
        dataset.metadata.update(result.metadata)
        Path(dataset.path).write_text(json.dumps(result.metadata))
        metrics.metadata.update(result.metrics)
