"""KFP component: measure the accuracy of a detector."""

from typing import Any

from kfp import dsl

from components import images


@dsl.component(base_image=images.TOOLS, install_kfp_package=False)  # the placement sets the image
def evaluate(
    recipe: dict[str, Any],
    framework: str,
    device: str,
    data_root: str,
    run: str,
    dataset: dsl.Input[dsl.Dataset],
    model: dsl.Input[dsl.Model],
    evaluation: dsl.Output[dsl.Artifact],
    metrics: dsl.Output[dsl.Metrics],
    confusion: dsl.Output[dsl.ClassificationMetrics],
) -> None:
    """Measure the accuracy of a detector: the COCO metrics and all detections.

    Args:
        recipe: The recipe from `resolve_config`.
        framework: `torch` or `mindspore`.
        device: `auto`, `cpu`, `cuda` or `npu`.
        data_root: Path or URI of the root.
        run: Id of the pipeline run.
        dataset: Output of `convert`.
        model: The detector.

    Returns:
        evaluation: `results.json`, `detections.json` and `ground_truth.json`.
        metrics: The COCO metrics.
        confusion: The confusion matrix; of more than 100 classes, of the 50 with most errors.
    """
    from ssd_core.config import EvaluateConfig
    from ssd_core.stages import evaluate as stage
    from ssd_core.stages.doorway import doorway, fill_output, find_input, read_section
    from ssd_core.stages.outputs import read_output
    from ssd_core.store.layout import Layout

    with doorway():
        out_dir = Layout(data_root).run(run, "evaluate")
        result = stage.run(
            read_section(EvaluateConfig, recipe, "evaluate"),
            find_input(model),
            find_input(dataset),
            out_dir,
            framework=framework,
            device=device,
        )
        fill_output(evaluation, out_dir, result)
        metrics.metadata.update(result.metrics)
        table = read_output(out_dir).results["confusion"]
        confusion.log_confusion_matrix(table["classes"], table["matrix"])
