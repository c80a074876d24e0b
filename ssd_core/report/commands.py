"""Commands for a reader of the report: to use the model, and to measure it again."""

import json
import shlex
from collections.abc import Iterator, Mapping
from typing import Any

from ssd_core.backends.exported import is_exported
from ssd_core.metrics import METRICS
from ssd_core.process.machine import DEVICE_OPTIONS
from ssd_core.recipes import RECIPES, load_recipe
from ssd_core.store import Location

_OPTIONS = {"dataset": "--data", "model": "--model"}
_CREDENTIALS = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_ENDPOINT_URL")
_OUTPUTS = {"train": "trained", "evaluate": "evaluation", "benchmark": "speed"}


def next_steps(
    model: str, results: Mapping[str, Mapping[str, Any]], invocations: Mapping[str, Any]
) -> list[tuple[str, str]]:
    """Return titles and commands for the model at a path or URI.

    An exported file is complete: it needs no container and is not exported again.
    """
    measured = results.get("evaluate", {}).get("metrics", {}).get("f1_threshold")
    shown = METRICS["f1_threshold"].format(max(measured or 0, 1e-3))
    score = [] if measured is None else ["--score", shown]
    invocation = next(iter(invocations.values()))
    framework = _framework(invocation["options"])
    predict = ["ssd", "predict", "--model", model, "photos", *score, "--out", "found", *framework]
    export = ["ssd", "export", model, "--format", "onnx", "--images", "photos", *framework]
    named = f', framework="{framework[1]}"' if framework else ""
    python = (
        "from ssd_core import load_detector",
        f"detector = load_detector({json.dumps(model)}{named})",
        'found = detector("photo.jpg")  # found.boxes, found.scores, found.names',
    )
    steps = [
        ("Detect objects in a folder of images", shlex.join(predict)),
        ("In Python", "\n".join(python)),
    ]
    if is_exported(Location.parse(model)):
        return steps
    devices = [
        each["environment"].get("device") for each in results.values() if "environment" in each
    ]
    container = _docker(model, invocation, next(filter(None, devices), "cpu"))
    return [
        *steps,
        ("In a container", f"{container} \\\n    {shlex.join(predict)}"),
        ("For other programs", shlex.join([*export, "--out", "exported"])),
    ]


def repeat_commands(invocations: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """Return a command per stage that measures the same again."""
    return [
        _repeat(stage, invocation) for stage, invocation in invocations.items() if stage in _OUTPUTS
    ]


def flatten(values: Mapping[str, Any], prefix: str = "") -> list[tuple[str, str]]:
    """Return the leaves of nested mappings as dotted names and texts."""
    rows = []
    for name, value in values.items():
        if isinstance(value, Mapping):
            rows += flatten(value, f"{prefix}{name}.")
        else:
            rows.append((prefix + name, _format(value)))
    return rows


def _format(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, sort_keys=True)


def _repeat(stage: str, invocation: Mapping[str, Any]) -> str:
    inputs, config, options = (invocation[name] for name in ("inputs", "config", "options"))
    words = ["ssd", stage]
    for name, option in _OPTIONS.items():
        if name in inputs:
            words += [option, inputs[name]["uri"]]
    first = ""
    if stage != "train":
        # The recipe of the model has values of its own, so every value is stated.
        words += _assign({stage: config}, {stage: {}})
    elif (name := config["name"]) in RECIPES:
        words += ["--recipe", name, *_assign(config, load_recipe(name).model_dump(mode="json"))]
    else:
        first = "jq .train.invocation.config report.json > recipe.json\n"
        words += ["--config", "recipe.json"]
    words += ["--out", _OUTPUTS[stage], *_framework(options)]
    if (device := options.get("device", "auto")) != "auto":
        words += ["--device", device]
    return first + shlex.join(words)


def _assign(values: Mapping[str, Any], usual: Mapping[str, Any], prefix: str = "") -> Iterator[str]:
    """Yield the options that turn `usual` into `values`, key by key below the sections.

    A part that lacks keys of the usual one, for example of another kind, is replaced as a whole.
    """
    for name, value in values.items():
        other = usual.get(name)
        if (
            isinstance(value, Mapping)
            and isinstance(other, Mapping)
            and (not prefix or other.keys() <= value.keys())
        ):
            yield from _assign(value, other, f"{prefix}{name}.")
        elif prefix and (name not in usual or value != other):
            yield from ("--set", f"{prefix}{name}={_format(value)}")


def _framework(options: Mapping[str, Any]) -> list[str]:
    framework = options.get("framework", "torch")
    return [] if framework == "torch" else ["--framework", framework]


def _docker(model: str, invocation: Mapping[str, Any], device: str) -> str:
    """Return the line that runs a command in the image of a stage, with this folder and the model.

    Credentials of a store are passed by name, so that no line holds a value.
    """
    framework = invocation["options"].get("framework", "torch")
    image = invocation["image"] or f"ssd-on-kubeflow/{framework}-{device}:{invocation['version']}"
    run = ["docker", "run", "--rm", *DEVICE_OPTIONS.get(device, ())]
    access = ["--volume", f"{model}:{model}:ro"]
    if not model.startswith("/"):
        access = [word for name in _CREDENTIALS for word in ("--env", name)]
    lines = (
        f'{shlex.join(run)} --user "$(id -u):$(id -g)"',
        shlex.join(access),
        '--volume "$PWD:/work" --workdir /work',
        shlex.quote(image),
    )
    return " \\\n    ".join(lines)
