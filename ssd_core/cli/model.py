"""Commands about a detector: evaluate, benchmark, report, publish."""

from collections.abc import Sequence
from typing import Annotated, Any

import typer

from ssd_core.cli.options import (
    Assignments,
    Device,
    Devices,
    Json,
    Model,
    NumDevices,
    OptionalData,
    OptionalModel,
    Out,
    Runtime,
    Step,
    count_devices,
    finish,
    join_changes,
)
from ssd_core.config import (
    EvaluateConfig,
    PublishConfig,
    Recipe,
    ReportConfig,
    SplitName,
    parse_section,
)
from ssd_core.errors import UsageError, unlisted_name
from ssd_core.recipes.overrides import assign, override
from ssd_core.store import Location
from ssd_core.store.layout import Layout

Outputs = Annotated[
    list[Location],
    typer.Argument(
        metavar="DIR",
        help="Outputs of `ssd train`, `evaluate` and `benchmark`.",
        parser=Location.parse,
    ),
]


def _file_option(text: str) -> Any:
    return typer.Option(metavar="FILE", parser=Location.parse, help=text)


Detections = Annotated[
    Location | None,
    _file_option("Instead of a model: detections of any program in the COCO results format."),
]
GroundTruth = Annotated[
    Location | None,
    _file_option("Instead of data: the COCO annotation file of these detections."),
]


_KEYS = {"split": "evaluate.split", "fail_on_regression": "benchmark.fail_on_regression"}


def evaluate(
    context: typer.Context,
    out: Out,
    model: OptionalModel = None,
    step: Step = None,
    data: OptionalData = None,
    split: Annotated[
        SplitName | None, typer.Option(help="Images of the data to evaluate.", show_default="val")
    ] = None,
    detections: Detections = None,
    ground_truth: GroundTruth = None,
    is_checked: Annotated[
        bool, typer.Option("--check", help="Compare the 12 metrics with those of pycocotools.")
    ] = False,
    assignments: Assignments = None,
    framework: Runtime = None,
    device: Device = "auto",
    num_devices: NumDevices = None,
    devices: Devices = None,
    as_json: Json = False,
) -> None:
    """Measure accuracy: the 12 COCO metrics, values per class, and all detections.

    The detections are those of a model on data, or those in a file. Several devices share the
    images of the data; the figures are those of a single one.

    Example: ssd evaluate --model trained --data shards --out evaluation
    """
    from ssd_core.backends import launch_ranks
    from ssd_core.backends.ranks import Nodes, read_rank_env
    from ssd_core.stages import evaluate as stage
    from ssd_core.stages.detector import choose_framework
    from ssd_core.stages.frame import RESULTS_FILE
    from ssd_core.training.checkpoints import find_checkpoint

    changes = join_changes(context, _KEYS, {"split": split}, assignments)
    nodes = Nodes(count_devices(device, num_devices, devices))
    if detections and nodes.world_size > 1:
        raise UsageError(
            "--num-devices and --devices have no effect on --detections; leave them out"
        )
    if model and data and not (detections or ground_truth):
        model = find_checkpoint(model, step)
        if nodes.world_size > 1:
            words = ["evaluate", "--model", model.uri, "--data", data.uri, "--out", out.uri]
            words += [word for each in changes for word in ("--set", each)]
            words += ["--check"] * is_checked + ["--json"] * as_json
            framework = choose_framework(model, framework)
            words += ["--framework", framework, "--device", device]
            raise typer.Exit(launch_ranks(framework, words, nodes))
        config = _model_recipe(model, "evaluate", changes).evaluate
        result = stage.run(
            config, model, data, out, framework=framework, device=device, is_checked=is_checked
        )
    elif detections and ground_truth and not (model or step or data):
        values = assign("evaluate", {}, changes)
        config = parse_section(EvaluateConfig, values, "evaluate")
        result = stage.run_files(config, detections, ground_truth, out, is_checked=is_checked)
    elif detections and not (ground_truth or model or data):
        raise UsageError("--ground-truth is missing: the COCO annotation file of --detections")
    else:
        raise UsageError("expected --model and --data, or --detections and --ground-truth")
    if read_rank_env().rank == 0:
        finish(result, out / RESULTS_FILE, as_json=as_json)


