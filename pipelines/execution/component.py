"""One component as a step, its inputs from options and from the record of an earlier step."""

import importlib
import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import components
from pipelines.catalogue import STEPS
from pipelines.execution.docker import PLACE_PARAMETERS
from pipelines.execution.spec import Task, Values, artifact_list, build_executor_input, read_tasks
from pipelines.execution.steps import Step
from ssd_core.data.shards.manifest import read_manifest
from ssd_core.errors import DataError, UsageError, unknown_name
from ssd_core.model_dir import read_description
from ssd_core.stages.frame import INVOCATION_FILE
from ssd_core.stages.outputs import read_invocation, read_output
from ssd_core.store import Location
from ssd_core.store.layout import Layout

_JSON_TYPES: Mapping[str, tuple[str, tuple[type, ...]]] = {
    "NUMBER_INTEGER": ("an integer", (int,)),
    "NUMBER_DOUBLE": ("a number", (int, float)),
    "BOOLEAN": ("true or false", (bool,)),
    "LIST": ("a JSON list", (list,)),
    "STRUCT": ("a JSON object", (dict,)),
}
_DATASET, _MODEL = "system.Dataset", "system.Model"
_OPTIONS = {"parameter": "--param {}=...", "input": "--input {}=PATH"}


def component_names() -> list[str]:
    """Return the names of all components."""
    folder = Path(components.__path__[0])
    return sorted(path.parent.name for path in folder.glob("*/component.py"))


def load_component(name: str) -> Task:
    """Return a component as a task.

    Raises:
        UsageError: the name is unknown.
    """
    if name not in component_names():
        raise unknown_name("component", name, component_names())
    component = getattr(importlib.import_module(f"components.{name}.component"), name)
    (task,) = read_tasks(component)
    return task


def find_record(name: str, text: str, root: str) -> Location:
    """Return the directory with the record of a step.

    Args:
        name: of the component.
        text: that directory, the one of its run, or the id of the run.
        root: root of the run, where only its id is given.

    Raises:
        UsageError: the record does not exist.
    """
    location = Location.parse(text)
    stage = STEPS[name].stage or name
    locations = [location, location / stage]
    if is_id := not ("/" in text or text.startswith(".")):
        locations.append(Layout(root).run(text, stage))
    for location in locations:
        if location.head(INVOCATION_FILE) is not None:
            return location
    below = f", nor of a run of this name below {root}" if is_id else ""
    raise UsageError(f"{text}: no {INVOCATION_FILE} of '{name}' here{below}")


def prepare_component(
    name: str,
    image: str,
    out_dir: Path,
    *,
    inputs: Mapping[str, str],
    parameters: Mapping[str, str],
    record: Location | None = None,
) -> Step:
    """Return a component as a step, everything checked that needs no docker.

    Args:
        name: of the component.
        image: image it runs in.
        out_dir: where its outputs go; data for other steps goes below unless a root is given.
        inputs: paths or URIs of artifacts by name.
        parameters: values by name, as text.
        record: of an earlier step, for the inputs and parameters that are not given.

    Raises:
        UsageError: an unknown name, a value of the wrong type, an artifact that does not exist or
            is of another kind, or a missing input.
        DataError: the record is damaged.
    """
    task = load_component(name)
    out_dir = out_dir.absolute()
    known = {"data_root": str(out_dir / "root"), "run": "local", "num_devices": 1, "series": ""}
    recorded, uris = _read_record(task, record) if record else ({}, {})
    definitions = task.component.get("inputDefinitions", {})
    kinds, types = definitions.get("parameters", {}), definitions.get("artifacts", {})
    values = _choose(name, "parameter", kinds, known | recorded, parameters)
    for key in parameters:
        values[key] = read_parameter(key, kinds[key]["parameterType"], parameters[key])
    for key in PLACE_PARAMETERS & values.keys():
        values[key] = _read_place(key, values[key])
    artifacts = {
        key: _read_artifact(key, types[key]["artifactType"], uri)
        for key, uri in _choose(name, "input", types, uris, inputs).items()
    }
    given = Values(parameters=values, artifacts=artifacts)
    executor_input = build_executor_input(task, given, {}, run="", out_dir=out_dir)
    return Step(replace(task, image=image), executor_input, out_dir)


