"""Commands for a reader of the report: to use the model, and to measure it again."""

import json
import shlex
from collections.abc import Iterator, Mapping
from typing import Any

from ssd_core.config import BenchmarkConfig, EvaluateConfig, Section
from ssd_core.recipes import RECIPES, load_recipe

_DEFAULTS: Mapping[str, type[Section]] = {"evaluate": EvaluateConfig, "benchmark": BenchmarkConfig}
_OPTIONS = {"dataset": "--data", "model": "--model"}
_CREDENTIALS = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_ENDPOINT_URL")
_OUTPUTS = {"train": "trained", "evaluate": "evaluation", "benchmark": "speed"}


def next_steps(
    model: str, results: Mapping[str, Mapping[str, Any]], invocations: Mapping[str, Any]
) -> list[tuple[str, str]]:
    """Return titles and commands for the model at a path or URI."""
    measured = results.get("evaluate", {}).get("metrics", {}).get("f1_threshold")
    score = [] if measured is None else ["--score", f"{max(measured - 5e-4, 1e-3):.3f}"]
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
    return [
        ("Detect objects in a folder of images", shlex.join(predict)),
        ("In Python", "\n".join(python)),
        ("In a container", f"{_docker(model, invocation)} \\\n    {shlex.join(predict)}"),
        ("For other programs", shlex.join([*export, "--out", "exported"])),
    ]


def repeat_commands(invocations: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """Return a command per stage that measures the same again."""
    return [
        shlex.join(_repeat(stage, invocation))
        for stage, invocation in invocations.items()
        if stage in _OUTPUTS
    ]


def flatten(values: Mapping[str, Any], prefix: str = "") -> list[tuple[str, str]]:
    """Return the leaves of nested mappings as dotted names and texts."""
    rows = []
    for name, value in values.items():
        if isinstance(value, Mapping):
            rows += flatten(value, f"{prefix}{name}.")
        else:
            rows.append(
                (
                    prefix + name,
                    value if isinstance(value, str) else json.dumps(value, sort_keys=True),
                )
            )
    return rows


def _repeat(stage: str, invocation: Mapping[str, Any]) -> list[str]:
    inputs = invocation["inputs"]
    words = ["ssd", stage]
    for name, option in _OPTIONS.items():
        if name in inputs:
            words += [option, inputs[name]["uri"]]
    words += [*_settings(stage, invocation["config"]), "--out", _OUTPUTS[stage]]
    return [*words, *_framework(invocation["options"])]


def _settings(stage: str, config: Mapping[str, Any]) -> Iterator[str]:
    """Yield the options that turn the defaults, or the named recipe, into this configuration."""
    if stage == "train":
        if config["name"] not in RECIPES:
            yield from ("--config", "recipe.json")
            return
        yield from ("--recipe", config["name"])
        defaults: Section = load_recipe(config["name"]).train
        config = config["train"]
    else:
        defaults = _DEFAULTS[stage]()
    usual = dict(flatten(defaults.model_dump(mode="json")))
    for name, value in flatten(config):
        if usual.get(name) != value:
            yield from ("--set", f"{stage}.{name}={value}")


def _framework(options: Mapping[str, Any]) -> list[str]:
    framework = options.get("framework", "torch")
    return [] if framework == "torch" else ["--framework", framework]


def _docker(model: str, invocation: Mapping[str, Any]) -> str:
    """Return the line that runs a command in the image of a stage, with this folder and the model.

    Credentials of a store are passed by name, so that no line holds a value.
    """
    framework = invocation["options"].get("framework", "torch")
    device = "cuda" if invocation["options"].get("device") == "cuda" else "cpu"
    image = invocation["image"] or f"ssd-on-kubeflow/{framework}-{device}:{invocation['version']}"
    access = ["--volume", f"{model}:{model}:ro"]
    if not model.startswith("/"):
        access = [word for name in _CREDENTIALS for word in ("--env", name)]
    lines = (
        f'docker run --rm{" --gpus all" if device == "cuda" else ""} --user "$(id -u):$(id -g)"',
        shlex.join(access),
        '--volume "$PWD:/work" --workdir /work',
        shlex.quote(image),
    )
    return " \\\n    ".join(lines)
