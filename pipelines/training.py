"""The training pipeline: from labelled images to a published detector and its report."""

from collections.abc import Mapping
from typing import Any

from kfp import dsl
from kfp.dsl.base_component import BaseComponent

from components.benchmark.component import benchmark
from components.evaluate.component import evaluate
from components.export.component import export
from components.publish.component import publish
from components.report.component import report
from components.resolve_config.component import resolve_config
from components.train.component import train
from components.train_distributed.component import train_distributed
from pipelines.conversion import add_conversion
from pipelines.placement import Placement, place


def build(placement: Placement, *, nodes: int = 1) -> BaseComponent:
    """Return the training pipeline for one placement.

    Args:
        placement: where its steps run.
        nodes: machines that train together; several train in a job that the step starts.
    """
    on_device = {"framework": placement.framework, "device": placement.device}

    @dsl.pipeline(name="training", display_name="SSD training")
    def training(
        dataset: str,
        recipe: str,
        data_root: str,
        overrides: list[str] = [],  # noqa: B006
        model_name: str = "",
        model_version: str = "",
        export_format: str = "",
    ) -> None:
        """Train an SSD object detector, measure accuracy and speed, and publish it.

        Args:
            dataset: Path or URI of the labelled images, as `ssd convert` takes them.
            recipe: Name of a recipe; `ssd recipes` lists them.
            data_root: Path or URI that keeps data sets, trainings, results and models.
            overrides: Changes of the recipe, for example ["train.epochs=12"]; the requirements of
                a published model are "publish.min_ap=0.2" and the like.
            model_name: Name to publish the model under; empty to only check the requirements.
            model_version: Version to publish; empty for the id of the training.
            export_format: Format of a file for other programs, for example "onnx"; empty for none.
        """
        here = {"data_root": data_root, "run": dsl.PIPELINE_JOB_ID_PLACEHOLDER}
        resolved = resolve_config(recipe=recipe, overrides=overrides, **here)
        step = {**here, "recipe": resolved.outputs["recipe"]}
        converted = add_conversion(placement, source=dataset, **step)
        inputs = {**step, "dataset": converted.outputs["dataset"]}
        trained = _train(placement, nodes, on_device | inputs)
        inputs["model"] = trained.outputs["model"]

        evaluated = evaluate(**on_device, **inputs)
        measured = benchmark(series="", **on_device, **inputs)
        measured.after(evaluated)  # no other step may compete with a measurement of speed

        found = {"evaluation": evaluated.outputs["evaluation"], "speed": measured.outputs["speed"]}
        reported = report(**found, **inputs)

        label = {"name": model_name, "version": model_version}
        published = publish(**label, **found, **step, model=inputs["model"])
        published.after(reported)  # of a model below its requirements too, to show why

        exported = export(
            format=export_format, framework=placement.framework, model=inputs["model"], **here
        )
        exported.after(published)  # a model below them is not exported either

        judged = (evaluated, measured, reported, published, exported)
        for task in (resolved, converted, trained, *judged):
            place(placement, task)

    return training


def _train(placement: Placement, nodes: int, inputs: Mapping[str, Any]) -> dsl.PipelineTask:
    """Add the step that trains, or the one that starts a job on several nodes."""
    if nodes == 1:
        return train(num_devices=placement.processes, **inputs)
    facts = placement.model_dump(mode="json", exclude_none=True)
    return train_distributed(nodes=nodes, placement=facts, **inputs)
