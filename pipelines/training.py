"""The training pipeline: from labelled photographs to a measured detector and a page about it."""

from typing import Any

from kfp import dsl
from kfp.dsl.base_component import BaseComponent

from components.benchmark.component import benchmark
from components.convert.component import convert
from components.evaluate.component import evaluate
from components.report.component import report
from components.resolve_config.component import resolve_config
from components.train.component import train
from pipelines.placement import Placement, apply_device, apply_tools


def build_training(
    placement: Placement, run: str = dsl.PIPELINE_JOB_ID_PLACEHOLDER
) -> BaseComponent:
    """Return the training pipeline for one placement.

    Args:
        placement: where its steps run.
        run: name of the run in the store; on a cluster the run's own id.
    """
    on_device = {"framework": placement.framework, "device": placement.device}

    @dsl.pipeline(
        name="training",
        display_name="SSD training",
        description="Train, evaluate and benchmark an SSD object detector, and report on it.",
    )
    def training(
        dataset: str,
        recipe: str,
        data_root: str,
        overrides: dict[str, Any] = {},  # noqa: B006
    ) -> None:
        """Train, evaluate and benchmark an SSD object detector, and report on it.

        Args:
            dataset: Path or URI of the labelled photographs, as `ssd convert` takes them.
            recipe: Name of a recipe; `ssd recipes` lists them.
            data_root: Path or URI that keeps data sets, trainings and results.
            overrides: Changes of the recipe, for example {"train.epochs": 12}.
        """
        resolved = resolve_config(recipe=recipe, overrides=overrides)
        apply_tools(placement, resolved).set_display_name("Resolve configuration")
        sections = resolved.outputs

        converted = convert(config=sections["convert"], source=dataset, data_root=data_root)
        apply_tools(placement, converted).set_display_name("Convert to shards")
        converted.set_caching_options(False)
        shards = {"data_root": data_root, "dataset": converted.outputs["dataset"]}

        trained = train(config=sections["train"], recipe=recipe, **on_device, **shards)
        apply_device(placement, trained).set_display_name("Train")
        trained.set_caching_options(False)
        inputs = {**shards, "run": run, "model": trained.outputs["model"]}

        evaluated = evaluate(config=sections["evaluate"], **on_device, **inputs)
        apply_device(placement, evaluated).set_display_name("Evaluate accuracy")

        measured = benchmark(config=sections["benchmark"], **on_device, **inputs)
        apply_device(placement, measured).set_display_name("Benchmark speed")
        measured.set_caching_options(False)
        measured.after(evaluated)  # nothing of this run may compete with a measurement of speed

        evaluation, speed = evaluated.outputs["evaluation"], measured.outputs["speed"]
        reported = report(config=sections["report"], evaluation=evaluation, speed=speed, **inputs)
        apply_tools(placement, reported).set_display_name("Report")

    return training
