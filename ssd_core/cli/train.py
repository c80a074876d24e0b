"""The command that trains a detector: `ssd train`."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ssd_core.cli.options import (
    Assignments,
    ConfigFile,
    Data,
    Device,
    Devices,
    Framework,
    Json,
    NumDevices,
    Out,
    RecipeName,
    Resume,
    choose_recipe,
    count_devices,
    finish,
    join_changes,
    one_of,
)
from ssd_core.config import Recipe
from ssd_core.errors import UsageError
from ssd_core.process.machine import use_address
from ssd_core.process.signals import exit_on_sigterm
from ssd_core.recipes.overrides import override
from ssd_core.store import Location
from ssd_core.store.location import is_empty

if TYPE_CHECKING:  # frameworks are imported after the arguments are checked
    from ssd_core.backends.ranks import Nodes
    from ssd_core.stages.train import Training

BatchSize = Annotated[
    str | None,
    typer.Option(
        metavar="N|auto",
        help="Sets train.batch_size; auto finds the largest that fits on the GPUs or NPUs.",
    ),
]
LearningRate = Annotated[
    float | None, typer.Option(metavar="RATE", help="Sets train.optimizer.learning_rate.")
]
ScaleRate = Annotated[
    bool,
    typer.Option("--scale-lr", help="Scale the learning rate with the batch size."),
]
Init = Annotated[
    Location | None,
    typer.Option(
        metavar="PATH",
        parser=Location.parse,
        help="Sets train.init.source: a model, a checkpoint or a .safetensors file to start from.",
    ),
]
Runs = Annotated[
    str,
    one_of(
        "--runs kind",
        ("full", "perf"),
        "perf measures the speed of 200 steps, or of train.steps, and keeps no model.",
    ),
]


def _hours(text: str, *, least: float) -> Any:
    return typer.Option(metavar="HOURS", min=least, help=text)


Budget = Annotated[
    float | None,
    _hours(
        "Before the first step run `ssd plan`, and refuse a training that takes longer.", least=0
    ),
]
Planned = Annotated[
    float | None,
    _hours("Result of `ssd plan`, to compare with at the end. --budget sets it.", least=0.0001),
]
Log = Annotated[
    str | None,
    typer.Option(
        metavar="tensorboard,mlflow",
        help="Sets train.log: programs that also receive the training curves.",
    ),
]
Epochs = Annotated[float | None, typer.Option(metavar="N", help="Sets train.epochs.")]
Extend = Annotated[
    bool, typer.Option("--extend", help="Continue a shorter training with more epochs or steps.")
]
NumNodes = Annotated[
    int, typer.Option(metavar="N", min=1, help="Number of machines that train together.")
]
NodeRank = Annotated[int, typer.Option(metavar="N", min=0, help="Index of this machine, from 0.")]
MasterAddr = Annotated[str, typer.Option(metavar="HOST", help="Address of machine 0.")]
MasterPort = Annotated[
    int, typer.Option(metavar="PORT", min=1, max=65535, help="Free port of machine 0.")
]
LocalAddr = Annotated[
    str | None,
    typer.Option(metavar="HOST", help="Address of this machine through which its ranks talk."),
]
_AUTO = "auto"
_KEYS = {
    "epochs": "train.epochs",
    "batch_size": "train.batch_size",
    "lr": "train.optimizer.learning_rate",
    "init": "train.init.source",
    "log": "train.log",
    "scale_lr": "train.optimizer.rate_batch_size",
}
"""The configuration key that each of these options of `train` sets."""


def train(
    context: typer.Context,
    data: Data,
    out: Out,
    recipe: RecipeName = None,
    config: ConfigFile = None,
    epochs: Epochs = None,
    batch_size: BatchSize = None,
    lr: LearningRate = None,
    scale_lr: ScaleRate = False,
    init: Init = None,
    log: Log = None,
    runs: Runs = "full",
    budget: Budget = None,
    planned: Planned = None,
    assignments: Assignments = None,
    resume: Resume = "strict",
    is_extended: Extend = False,
    framework: Framework = "torch",
    device: Device = "auto",
    num_devices: NumDevices = None,
    devices: Devices = None,
    nnodes: NumNodes = 1,
    node_rank: NodeRank = 0,
    master_addr: MasterAddr = "127.0.0.1",
    master_port: MasterPort = 29500,
    local_addr: LocalAddr = None,
    as_json: Json = False,
) -> None:
    """Train a detector; a killed run continues when the command is repeated.

    If --out is in a store, checkpoints and log are uploaded during training and another machine can
    continue. Several devices or machines run one process per device; start the same command on
    every machine with its own --node-rank. All numbers of devices learn from the same samples.
    `ssd recipes NAME` prints a file for --config.

    Example: ssd train --data shards --recipe demo --epochs 10 --out trained
    """
    exit_on_sigterm()
    from ssd_core.backends.ranks import Nodes
    from ssd_core.stages.plan import take_largest_batch
    from ssd_core.stages.train import Training

    base = choose_recipe(recipe, config)
    trackers = None if log is None else json.dumps(log.split(","))
    given = {"epochs": epochs, "lr": lr, "init": init, "log": trackers}
    given["batch_size"] = None if batch_size == _AUTO else batch_size
    given["scale_lr"] = base.train.batch_size if scale_lr else None
    training = Training(
        recipe=_set(context, base, given, assignments or ()),
        data_dir=data,
        framework=framework,
        device=device,
        resume=_resume_rule(resume, is_extended=is_extended),
        planned_hours=planned,
    )
    if local_addr is not None:
        use_address(local_addr)
    here = count_devices(device, num_devices, devices)
    nodes = Nodes(here, nnodes, node_rank, master_addr, master_port)
    if batch_size == _AUTO:
        training = take_largest_batch(training, out, nodes)
    _run(training, out, nodes, runs=runs, budget=budget, as_json=as_json)


def _resume_rule(rule: str, *, is_extended: bool) -> str:
    if not is_extended:
        return rule
    if rule != "strict":
        raise UsageError(f"--extend and --resume {rule} exclude each other; leave one of them out")
    return "extend"


def _set(
    context: typer.Context, recipe: Recipe, given: Mapping[str, object], assignments: Sequence[str]
) -> Recipe:
    """Return a recipe with the values of --set and of the options that set a key."""
    return override(recipe, join_changes(context, _KEYS, given, assignments))


def _run(
    training: "Training",
    out: Location,
    nodes: "Nodes",
    *,
    runs: str,
    budget: float | None,
    as_json: bool,
) -> None:
    """Train within the budget, or measure the speed of training, on the devices of `nodes`."""
    from ssd_core.backends.ranks import read_rank_env
    from ssd_core.model_dir import MODEL_DIR
    from ssd_core.stages import perf
    from ssd_core.stages.frame import RESULTS_FILE
    from ssd_core.stages.plan import check_budget, make_plan
    from ssd_core.stages.train import launch, run

    if runs == "perf":
        finish(perf.run(training, out, nodes), out / RESULTS_FILE, as_json=as_json)
        return
    if budget is not None and is_empty(out):
        found = make_plan(training, nodes)
        check_budget(training, found, budget)
        training = replace(training, planned_hours=found.hours)
    if nodes.world_size > 1:
        raise typer.Exit(launch(training, out, nodes, *(["--json"] if as_json else [])))
    result = run(training, out)
    if read_rank_env().rank == 0:
        finish(result, out / MODEL_DIR, as_json=as_json)
