"""Options that several commands share, so that each has one meaning, and their common end."""

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Annotated, Any, get_args

import typer

from ssd_core.config import DeviceName, FrameworkName, Recipe, ResumeRule, RuntimeName
from ssd_core.errors import UsageError, one_line, unknown_name
from ssd_core.logs import set_up_logging
from ssd_core.process.machine import show_devices
from ssd_core.recipes import load_recipe
from ssd_core.store import Location
from ssd_core.structures import StageResult

Assignments = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        metavar="section.key=value",
        help="Change one value of the recipe; repeatable. `ssd recipes NAME` prints all values.",
    ),
]


def refuse_repeated(
    context: typer.Context, keys: Mapping[str, str], assignments: Iterable[str]
) -> None:
    """Refuse a key that --set and its own option give, because one value would be lost.

    Args:
        context: of the running command; typer passes it to a parameter of its type.
        keys: the key that an option sets, by the name of its parameter.
        assignments: the values of --set.
    """
    assigned = {each.partition("=")[0].strip() for each in assignments}
    for name, key in keys.items():
        source = context.get_parameter_source(name)
        if key in assigned and source is not None and source.name == "COMMANDLINE":
            option = f"--{name.replace('_', '-')}"
            raise UsageError(f"{option} and --set {key} both set {key}; leave one of them out")


def join_changes(
    context: typer.Context,
    keys: Mapping[str, str],
    given: Mapping[str, object],
    assignments: Sequence[str] | None,
) -> list[str]:
    """Return the values of --set, then those of the `given` options that set one of the `keys`."""
    changes = list(assignments or ())
    refuse_repeated(context, keys, changes)
    return changes + [f"{keys[name]}={value}" for name, value in given.items() if value is not None]


def one_of(kind: str, names: tuple[str, ...], text: str) -> Any:
    """Return an option that takes one of these names, and suggests the closest one."""

    def check(name: str | None) -> str | None:
        if name is not None and name not in names:
            raise unknown_name(kind, name, names)
        return name

    return typer.Option(metavar="|".join(names), callback=check, help=text)


Framework = Annotated[str, one_of("framework", get_args(FrameworkName), "Framework that computes.")]
Runtime = Annotated[
    str | None,
    one_of(
        "framework",
        (*get_args(FrameworkName), *get_args(RuntimeName)),
        "Framework that computes a model, by default torch, or an exported .onnx file, by default "
        "onnxruntime.",
    ),
]
Resume = Annotated[
    str,
    one_of(
        "--resume rule",
        get_args(ResumeRule),
        "If --out holds another training: refuse, continue it nevertheless, or start again.",
    ),
]
Device = Annotated[
    str,
    one_of(
        "device",
        get_args(DeviceName),
        "Device; auto selects the fastest available. The code for npu has not run on hardware.",
    ),
]
NumDevices = Annotated[
    int | None,
    typer.Option(
        metavar="N", min=1, help="Number of devices of this machine to use; by default 1."
    ),
]


def _parse_devices(text: str) -> tuple[int, ...]:
    numbers = text.split(",")
    if not all(each.isascii() and each.isdigit() for each in numbers):
        raise typer.BadParameter(f"'{text}' is not a list of numbers such as 0,1")
    if len(set(map(int, numbers))) < len(numbers):
        raise typer.BadParameter(f"'{text}' names a device twice")
    return tuple(map(int, numbers))


Devices = Annotated[
    Any,
    typer.Option(
        metavar="0,1",
        parser=_parse_devices,
        help="Numbers of the GPUs or NPUs that share the work.",
    ),
]


def count_devices(device: str, num_devices: int | None, devices: tuple[int, ...] | None) -> int:
    """Return on how many devices of this machine a command computes, and hide the others."""
    if devices is None:
        return num_devices or 1
    if num_devices not in (None, len(devices)):
        raise UsageError(
            f"--num-devices {num_devices} contradicts the {len(devices)} numbers of --devices; "
            "leave --num-devices out"
        )
    show_devices(device, devices)
    return len(devices)


_data_option = typer.Option(
    "--data",
    metavar="DIR",
    parser=Location.parse,
    help="Output of `ssd convert`.",
)
Data = Annotated[Location, _data_option]
OptionalData = Annotated[Location | None, _data_option]
MODEL_HELP = "Output of `ssd train`, its `model` folder or one of its checkpoints."
_model_option = typer.Option(
    "--model",
    metavar="DIR",
    parser=Location.parse,
    help=f"{MODEL_HELP[:-1]}; or an ONNX file of `ssd export`.",
)
Model = Annotated[Location, _model_option]
OptionalModel = Annotated[Location | None, _model_option]
Step = Annotated[
    int | None,
    typer.Option(metavar="N", min=1, help="Take the checkpoint after step N of this training."),
]
_out_option = typer.Option(
    "--out",
    metavar="DIR",
    parser=Location.parse,
    help="Output directory. Every DIR may also be s3://bucket/prefix.",
)
Out = Annotated[Location, _out_option]
OptionalOut = Annotated[Location | None, _out_option]
RecipeName = Annotated[
    str | None, typer.Option(metavar="NAME", help="See `ssd recipes`; or use --config.")
]
ConfigFile = Annotated[
    str | None,
    typer.Option(metavar="FILE", help="Recipe as a JSON or YAML file: a path or s3://bucket/file."),
]


def choose_recipe(name: str | None, config: str | None) -> Recipe:
    """Return the recipe called `name` or that of a file; exactly one of them is given."""
    from ssd_core.stages.resolve_config import read_recipe

    if name is not None and config is not None:
        raise UsageError("--recipe and --config are both given; leave one of them out")
    if name is not None:
        return load_recipe(name)
    if config is not None:
        return read_recipe(config)
    raise UsageError("expected one of --recipe NAME (see 'ssd recipes') and --config FILE")


_has_document = False
"""Whether this command has printed its JSON document."""


def _keep_output_for_json(is_json: bool) -> bool:
    global _has_document
    _has_document = False
    if is_json:
        set_up_logging()
    return is_json


Json = Annotated[
    bool,
    typer.Option(
        "--json", callback=_keep_output_for_json, help="Print the result as one JSON document."
    ),
]


def finish(result: StageResult, output: Location, *, as_json: bool) -> None:
    """Print where the output of a command is, or everything about it as JSON."""
    if as_json:
        print_json({"metrics": result.metrics, **result.metadata, "output": output.uri})
    else:
        print(output)


def print_json(content: Any) -> None:
    """Print the JSON document of a command."""
    global _has_document
    _has_document = True
    print(json.dumps(content, indent=2))


def print_failure(message: object, exit_code: int) -> None:
    """Print a failure as the JSON document of a command, unless it has printed its result.

    Of several ranks the first one prints, unless the command that has started them will.
    """
    from ssd_core.backends.ranks import is_launched, read_rank_env

    if not _has_document and not is_launched() and read_rank_env().rank == 0:
        print_json({"error": one_line(str(message)), "exit_code": exit_code})
