"""The benchmark pipeline: speed of an existing model, compared with its history."""

from kfp import dsl
from kfp.dsl.base_component import BaseComponent

from components.benchmark.component import benchmark as measure
from components.fetch_model.component import fetch_model
from components.resolve_config.component import resolve_config
from pipelines.placement import Placement, place


def build(placement: Placement) -> BaseComponent:
    """Return the benchmark pipeline for one placement."""

    @dsl.pipeline(name="benchmark", display_name="SSD benchmark")
    def benchmark(
        model: str,
        series: str,
        data_root: str,
        overrides: list[str] = [],  # noqa: B006
    ) -> None:
        """Measure the speed of an existing SSD object detector, and compare it with its history.

        Args:
            model: Path or URI of a published model, a model directory or the output of a training.
            series: Name of the series that the result is compared with and added to.
            data_root: Path or URI that keeps the series and the results.
            overrides: Changes of the recipe of the model, for example
                ["benchmark.fail_on_regression=10"].
        """
        step = {"data_root": data_root, "run": dsl.PIPELINE_JOB_ID_PLACEHOLDER}
        fetched = fetch_model(uri=model, **step)
        step["model"] = fetched.outputs["model"]
        resolved = resolve_config(recipe="", overrides=overrides, **step)
        measured = measure(
            recipe=resolved.outputs["recipe"],
            framework=placement.framework,
            device=placement.device,
            series=series,
            **step,
        )

        for task in (fetched, resolved, measured):
            place(placement, task)

    return benchmark
