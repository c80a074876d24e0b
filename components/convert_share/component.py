"""KFP component: convert a share of a data set, beside the other shares."""

from typing import Any

from kfp import dsl

from components import images


@dsl.component(base_image=images.TOOLS, install_kfp_package=False)
def convert_share(
    recipe: dict[str, Any],
    source: str,
    share: str,
    data_root: str,
    run: str,
    metrics: dsl.Output[dsl.Metrics],
) -> None:
    """Write a share of the shards of a data set, which `convert` then completes.

    Args:
        recipe: The recipe from `resolve_config`.
        source: Path or URI of the data set.
        share: Number of the share and of all shares, for example 2/8.
        data_root: Path or URI of the root.
        run: Id of the pipeline run.

    Returns:
        metrics: Numbers of images and boxes in the share.
    """
    from ssd_core.config import ConvertConfig
    from ssd_core.data.conversion.journal import Share
    from ssd_core.stages import convert_share as stage
    from ssd_core.stages.doorway import doorway, read_section, record_step
    from ssd_core.stages.frame import Invocation
    from ssd_core.store.layout import Layout

    with doorway():
        layout, section = Layout(data_root), read_section(ConvertConfig, recipe, "convert")
        own = Share.parse(share)
        options = {"source": source, "share": share}
        result = record_step(
            Invocation(stage="convert_share", config=section, inputs={}, options=options),
            layout.run(run, f"convert_share-{own}"),
            stage.run_in,
            layout,
            section,
            source,
            own,
        )
        metrics.metadata.update(result.metrics)
