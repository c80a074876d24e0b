"""KFP component: measure the speed of a detector."""

from typing import Any

from kfp import dsl

from components import images


@dsl.component(base_image=images.TOOLS, install_kfp_package=False)  # the placement sets the image
def benchmark(
    recipe: dict[str, Any],
    framework: str,
    device: str,
    data_root: str,
    run: str,
    series: str,
    model: dsl.Input[dsl.Model],
    speed: dsl.Output[dsl.Artifact],
    metrics: dsl.Output[dsl.Metrics],
    dataset: dsl.Input[dsl.Dataset] = None,
) -> None:
    """Measure the speed of a detector, from encoded images to boxes.

    Args:
        recipe: The recipe from `resolve_config`.
        framework: `torch` or `mindspore`.
        device: `auto`, `cpu`, `cuda` or `npu`.
        data_root: Path or URI of the root.
        run: Id of the pipeline run.
        series: Name of the series to compare with and to add to; empty for none.
        model: The detector.
        dataset: Output of `convert`, for input images; without it they are generated.

    Returns:
        speed: `results.json`.
        metrics: Images per second and latencies.
    """
    from ssd_core.config import BenchmarkConfig
    from ssd_core.stages import benchmark as stage
    from ssd_core.stages.doorway import doorway, fill_output, find_input, read_section
    from ssd_core.store.layout import Layout

    with doorway():
        layout, section = Layout(data_root), read_section(BenchmarkConfig, recipe, "benchmark")
        out_dir = layout.run(run, "benchmark")
        result = stage.run(
            section,
            find_input(model),
            out_dir,
            data_dir=find_input(dataset) if dataset else None,
            series=stage.SpeedSeries(layout.benchmarks(series), run) if series else None,
            framework=framework,
            device=device,
        )
        fill_output(speed, out_dir, result)
        metrics.metadata.update(result.metrics)
        stage.check_verdict(section, result)
