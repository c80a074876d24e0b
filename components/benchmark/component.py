"""KFP component: measure the speed of a detector."""

from typing import Any

from kfp import dsl

from components import images


@dsl.component(base_image=images.TOOLS, install_kfp_package=False)  # the placement sets the image
def benchmark(
    config: dict[str, Any],
    framework: str,
    device: str,
    data_root: str,
    run: str,
    dataset: dsl.Input[dsl.Dataset],
    model: dsl.Input[dsl.Model],
    speed: dsl.Output[dsl.Artifact],
    metrics: dsl.Output[dsl.Metrics],
) -> None:
    """Measure the speed of a detector, from the bytes of a photograph to its boxes.

    Args:
        config: The `benchmark` section produced by `resolve_config`.
        framework: `torch`.
        device: `auto`, `cpu` or `cuda`.
        data_root: Path or URI that holds data sets, trainings and runs.
        run: Id of the pipeline run, which names the place of the results.
        dataset: Where `convert` put the shards; its photographs are the input.
        model: What `train` learned.
        speed: `results.json`.
        metrics: Images a second and latencies.
    """
    import shutil
    from pathlib import Path

    from ssd_core.stages import benchmark as stage
    from ssd_core.stages.doorway import doorway
    from ssd_core.store.places import Places

    with doorway():
        data_dir, out_dir = Path(dataset.metadata["uri"]), Places(data_root).run(run, "benchmark")
        result = stage.run(
            config, Path(model.path), out_dir, data_dir=data_dir, framework=framework, device=device
        )
        shutil.copytree(out_dir, speed.path, dirs_exist_ok=True)
        speed.metadata.update(result.metadata)
        for name, value in result.metrics.items():
            metrics.log_metric(name, value)