def benchmark(
    context: typer.Context,
    model: Model,
    out: Out,
    data: OptionalData = None,
    evaluation: Annotated[
        Location | None,
        typer.Option(
            metavar="DIR",
            help="Output of `ssd evaluate` for the same model, framework and precision: its AP "
            "stands beside the speed.",
            parser=Location.parse,
        ),
    ] = None,
    series: Annotated[
        Location | None,
        typer.Option(
            metavar="DIR",
            help="Earlier results to compare with and to add to; `ssd history` lists them.",
            parser=Location.parse,
        ),
    ] = None,
    fail_on_regression: Annotated[
        float | None,
        typer.Option(
            metavar="PERCENT",
            min=0,
            help="Fail, exit code 3, if a speed is outside the noise of the series and lower by "
            "more than this.",
        ),
    ] = None,
    assignments: Assignments = None,
    framework: Runtime = None,
    device: Device = "auto",
    as_json: Json = False,
) -> None:
    """Measure speed: decoding, preprocessing, forward pass, postprocessing, and end to end.

    The input is the evaluation split of --data, or generated images without it. With --series the
    result is faster or slower than at least 5 earlier ones on the same device, or not
    distinguishable from their noise.

    Example: ssd benchmark --model trained --series nightly --fail-on-regression 10 --out speed
    """
    from ssd_core.stages import benchmark as stage
    from ssd_core.stages.frame import RESULTS_FILE

    if fail_on_regression is not None and series is None:
        raise UsageError("--fail-on-regression compares with earlier results; add --series DIR")
    given = {"fail_on_regression": fail_on_regression}
    changes = join_changes(context, _KEYS, given, assignments)
    config = _model_recipe(model, "benchmark", changes).benchmark
    result = stage.run(
        config,
        model,
        out,
        data_dir=data,
        evaluation=evaluation,
        series=stage.SpeedSeries(series) if series else None,
        framework=framework,
        device=device,
    )
    finish(result, out / RESULTS_FILE, as_json=as_json)
    stage.check_verdict(config, result)


def report(
    inputs: Outputs,
    out: Out,
    data: OptionalData = None,
    title: Annotated[str | None, typer.Option(metavar="TEXT", help="Headline of the page.")] = None,
    as_json: Json = False,
) -> None:
    """Combine results into one HTML page that needs neither network nor JavaScript.

    Example: ssd report trained evaluation speed --out report
    """
    from ssd_core.stages import report as stage

    config = _outputs_recipe(inputs, "report", None)
    section = config.report if config else ReportConfig()
    section = section.model_copy(update={"title": title or section.title})
    result = stage.run(section, inputs, out, data_dir=data)
    finish(result, out / stage.REPORT_FILE, as_json=as_json)


def publish(
    inputs: Outputs,
    name: Annotated[str, typer.Option(metavar="NAME", help="Name of the model.")],
    out: Out,
    version: Annotated[
        str, typer.Option(metavar="TEXT", help="Version; by default the id of the training.")
    ] = "",
    assignments: Assignments = None,
    as_json: Json = False,
) -> None:
    """Publish a model that meets its requirements, with a card, as OUT/models/NAME/VERSION.

    The requirements are publish.min_ap and publish.min_images_per_second. The first of several
    models for one version wins. The record of the command is below OUT/runs.

    Example: ssd publish trained evaluation speed --name cells --set publish.min_ap=0.5 --out out
    """
    from ssd_core.stages import publish as stage

    recipe = _outputs_recipe(inputs, "publish", assignments)
    config = recipe.publish if recipe else PublishConfig()
    layout, label = Layout(out.uri), stage.Label(name=name, version=version)
    record = layout.run(f"{name}-{version}" if version else name, "publish")
    result = stage.run(config, inputs, record, layout=layout, label=label)
    finish(result, Location.parse(str(result.metadata["uri"])), as_json=as_json)


def _model_recipe(model_dir: Location, stage: str, assignments: list[str] | None) -> Recipe:
    """Return the recipe of a model with changes to the one section that the command uses."""
    from ssd_core.stages.detector import describe_model

    for assignment in assignments or ():
        section = assignment.partition(".")[0].strip()
        if section != stage and section in Recipe.model_fields:
            raise unlisted_name("section", section, [stage])
    return override(describe_model(model_dir).recipe, assignments or ())


def _outputs_recipe(
    outputs: Sequence[Location], stage: str, assignments: list[str] | None
) -> Recipe | None:
    """Return the changed recipe of the training among these outputs, None without a training."""
    from ssd_core.model_dir import CONFIG_FILE, MODEL_DIR

    for directory in outputs:
        if (directory / MODEL_DIR).head(CONFIG_FILE) is not None:
            return _model_recipe(directory, stage, assignments)
    return None
