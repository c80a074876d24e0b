"""`ssd train`, `evaluate`, `benchmark`, `predict` and `report`: what is done with a detector."""

from pathlib import Path
from typing import Annotated, Any

import typer

from ssd_core.cli.options import (
    Assignments,
    Data,
    Device,
    Framework,
    Model,
    OptionalData,
    Out,
    OutAnywhere,
)
from ssd_core.config import Recipe, Section, TrainConfig, parse_section
from ssd_core.logs import logger
from ssd_core.recipes import RECIPES, load_recipe
from ssd_core.recipes.overrides import assign
from ssd_core.store import Location, local_path


def train(
    data: Data,
    recipe: Annotated[str, typer.Option(metavar="NAME", help="See `ssd recipes`.")],
    out: OutAnywhere,
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

    Into a store, checkpoints and log go while it trains: another machine can continue. With several
    devices or machines a process each is started, as `torchrun` does; on every machine the same
    command, but for --node-rank. The result does not depend on their number.

    Example: ssd train --data shards --recipe demo --set train.steps=200 --out trained
    """
    from ssd_core.backends import launch_ranks
    from ssd_core.backends.ranks import Nodes
    from ssd_core.data.batches.loader import check_batch_size
    from ssd_core.stages import train as stage

    config = _section(load_recipe(recipe).train, "train", assignments)
    nodes = Nodes(num_devices, nnodes, node_rank, master_addr, master_port)
    if nodes.world_size > 1:
        words = ["train", "--data", data, "--recipe", recipe, "--out", out]
        words += ["--framework", framework, "--device", device]
        words += [word for each in assignments or () for word in ("--set", each)]
        check_batch_size(parse_section(TrainConfig, config, "train").batch_size, nodes.world_size)
        raise typer.Exit(launch_ranks(framework, words, nodes))
    stage.run(
        config,
        Location.parse(data),
        Location.parse(out),
        recipe=recipe,
        framework=framework,
        device=device,
    )


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

    place, data_dir = Location.parse(model), Location.parse(data)
    config = _recipe_section(place, "evaluate", assignments)
    stage.run(config, place, data_dir, out, framework=framework, device=device)


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

    With --data the photographs of the evaluation split are used, else generated ones. With --series
    the result is faster, same or slower than the median on the same device;
    `--set benchmark.fail_if_slower=true` makes slower a failure.

    Example: ssd benchmark --model trained --data shards --series nightly --out speed
    """
    from ssd_core.stages import benchmark as stage

    place = Location.parse(model)
    config = _recipe_section(place, "benchmark", assignments)
    photos, on_device = _optional(data), {"framework": framework, "device": device}
    result = stage.run(config, place, out, data_dir=photos, **on_device)
    if series is not None:
        result = stage.compare(config, result, out, Location.parse(series))
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

    place, change = Location.parse(model), f"evaluate.postprocess.score_threshold={score}"
    config = _recipe_section(place, "evaluate", [change])
    stage.run(config["postprocess"], place, images, out, framework=framework, device=device)


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

    stage.run({"title": title}, inputs, out, data_dir=_optional(data))


def _optional(data: str | None) -> Location | None:
    return None if data is None else Location.parse(data)


def _recipe_section(model: Location, name: str, assignments: list[str] | None) -> dict[str, Any]:
    """Return the section `name` of the recipe that the model was trained with, if it still exists.

    A model outlives its recipe: then the defaults take its place.
    """
    from ssd_core.model_dir import read_description

    recipe = read_description(model).recipe
    if recipe in RECIPES:
        return _section(getattr(load_recipe(recipe), name), name, assignments)
    logger.info("recipe '%s' of the model is not known here: %s takes the defaults", recipe, name)
    return _section(Recipe.model_fields[name].default, name, assignments)


def _section(config: Section, name: str, assignments: list[str] | None) -> dict[str, Any]:
    """Return plain values with the changes; one of another section is refused, nobody reads it."""
    return assign(name, config.model_dump(mode="json"), assignments or ())
