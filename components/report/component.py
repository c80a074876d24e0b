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
    from ssd_core.stages.doorway import doorway, find_dataset, keep_output, read_section
    from ssd_core.store import LocalDirectory, Location
    from ssd_core.store.layout import Layout

    with doorway():
        inputs = [Location.parse(each.path) for each in (model, evaluation, speed) if each]
        out_dir, data_dir = Path(f"{page.path}-parts"), find_dataset(dataset.metadata, dataset.path)
        section = read_section(ReportConfig, recipe, "report")
        result = stage.run(section, inputs, LocalDirectory(out_dir), data_dir=data_dir)
        Path(page.path).write_text((out_dir / stage.REPORT_FILE).read_text())
        Path(summary.path).write_text((out_dir / stage.SUMMARY_FILE).read_text())
        keep_output(out_dir, Layout(data_root).run(run, "report"))
        page.metadata.update(result.metadata)
