"""KFP component: train a detector on several nodes of the cluster."""

from typing import Any

from kfp import dsl

from components import images


@dsl.component(
    base_image=images.LAUNCHER, install_kfp_package=False
)  # the placement sets the image
def train_distributed(
    config: dict[str, Any],
    recipe: str,
    framework: str,
    device: str,
    data_root: str,
    run: str,
    nodes: int,
    placement: dict[str, Any],
    dataset: dsl.Input[dsl.Dataset],
    model: dsl.Output[dsl.Model],
    metrics: dsl.Output[dsl.Metrics],
) -> None:
    """Train an SSD detector in a job of several pods, and end as the job ends.

    Args:
        config: The `train` section produced by `resolve_config`.
        recipe: Name of the recipe, for the record.
        framework: `torch` or `mindspore`.
        device: `cpu`, `cuda` or `npu`.
        data_root: URI of a store that holds data sets, trainings and runs.
        run: Id of the pipeline run, which names the job and the place of the results.
        nodes: Number of pods.
        placement: What each pod needs: image, accelerators, store, kind of job.
        dataset: Where `convert` put the shards.

    Returns:
        model: The model and the log of its training; the checkpoints stay under `data_root`.
        metrics: Figures of the training.
    """
    from pathlib import Path

    from ssd_core.stages import train, train_distributed
    from ssd_core.stages.doorway import doorway, find_dataset, keep_record
    from ssd_core.store.places import Places
    from ssd_core.store.transfer import download_directory

    with doorway():
        places, data_dir = Places(data_root), find_dataset(dataset.metadata, dataset.path)
        out_dir = places.training(train.training_id(config, data_dir, framework))
        team = train_distributed.Team(
            run=run, nodes=int(nodes), framework=framework, device=device, placement=placement
        )
        result = train_distributed.run(config, data_dir, out_dir, recipe=recipe, team=team)
        download_directory(out_dir, Path(model.path), leave_out=f"{train.CHECKPOINT_DIR}/")
        keep_record(Path(model.path), places.run(run, "train"))
        model.metadata.update(result.metadata)
        metrics.metadata.update(result.metrics)
