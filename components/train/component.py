"""KFP component: train a detector on converted data."""

from typing import Any

from kfp import dsl

from components import images


@dsl.component(base_image=images.TOOLS, install_kfp_package=False)  # the placement sets the image
def train(
    recipe: dict[str, Any],
    framework: str,
    device: str,
    num_devices: int,
    data_root: str,
    run: str,
    dataset: dsl.Input[dsl.Dataset],
    model: dsl.Output[dsl.Model],
    metrics: dsl.Output[dsl.Metrics],
) -> None:
    """Train an SSD detector, or continue the same training after an interruption.

    Args:
        recipe: The recipe from `resolve_config`.
        framework: `torch` or `mindspore`.
        device: `auto`, `cpu`, `cuda` or `npu`.
        num_devices: Devices of the pod, one process per device.
        data_root: Path or URI of the root.
        run: Id of the pipeline run.
        dataset: Output of `convert`.

    Returns:
        model: The model and its training log; the checkpoints stay under `data_root`.
        metrics: Metrics of the training.
    """
    from ssd_core.config import Recipe, parse_section
    from ssd_core.stages import train
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
        result = record_step(
            train.request(training),
            layout.run(run, "train"),
            train.run_on_devices,
            training,
            out_dir,
            num_devices=int(num_devices),
        )
        fill_output(model, out_dir, result, leave_out=CHECKPOINT_DIR)
        metrics.metadata.update(result.metrics)
