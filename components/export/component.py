"""KFP component: write a model as a file for other programs."""

from kfp import dsl

from components import images


@dsl.component(base_image=images.TOOLS, install_kfp_package=False)  # the placement sets the image
def export(
    format: str,
    framework: str,
    data_root: str,
    run: str,
    model: dsl.Input[dsl.Model],
    exported: dsl.Output[dsl.Artifact],
    metrics: dsl.Output[dsl.Metrics],
) -> None:
    """Write a model as a file for other programs, with a certificate of its results.

    Args:
        format: `onnx` or another format of `ssd export`; empty writes nothing.
        framework: `torch` or `mindspore`, which writes the file.
        data_root: Path or URI of the root.
        run: Id of the pipeline run.
        model: The detector.

    Returns:
        exported: The file and its certificate.
        metrics: The largest differences between the file and the model.
    """
    from pathlib import Path

    from ssd_core.logs import announce
    from ssd_core.stages import export as stage
    from ssd_core.stages.doorway import doorway, fill_output, find_input
    from ssd_core.store.layout import Layout

    with doorway():
        if not format:
            announce("no file is exported; --export-format chooses a format")
            Path(exported.path).mkdir(parents=True)
            return
        out_dir = Layout(data_root).run(run, "export")
        result = stage.run(find_input(model), out_dir, format_name=format, framework=framework)
        fill_output(exported, out_dir, result)
        metrics.metadata.update(result.metrics)
