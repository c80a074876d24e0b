"""KFP component: train a detector on converted data."""

from typing import Any

from kfp import dsl

from components import images


@dsl.component(base_image=images.TOOLS, install_kfp_package=False)  # the placement sets the image
def train(
    config: dict[str, Any],
    recipe: str,
    framework: str,
    device: str,
    data_root: str,
    dataset: dsl.Input[dsl.Dataset],
    model: dsl.Output[dsl.Model],
    metrics: dsl.Output[dsl.Metrics],
) -> None:
    """Train an SSD detector, or continue where the same training was stopped.

    Args:
        config: The `train` section produced by `resolve_config`.
        recipe: Name of the recipe, for the record.
        framework: `torch`.
        device: `auto`, `cpu` or `cuda`.
        data_root: Path or URI that holds data sets, trainings and runs.
        dataset: Where `convert` put the shards.
        model: The model and the log of its training; the checkpoints stay under `data_root`.
        metrics: Figures of the training.
    """
    import shutil
    from pathlib import Path

    from ssd_core.stages import train as stage
    from ssd_core.stages.doorway import doorway
    from ssd_core.store.places import Places

    with doorway():
        data_dir = Path(dataset.metadata["uri"])
        out_dir = Places(data_root).training(stage.training_id(config, data_dir, framework))
        result = stage.run(
            config, data_dir, out_dir, recipe=recipe, framework=framework, device=device
        )
        unneeded = shutil.ignore_patterns(stage.CHECKPOINT_DIR)
        shutil.copytree(out_dir, model.path, ignore=unneeded, dirs_exist_ok=True)
        model.metadata.update(result.metadata)
        for name, value in result.metrics.items():
            metrics.log_metric(name, value)