def _read_record(task: Task, location: Location) -> tuple[dict[str, Any], dict[str, str]]:
    """Return the parameters and the URIs of the inputs of the step that wrote this record."""
    invocation = read_invocation(location)
    if (stage := invocation.get("stage")) != (STEPS[task.name].stage or task.name):
        raise UsageError(f"{location} is the output of '{stage}', not of '{task.name}'")
    uris = {
        STEPS[key].artifact if key in STEPS else key: entry["uri"]
        for key, entry in invocation["inputs"].items()
    }
    config = {key: value for key, value in invocation["config"].items() if value is not None}
    recipe = config if stage == "train" else {stage: config}
    options = {key: "" if value is None else value for key, value in invocation["options"].items()}
    return {"recipe": recipe, **uris, **options}, uris


def _choose(
    component: str,
    noun: str,
    kinds: Mapping[str, Any],
    known: Mapping[str, Any],
    given: Mapping[str, str],
) -> dict[str, Any]:
    """Return the value of each input; given values take precedence over known ones."""
    for name in given:
        if name not in kinds:
            raise unknown_name(f"{noun} of {component}", name, kinds)
    values = {name: value for name, value in {**known, **given}.items() if name in kinds}
    required = {name for name, kind in kinds.items() if not kind.get("isOptional")}
    if missing := sorted(required - set(values)):
        raise UsageError(f"{component} needs {' '.join(map(_OPTIONS[noun].format, missing))}")
    return values


def read_parameter(name: str, kind: str, text: str) -> Any:
    """Return the value of a parameter; `@FILE` is replaced by the content of the file.

    Args:
        name: of the parameter, for the message.
        kind: its type in the pipeline specification.
        text: JSON, or a plain string where the type is STRING.

    Raises:
        UsageError: the file cannot be read, or the value is of another type.
    """
    if text.startswith("@"):
        try:
            text = Path(text[1:]).read_text()
        except (OSError, UnicodeDecodeError) as error:
            raise UsageError(f"--param {name}: cannot read {text[1:]}: {error}") from None
    if kind not in _JSON_TYPES:
        return text
    expected, types = _JSON_TYPES[kind]
    try:
        value = json.loads(text)
    except ValueError:
        value = None
    if not isinstance(value, types) or (isinstance(value, bool) and bool not in types):
        raise UsageError(f"--param {name} must be {expected}, got '{text.strip()}'")
    return value


def _read_place(name: str, text: str) -> str:
    location = Location.parse(text)
    if name != "data_root" and location.local is not None and not location.local.exists():
        raise UsageError(f"--param {name}: {text} does not exist")
    return location.uri


def _read_artifact(name: str, kind: Mapping[str, str], text: str) -> dict[str, Any]:
    location = Location.parse(text)
    if location.local is not None and not location.local.exists():
        raise UsageError(f"--input {name}: {text} does not exist")
    try:
        uri = _open_artifact(name, kind["schemaTitle"], location).uri
    except (DataError, UsageError) as error:
        raise UsageError(f"--input {name}: {error}") from None
    return artifact_list(name, kind, uri, {"uri": uri})


def _open_artifact(name: str, title: str, location: Location) -> Location:
    """Return the directory of the data itself, verified to be of this kind."""
    if title == _DATASET:
        location = _find_dataset(location)
        read_manifest(location)
    elif title == _MODEL:
        read_description(location)
    else:
        stage = read_output(location).invocation["stage"]
        (expected,) = (step for step, entry in STEPS.items() if entry.artifact == name)
        if stage != expected:
            raise UsageError(f"expected the output of '{expected}', got '{stage}'")
    return location


def _find_dataset(location: Location) -> Location:
    """Return a data set itself where the location is the file that `convert` refers to it by."""
    if location.local is None or not location.local.is_file():
        return location
    try:
        return Location.parse(json.loads(location.local.read_bytes())["uri"])
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        raise UsageError(f"{location}: not a data set; expected the output of 'convert'") from None
