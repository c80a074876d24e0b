"""KFP component: measure the accuracy of a detector."""

from typing import Any

from kfp import dsl

from components import images


@dsl.component(base_image=images.TOOLS, install_kfp_package=False)  # the placement sets the image
def evaluate(
    config: dict[str, Any],
    framework: str,
    device: str,
    data_root: str,
    run: str,
    dataset: dsl.Input[dsl.Dataset],
    model: dsl.Input[dsl.Model],
    evaluation: dsl.Output[dsl.Artifact],
    metrics: dsl.Output[dsl.Metrics],
) -> None:
    """Measure the accuracy of a detector: the COCO numbers, and every detection.

    Args:
        config: The `evaluate` section produced by `resolve_config`.
        framework: `torch`.
        device: `auto`, `cpu` or `cuda`.
        data_root: Path or URI that holds data sets, trainings and runs.
        run: Id of the pipeline run, which names the place of the results.
        dataset: Where `convert` put the shards.
        model: What `train` learned.
        evaluation: `results.json` and `detections.json`.
        metrics: The COCO numbers.
    """
    import shutil
    from pathlib import Path

    from ssd_core.stages import evaluate as stage
    from ssd_core.stages.doorway import doorway
    from ssd_core.store.places import Places

    with doorway():
        data_dir, out_dir = Path(dataset.metadata["uri"]), Places(data_root).run(run, "evaluate")
        result = stage.run(
            config, Path(model.path), data_dir, out_dir, framework=framework, device=device
        )
        shutil.copytree(out_dir, evaluation.path, dirs_exist_ok=True)
        evaluation.metadata.update(result.metadata)
        for name, value in result.metrics.items():
            metrics.log_metric(name, value)
