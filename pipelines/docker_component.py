"""A component and a user's words about it, made into a step that docker can run."""

import importlib
import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import components
from pipelines.docker import OUTPUT_FILE, Step
from ssd_core.data.shards.manifest import read_manifest
from ssd_core.errors import DataError, UsageError, unknown_name
from ssd_core.model_dir import read_description
from ssd_core.stages.doorway import find_dataset
from ssd_core.stages.invocation import INVOCATION_FILE, read_output
from ssd_core.store import Location, location_uri, read_location

PLACE_PARAMETERS = frozenset({"data_root", "source", "uri"})
"""Parameters that name a path or a URI; only below the first a component writes."""

_ARTIFACT = "system."
_STAGE_OF_INPUT = {"evaluation": "evaluate", "speed": "benchmark"}
_INPUT_OF_RECORD = {
    "data_dir": "dataset",
    "model_dir": "model",
    "train": "model",
    "evaluate": "evaluation",
    "benchmark": "speed",
}
"""What a stage calls its inputs in its record, and what the component calls them."""
_JSON_TYPES: Mapping[str, tuple[type, ...]] = {
    "Integer": (int,),
    "Double": (int, float),
    "Boolean": (bool,),
    "List": (list,),
    "Dict": (dict,),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Words:
    """What a user says about one component."""

    inputs: Mapping[str, str] = field(default_factory=dict)
    """Artifacts, name to path."""
    parameters: Mapping[str, str] = field(default_factory=dict)
    """Name to text."""
    record: Path | None = None
    """Directory with the record of an earlier step, which fills in what is not said."""


def component_names() -> list[str]:
    """Return the names of all components."""
    folder = Path(components.__path__[0])
    return sorted(path.parent.name for path in folder.glob("*/component.py"))


def find_record(name: str, place: Path) -> Path:
    """Return the directory with the record of step `name`: `place`, or its folder in a run.

    Raises:
        UsageError: there is no record.
    """
    for directory in (place, place / name):
        if (directory / INVOCATION_FILE).is_file():
            return directory
    raise UsageError(f"{place}: no {INVOCATION_FILE} of '{name}' here, nor in {place / name}")


def prepare_step(
    name: str, image: str, words: Words, out_dir: Path, *, options: Sequence[str] = ()
) -> Step:
    """Return the step, everything checked that can be checked without docker.

    Args:
        name: of the component.
        image: in which it runs.
        words: its inputs and parameters.
        out_dir: where its outputs go.
        options: more options of `docker run`.

    Raises:
        UsageError: an unknown name, a value of the wrong type, an artifact that is not there or of
            another kind, or something that is missing.
        DataError: an artifact is damaged.
    """
    if name not in component_names():
        raise unknown_name("component", name, component_names())
    spec = getattr(importlib.import_module(f"components.{name}.component"), name).component_spec
    artifacts = {key: entry for key, entry in spec.inputs.items() if _is_artifact(entry)}
    parameters = {key: entry for key, entry in spec.inputs.items() if key not in artifacts}
    out_dir = out_dir.absolute()
    recorded = _read_record(name, words.record) if words.record else Words()
    values = _read_parameters(name, parameters, recorded, words, out_dir)
    uris = _read_artifacts(name, artifacts, recorded, words)
    mounts = _find_mounts(values, uris)
    return Step(
        name=name,
        source=spec.implementation.container.command[-1],
        image=image,
        executor_input=_executor_input(spec, values, uris, out_dir),
        out_dir=out_dir,
        mounts=mounts,
        options=options,
        user=f"{os.getuid()}:{os.getgid()}",
    )


def parse_parameter(name: str, kind: str, text: str) -> Any:
    """Return the value of a parameter; `@FILE` stands for the content of a file.

    Args:
        name: of the parameter, for the message.
        kind: its type in the words of Kubeflow Pipelines.
        text: JSON, or a plain string where the type is String.

    Raises:
        UsageError: the file cannot be read, or the value is of another type.
    """
    if text.startswith("@"):
        try:
            text = Path(text[1:]).read_text()
        except (OSError, UnicodeDecodeError) as error:
            raise UsageError(f"--param {name}: cannot read {text[1:]}: {error}") from None
    kind = kind.partition("[")[0]
    if kind not in _JSON_TYPES:
        return text
    try:
        value = json.loads(text)
    except ValueError:
        value = None
    if not isinstance(value, _JSON_TYPES[kind]) or (isinstance(value, bool) and kind != "Boolean"):
        raise UsageError(f"--param {name} must be {kind} as JSON, got '{text.strip()}'")
    return value


def _read_record(name: str, directory: Path) -> Words:
    """Return the words that repeat the step of this record.

    Raises:
        UsageError: it is the record of another stage.
    """
    invocation = read_output(directory).invocation
    if invocation["stage"] != name:
        raise UsageError(f"{directory} is the output of '{invocation['stage']}', not of '{name}'")
    uris = {
        _INPUT_OF_RECORD.get(key, key): entry["uri"]
        for key, entry in invocation["inputs"].items()
        if "uri" in entry
    }
    given = {key: value for key, value in invocation["options"].items() if isinstance(value, str)}
    config = {key: value for key, value in invocation["config"].items() if value is not None}
    return Words(inputs=uris, parameters={**uris, **given, "config": json.dumps(config)})


def _read_parameters(
    component: str, specs: Mapping[str, Any], recorded: Words, words: Words, out_dir: Path
) -> dict[str, Any]:
    for name in words.parameters:
        if name not in specs:
            raise unknown_name(f"parameter of {component}", name, specs)
    texts = {"data_root": str(out_dir / "root"), "run": "local"}
    texts |= {**recorded.parameters, **words.parameters}
    missing = [name for name in specs if name not in texts and not specs[name].optional]
    if missing:
        wanted = " ".join(f"--param {name}=..." for name in missing)
        raise UsageError(f"{component} needs {wanted}")
    values = {name: specs[name].default for name in specs if specs[name].optional}
    for name in (name for name in specs if name in texts):
        values[name] = parse_parameter(name, specs[name].type, texts[name])
        if name in PLACE_PARAMETERS:
            values[name] = location_uri(read_location(values[name]))
    return values


def _read_artifacts(
    component: str, specs: Mapping[str, Any], recorded: Words, words: Words
) -> dict[str, str]:
    for name in words.inputs:
        if name not in specs:
            raise unknown_name(f"input of {component}", name, specs)
    given = {name: uri for name, uri in recorded.inputs.items() if name in specs}
    given.update(words.inputs)
    missing = [name for name in specs if name not in given and not specs[name].optional]
    if missing:
        raise UsageError(
            f"{component} needs {' '.join(f'--input {name}=PATH' for name in missing)}"
        )
    return {name: _check_artifact(name, specs[name].type, uri) for name, uri in given.items()}


def _check_artifact(name: str, kind: str, text: str) -> str:
    """Return the absolute path of an artifact, or the URI of a data set.

    Raises:
        UsageError: it is not there, or not of this kind.
    """
    place = read_location(text)
    if isinstance(place, str) and "Dataset" not in kind:
        raise UsageError(f"--input {name}: {text} is not on this machine; expected a local path")
    if isinstance(place, Path) and not place.exists():
        raise UsageError(f"--input {name}: {text} does not exist")
    try:
        return location_uri(_open_artifact(name, kind, place))
    except DataError as error:
        raise UsageError(f"--input {name}: {error}") from None


def _open_artifact(name: str, kind: str, place: Location) -> Location:
    """Return the place of the data itself, once it has shown to be of this kind."""
    if "Dataset" in kind:
        place = find_dataset({}, str(place)) if isinstance(place, Path) else place
        read_manifest(place)
    elif "Model" in kind:
        read_description(place)
    elif isinstance(place, Path):
        stage = read_output(place).invocation["stage"]
        if stage != _STAGE_OF_INPUT[name]:
            expected = _STAGE_OF_INPUT[name]
            raise UsageError(f"--input {name}: expected the output of '{expected}', got '{stage}'")
    return place


def _find_mounts(values: Mapping[str, Any], uris: Mapping[str, str]) -> dict[Path, bool]:
    """Return every local path that the container must see, and whether it may write there.

    Raises:
        UsageError: one is not there.
    """
    mounts = {Path(uri): False for uri in uris.values() if uri.startswith("/")}
    for name in PLACE_PARAMETERS & values.keys():
        path = Path(values[name])
        if path.is_absolute():
            mounts[path] = name == "data_root"
            if not mounts[path] and not path.exists():
                raise UsageError(f"--param {name}: {path} does not exist")
    return mounts


def _executor_input(
    spec: Any, values: Mapping[str, Any], uris: Mapping[str, str], out_dir: Path
) -> dict[str, Any]:
    """Return what the executor of Kubeflow Pipelines reads; see its ExecutorInput message."""
    outputs = spec.outputs or {}
    return {
        "inputs": {
            "parameterValues": dict(values),
            "artifacts": {
                name: _artifact_list(name, spec.inputs[name].type, uri)
                for name, uri in uris.items()
            },
        },
        "outputs": {
            "parameters": {
                name: {"outputFile": str(out_dir / name)}
                for name, entry in outputs.items()
                if not _is_artifact(entry)
            },
            "artifacts": {
                name: _artifact_list(name, entry.type, str(out_dir / name))
                for name, entry in outputs.items()
                if _is_artifact(entry)
            },
            "outputFile": str(out_dir / OUTPUT_FILE),
        },
    }


def _artifact_list(name: str, kind: str, uri: str) -> dict[str, Any]:
    title, _, version = kind.partition("@")
    schema = {"schemaTitle": title, "schemaVersion": version}
    return {"artifacts": [{"name": name, "type": schema, "uri": uri, "metadata": {}}]}


def _is_artifact(entry: Any) -> bool:
    return str(entry.type).startswith(_ARTIFACT)
