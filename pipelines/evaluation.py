"""The evaluation pipeline: accuracy of an existing model on a data set."""

from kfp import dsl
from kfp.dsl.base_component import BaseComponent

from components.evaluate.component import evaluate
from components.fetch_model.component import fetch_model
from components.report.component import report
from components.resolve_config.component import resolve_config
from pipelines.conversion import add_conversion
from pipelines.placement import Placement, place


def build(placement: Placement) -> BaseComponent:
    """Return the evaluation pipeline for one placement."""
    on_device = {"framework": placement.framework, "device": placement.device}

    @dsl.pipeline(name="evaluation", display_name="SSD evaluation")
    def evaluation(
        model: str,
        dataset: str,
        data_root: str,
        overrides: list[str] = [],  # noqa: B006
    ) -> None:
        """Measure the accuracy of an existing SSD object detector on a data set.

        Args:
            model: Path or URI of a published model, a model directory or the output of a training.
            dataset: Path or URI of the labelled images, as `ssd convert` takes them.
            data_root: Path or URI that keeps data sets and results.
            overrides: Changes of the recipe of the model, for example ["evaluate.split=train"].
        """
        step = {"data_root": data_root, "run": dsl.PIPELINE_JOB_ID_PLACEHOLDER}
        fetched = fetch_model(uri=model, **step)
        existing = {"model": fetched.outputs["model"]}
        resolved = resolve_config(recipe="", overrides=overrides, **existing, **step)
        step["recipe"] = resolved.outputs["recipe"]
        converted = add_conversion(placement, source=dataset, **step)
        step["dataset"] = converted.outputs["dataset"]
        evaluated = evaluate(**existing, **on_device, **step)
        reported = report(evaluation=evaluated.outputs["evaluation"], **step)

        for task in (fetched, resolved, converted, evaluated, reported):
            place(placement, task)

    return evaluation
