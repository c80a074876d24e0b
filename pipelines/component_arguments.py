"""The arguments of one component, from a user's words and the record of an earlier step."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ssd_core.data.shards.manifest import read_manifest
from ssd_core.errors import DataError, UsageError, unknown_name
from ssd_core.model_dir import read_description
from ssd_core.stages.doorway import find_dataset
from ssd_core.stages.invocation import INVOCATION_FILE, read_invocation, read_output
from ssd_core.store import Location, join_location, location_uri, open_store, read_location
from ssd_core.store.places import Places

PLACE_PARAMETERS = frozenset({"data_root", "source", "uri"})
"""Parameters that name a path or a URI; only below the first a component writes."""

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
_OPTIONS = {"parameter": "--param {}=...", "input": "--input {}=PATH"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Words:
    """What is said about one component."""

    inputs: Mapping[str, str] = field(default_factory=dict)
    """Artifacts, name to place."""
    parameters: Mapping[str, str] = field(default_factory=dict)
    """Name to text."""


def find_record(name: str, text: str, root: str) -> Location:
    """Return the place with the record of the step `name`.

    Args:
        name: of the component.
        text: that place, the one of its run, or the id of the run.
        root: what the run was given as its root, where only its id is known.

    Raises:
        UsageError: there is no record.
        SurroundingsError: the store is away.
    """
    place = read_location(text)
    places = [place, join_location(place, name)]
    if is_id := not ("/" in text or text.startswith(".")):
        places.append(Places(root).run(text, name))
    for place in places:
        if open_store(place).head(INVOCATION_FILE) is not None:
            return place
    below = f", nor of a run of this name below {root}" if is_id else ""
    raise UsageError(f"{text}: no {INVOCATION_FILE} of '{name}' here{below}")


def read_arguments(
    component: str,
    specs: Mapping[str, Any],
    words: Words,
    out_dir: Path,
    record: Location | None = None,
) -> tuple[dict[str, Any], dict[str, str]]:
    """Return the values of the parameters, and the absolute paths or URIs of the artifacts.

    Args:
        component: its name.
        specs: its inputs of both kinds, as kfp describes them.
        words: what the user says.
        out_dir: where its outputs go; what it keeps for others goes below unless a root is named.
        record: of an earlier step, which fills in what is not said.

    Raises:
        UsageError: an unknown name, a value of the wrong type, a place that is not there or holds
            something else, or something that is missing.
        DataError: the record is damaged.
    """
    recorded = _read_record(component, record) if record else Words()
    known = {"data_root": str(out_dir / "root"), "run": "local", "num_devices": "1"}
    known |= recorded.parameters
    artifacts = {name: spec for name, spec in specs.items() if is_artifact(spec)}
    parameters = {name: spec for name, spec in specs.items() if name not in artifacts}
    texts = _choose(component, "parameter", parameters, known, words.parameters)
    uris = _choose(component, "input", artifacts, recorded.inputs, words.inputs)
    values = {name: spec.default for name, spec in parameters.items() if spec.optional}
    for name, text in texts.items():
        value = parse_parameter(name, specs[name].type, text)
        values[name] = _check_place(name, value) if name in PLACE_PARAMETERS else value
    return values, {
        name: _check_artifact(name, specs[name].type, uri) for name, uri in uris.items()
    }


def is_artifact(spec: Any) -> bool:
    """Say whether this input or output is an artifact, no parameter."""
    return str(spec.type).startswith("system.")


def _read_record(name: str, place: Location) -> Words:
    """Return the words that repeat the step of this record."""
    invocation = read_invocation(place)
    if (stage := invocation.get("stage")) != name:
        raise UsageError(f"{place} is the output of '{stage}', not of '{name}'")
    uris = {
        _INPUT_OF_RECORD.get(key, key): entry["uri"]
        for key, entry in invocation["inputs"].items()
        if "uri" in entry
    }
    given = {key: value for key, value in invocation["options"].items() if isinstance(value, str)}
    config = {key: value for key, value in invocation["config"].items() if value is not None}
    return Words(inputs=uris, parameters={**uris, **given, "config": json.dumps(config)})


def _choose(
    component: str,
    what: str,
    specs: Mapping[str, Any],
    known: Mapping[str, str],
    said: Mapping[str, str],
) -> dict[str, str]:
    """Return the text for each of `specs`; what is said comes before what is known."""
    for name in said:
        if name not in specs:
            raise unknown_name(f"{what} of {component}", name, specs)
    texts = {name: text for name, text in {**known, **said}.items() if name in specs}
    missing = [name for name in specs if name not in texts and not specs[name].optional]
    if missing:
        raise UsageError(f"{component} needs {' '.join(map(_OPTIONS[what].format, missing))}")
    return texts


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


def _check_place(name: str, text: str) -> str:
    place = read_location(text)
    if name != "data_root" and isinstance(place, Path) and not place.exists():
        raise UsageError(f"--param {name}: {text} does not exist")
    return location_uri(place)


def _check_artifact(name: str, kind: str, text: str) -> str:
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
