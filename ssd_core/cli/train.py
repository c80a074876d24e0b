"""The command that trains a detector: `ssd train`."""

import json
from dataclasses import replace
from typing import Annotated

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
    one_of,
    refuse_repeated,
)
from ssd_core.errors import UsageError
from ssd_core.process.machine import use_address
from ssd_core.process.signals import exit_on_sigterm
from ssd_core.recipes.overrides import override
from ssd_core.store import Location
from ssd_core.store.location import is_empty

BatchSize = Annotated[int | None, typer.Option(metavar="N", help="Sets train.batch_size.")]
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
Budget = Annotated[
    float | None,
    typer.Option(
        metavar="HOURS",
        min=0,
        help="Before the first step run `ssd plan`, and refuse a training that takes longer.",
    ),
]
Planned = Annotated[
    float | None,
    typer.Option(
        metavar="HOURS",
        min=0.0001,
        help="What `ssd plan` printed; the end of the training compares. --budget sets it.",
    ),
]
Log = Annotated[
    str | None,
    typer.Option(
        metavar="tensorboard,mlflow",
        help="Sets train.log: programs that also receive the training curves.",
    ),
]
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
    epochs: Annotated[float | None, typer.Option(metavar="N", help="Sets train.epochs.")] = None,
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
    is_extended: Annotated[
        bool,
        typer.Option("--extend", help="Continue a shorter training with more epochs or steps."),
    ] = False,
    framework: Framework = "torch",
    device: Device = "auto",
    num_devices: NumDevices = None,
    devices: Devices = None,
    nnodes: Annotated[
        int, typer.Option(metavar="N", min=1, help="Number of machines that train together.")
    ] = 1,
    node_rank: Annotated[
        int, typer.Option(metavar="N", min=0, help="Index of this machine, from 0.")
    ] = 0,
    master_addr: Annotated[
        str, typer.Option(metavar="HOST", help="Address of machine 0.")
    ] = "127.0.0.1",
    master_port: Annotated[
        int, typer.Option(metavar="PORT", min=1, max=65535, help="Free port of machine 0.")
    ] = 29500,
    local_addr: Annotated[
        str | None,
        typer.Option(metavar="HOST", help="Address of this machine through which its ranks talk."),
    ] = None,
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
    from ssd_core.backends.ranks import Nodes, read_rank_env
    from ssd_core.model_dir import MODEL_DIR
    from ssd_core.stages import perf
    from ssd_core.stages.frame import RESULTS_FILE
    from ssd_core.stages.plan import check_budget, make_plan
    from ssd_core.stages.train import Training, launch, run

    base = choose_recipe(recipe, config)
    trackers = None if log is None else json.dumps(log.split(","))
    given = {"epochs": epochs, "batch_size": batch_size, "lr": lr, "init": init, "log": trackers}
    given["scale_lr"] = base.train.batch_size if scale_lr else None
    refuse_repeated(context, _KEYS, assignments or ())
    if is_extended and resume != "strict":
        raise UsageError(
            f"--extend and --resume {resume} exclude each other; leave one of them out"
        )
    changes = [f"{_KEYS[name]}={value}" for name, value in given.items() if value is not None]
    training = Training(
        recipe=override(base, [*(assignments or ()), *changes]),
        data_dir=data,
        framework=framework,
        device=device,
        resume="extend" if is_extended else resume,
        planned_hours=planned,
    )
    if local_addr is not None:
        use_address(local_addr)
    here = count_devices(device, num_devices, devices)
    nodes = Nodes(here, nnodes, node_rank, master_addr, master_port)
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
