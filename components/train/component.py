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
    run: str,
    dataset: dsl.Input[dsl.Dataset],
    model: dsl.Output[dsl.Model],
    metrics: dsl.Output[dsl.Metrics],
) -> None:
    """Train an SSD detector, or continue where the same training was stopped.

    Args:
        config: The `train` section produced by `resolve_config`.
        recipe: Name of the recipe, for the record.
        framework: `torch` or `mindspore`.
        device: `auto`, `cpu`, `cuda` or `npu`.
        data_root: Path or URI that holds data sets, trainings and runs.
        run: Id of the pipeline run, which names the place of the results.
        dataset: Where `convert` put the shards.
        model: The model and the log of its training; the checkpoints stay under `data_root`.
        metrics: Figures of the training.
    """
    from pathlib import Path

    from ssd_core.stages import train as stage
    from ssd_core.stages.doorway import doorway, find_dataset, keep_record
    from ssd_core.store.places import Places
    from ssd_core.store.transfer import download_directory

    with doorway():
        places, data_dir = Places(data_root), find_dataset(dataset.metadata, dataset.path)
        out_dir = places.training(stage.training_id(config, data_dir, framework))
        on_device = {"framework": framework, "device": device}
        result = stage.run(config, data_dir, out_dir, recipe=recipe, **on_device)
        download_directory(out_dir, Path(model.path), leave_out=f"{stage.CHECKPOINT_DIR}/")
        keep_record(Path(model.path), places.run(run, "train"))
        model.metadata.update(result.metadata)
        metrics.metadata.update(result.metrics)
