"""KFP component: join the results of a run into one page."""

from typing import Any

from kfp import dsl

from components import images


@dsl.component(base_image=images.TOOLS, install_kfp_package=False)
def report(
    config: dict[str, Any],
    data_root: str,
    run: str,
    dataset: dsl.Input[dsl.Dataset],
    model: dsl.Input[dsl.Model],
    evaluation: dsl.Input[dsl.Artifact],
    speed: dsl.Input[dsl.Artifact],
    page: dsl.Output[dsl.HTML],
    summary: dsl.Output[dsl.Markdown],
) -> None:
    """Join accuracy, speed and the course of the training into one HTML page.

    Args:
        config: The `report` section produced by `resolve_config`.
        data_root: Path or URI that holds data sets, trainings and runs.
        run: Id of the pipeline run, which names the place of the page.
        dataset: Where `convert` put the shards; the page shows some photographs.
        model: What `train` learned, with its log.
        evaluation: What `evaluate` found.
        speed: What `benchmark` found.
        page: The page, which needs no network.
        summary: The figures of the page in a few lines.
    """
    import shutil
    from pathlib import Path

    from ssd_core.stages import report as stage
    from ssd_core.stages.doorway import doorway
    from ssd_core.store.places import Places

    with doorway():
        inputs = [Path(model.path), Path(evaluation.path), Path(speed.path)]
        data_dir, out_dir = Path(dataset.metadata["uri"]), Places(data_root).run(run, "report")
        result = stage.run(config, inputs, out_dir, data_dir=data_dir)
        shutil.copyfile(out_dir / stage.REPORT_FILE, page.path)
        shutil.copyfile(out_dir / stage.SUMMARY_FILE, summary.path)
        page.metadata.update(result.metadata)
