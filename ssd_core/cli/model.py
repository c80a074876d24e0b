"""`ssd train`, `evaluate`, `benchmark`, `predict` and `report`: what is done with a detector."""

from pathlib import Path
from typing import Annotated

import typer

from ssd_core.cli.options import (
    Assignments,
    Data,
    Device,
    Framework,
    Model,
    OptionalData,
    Out,
)
from ssd_core.config import Recipe, ReportConfig
from ssd_core.errors import UsageError, unlisted_name
from ssd_core.recipes import load_recipe
from ssd_core.recipes.overrides import override
from ssd_core.store import Location, local_path


def train(
    data: Data,
    out: Out,
    recipe: Annotated[
        str | None, typer.Option(metavar="NAME", help="A recipe of `ssd recipes`.")
    ] = None,
    config: Annotated[
        str | None,
        typer.Option(
            metavar="FILE", help="Instead of --recipe: a JSON or YAML file; also s3://bucket/file."
        ),
    ] = None,
    assignments: Assignments = None,
    framework: Framework = "torch",
    device: Device = "auto",
    num_devices: Annotated[
        int, typer.Option(min=1, help="Devices of this machine; they share each batch.")
    ] = 1,
    nnodes: Annotated[int, typer.Option(min=1, help="Machines that train together.")] = 1,
    node_rank: Annotated[int, typer.Option(min=0, help="Number of this machine, from 0.")] = 0,
    master_addr: Annotated[str, typer.Option(help="Address of machine 0.")] = "127.0.0.1",
    master_port: Annotated[int, typer.Option(min=1, max=65535, help="Free port there.")] = 29500,
) -> None:
    """Train a detector; killed at any moment, the same command continues.

    With --out in a store, checkpoints and log are uploaded during the training, and another machine
    can continue. With several devices or machines one process per device is started, as `torchrun`
    does; run the same command on every machine, with its own --node-rank. The result does not
    depend on their number. `ssd recipes NAME` prints a file for --config.

    Example: ssd train --data shards --recipe demo --set train.steps=200 --out trained
    """
    from ssd_core.backends.ranks import Nodes
    from ssd_core.stages import train_devices
    from ssd_core.stages.resolve_config import read_recipe
    from ssd_core.stages.train import Training, run

    if (recipe is None) == (config is None):
        raise UsageError("name one recipe: --recipe NAME (see 'ssd recipes') or --config FILE")
    base = load_recipe(recipe) if recipe is not None else read_recipe(str(config))
    training = Training(
        recipe=override(base, assignments or ()),
        data_dir=Location.parse(data),
        framework=framework,
        device=device,
    )
    nodes = Nodes(num_devices, nnodes, node_rank, master_addr, master_port)
    if nodes.world_size > 1:
        raise typer.Exit(train_devices.launch(training, Location.parse(out), nodes))
    run(training, Location.parse(out))


def evaluate(
    model: Model,
    data: Data,
    out: Out,
    assignments: Assignments = None,
    framework: Framework = "torch",
    device: Device = "auto",
) -> None:
    """Measure accuracy: the 12 COCO numbers, per class, and all detections.

    Example: ssd evaluate --model trained --data shards --out evaluation
    """
    from ssd_core.stages import evaluate as stage

    model_dir = Location.parse(model)
    stage.run(
        _model_recipe(model_dir, "evaluate", assignments).evaluate,
        model_dir,
        Location.parse(data),
        Location.parse(out),
        framework=framework,
        device=device,
    )


def benchmark(
    model: Model,
    out: Out,
    data: OptionalData = None,
    series: Annotated[
        str | None,
        typer.Option(metavar="DIR", help="Earlier results to compare with and add to; also s3://"),
    ] = None,
    assignments: Assignments = None,
    framework: Framework = "torch",
    device: Device = "auto",
) -> None:
    """Measure speed: decode, preprocess, forward, postprocess and end to end.

    With --data the images of the evaluation split are the input, else generated ones. With --series
    the result is faster, same or slower than the median on the same device;
    `--set benchmark.fail_if_slower=true` makes slower a failure.

    Example: ssd benchmark --model trained --data shards --series nightly --out speed
    """
    from ssd_core.stages import benchmark as stage

    model_dir = Location.parse(model)
    config = _model_recipe(model_dir, "benchmark", assignments).benchmark
    result = stage.run(
        config,
        model_dir,
        Location.parse(out),
        data_dir=_optional(data),
        series=_optional(series),
        framework=framework,
        device=device,
    )
    stage.check_verdict(config, result)


def predict(
    model: Model,
    images: Annotated[
        list[Path],
        typer.Argument(metavar="IMAGE_OR_FOLDER ...", help="Pictures, and folders of them."),
    ],
    out: Out,
    score: Annotated[float, typer.Option(min=0, max=1, help="Lowest score of a detection.")] = 0.5,
    framework: Framework = "torch",
    device: Device = "auto",
) -> None:
    """Find objects in pictures: a JSON line each, and a copy with the boxes drawn.

    Example: ssd predict --model trained photo.jpg more_photos --out found
    """
    from ssd_core.stages import predict as stage

    model_dir = Location.parse(model)
    threshold = [f"evaluate.postprocess.score_threshold={score}"]
    config = _model_recipe(model_dir, "evaluate", threshold).evaluate.postprocess
    stage.run(config, model_dir, images, Location.parse(out), framework=framework, device=device)


def report(
    inputs: Annotated[
        list[Path],
        typer.Argument(
            metavar="DIR ...",
            help="Outputs of `ssd train`, `evaluate`, `benchmark`.",
            parser=local_path,
        ),
    ],
    out: Out,
    data: OptionalData = None,
    title: Annotated[str | None, typer.Option(help="Headline of the page.")] = None,
) -> None:
    """Join results into one HTML page that needs no network and no script.

    Example: ssd report trained evaluation speed --out report
    """
    from ssd_core.stages import report as stage

    stage.run(ReportConfig(title=title), inputs, Location.parse(out), data_dir=_optional(data))


def _optional(uri: str | None) -> Location | None:
    return None if uri is None else Location.parse(uri)


def _model_recipe(model_dir: Location, stage: str, assignments: list[str] | None) -> Recipe:
    """Return the recipe of a model with changes of the one section that the command reads."""
    from ssd_core.model_dir import read_description

    for assignment in assignments or ():
        section = assignment.partition(".")[0].strip()
        if section != stage and section in Recipe.model_fields:
            raise unlisted_name("section", section, [stage])
    return override(read_description(model_dir).recipe, assignments or ())
