"""KFP component: combine the results of a run into one page."""

from typing import Any

from kfp import dsl

from components import images


@dsl.component(base_image=images.TOOLS, install_kfp_package=False)
def report(
    recipe: dict[str, Any],
    data_root: str,
    run: str,
    dataset: dsl.Input[dsl.Dataset],
    evaluation: dsl.Input[dsl.Artifact],
    page: dsl.Output[dsl.HTML],
    summary: dsl.Output[dsl.Markdown],
    model: dsl.Input[dsl.Model] = None,
    speed: dsl.Input[dsl.Artifact] = None,
) -> None:
    """Combine accuracy, speed and training curves into one HTML page.

    Args:
        recipe: The recipe from `resolve_config`.
        data_root: Path or URI of the root.
        run: Id of the pipeline run.
        dataset: Output of `convert`, for the sample images of the page.
        evaluation: Output of `evaluate`.
        model: Output of `train`.
        speed: Output of `benchmark`.

    Returns:
        page: The page, which needs no network.
        summary: The metrics of the page in a few lines.
    """
    from pathlib import Path

    from ssd_core.config import ReportConfig
    from ssd_core.stages import report as stage
    from ssd_core.stages.doorway import doorway, find_input, read_section
    from ssd_core.store.layout import Layout

    with doorway():
        out_dir = Layout(data_root).run(run, "report")
        section = read_section(ReportConfig, recipe, "report")
        inputs = [find_input(each) for each in (model, evaluation, speed) if each]
        result = stage.run(section, inputs, out_dir, data_dir=find_input(dataset), run_id=run)
        Path(page.path).write_bytes(out_dir.get(stage.REPORT_FILE))
        Path(summary.path).write_bytes(out_dir.get(stage.MARKDOWN_FILE))
        page.metadata.update(result.metadata)
