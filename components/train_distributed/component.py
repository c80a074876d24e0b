"""KFP component: train a detector on several nodes of the cluster."""

from typing import Any

from kfp import dsl

from components import images


@dsl.component(base_image=images.LAUNCHER, install_kfp_package=False)  # the placement sets it
def train_distributed(
    recipe: dict[str, Any],
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
    """Train an SSD detector in a job of several pods, and wait for it.

    Args:
        recipe: The recipe from `resolve_config`.
        framework: `torch` or `mindspore`.
        device: `cpu`, `cuda` or `npu`.
        data_root: URI of the root, in a store.
        run: Id of the pipeline run, part of the name of the job.
        nodes: Number of pods.
        placement: Row of placements.yaml: image, accelerators, store, kind of job.
        dataset: Output of `convert`.

    Returns:
        model: The model and its training log; the checkpoints stay under `data_root`.
        metrics: Metrics of the training.
    """
    from ssd_core.config import Recipe, parse_section
    from ssd_core.stages import train, train_distributed
    from ssd_core.stages.doorway import doorway, fill_output, find_input, record_step
    from ssd_core.store.layout import Layout
    from ssd_core.training.checkpoints import CHECKPOINT_DIR

    with doorway():
        layout = Layout(data_root)
        training = train.Training(
            recipe=parse_section(Recipe, recipe, ""),
            data_dir=find_input(dataset),
            framework=framework,
            device=device,
        )
        out_dir = layout.training(training.id)
        team = train_distributed.Team(run=run, nodes=int(nodes), placement=placement)
        result = record_step(
            train_distributed.request(training, team),
            layout.run(run, "train"),
            train_distributed.run,
            training,
            out_dir,
            team,
        )
        fill_output(model, out_dir, result, leave_out=CHECKPOINT_DIR)
        metrics.metadata.update(result.metrics)
