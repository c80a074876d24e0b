"""A component and a user's words about it, made into a step that docker can run."""

import importlib
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import components
from pipelines.component_arguments import PLACE_PARAMETERS, Words, is_artifact, read_arguments
from pipelines.docker import OUTPUT_FILE, Step
from ssd_core.errors import unknown_name
from ssd_core.store import Location


def component_names() -> list[str]:
    """Return the names of all components."""
    folder = Path(components.__path__[0])
    return sorted(path.parent.name for path in folder.glob("*/component.py"))


def prepare_step(
    name: str,
    image: str,
    words: Words,
    out_dir: Path,
    *,
    record: Location | None = None,
    options: Sequence[str] = (),
) -> Step:
    """Return the step, everything checked that can be checked without docker.

    Args:
        name: of the component.
        image: in which it runs.
        words: its inputs and parameters.
        out_dir: where its outputs go.
        record: place of the record of an earlier step, which fills in what is not said.
        options: more options of `docker run`.

    Raises:
        UsageError: an unknown name, a value of the wrong type, an artifact that is not there or of
            another kind, or something that is missing.
        DataError: the record is damaged.
    """
    if name not in component_names():
        raise unknown_name("component", name, component_names())
    spec = getattr(importlib.import_module(f"components.{name}.component"), name).component_spec
    out_dir = out_dir.absolute()
    values, uris = read_arguments(name, spec.inputs, words, out_dir, record)
    return Step(
        name=name,
        source=spec.implementation.container.command[-1],
        image=image,
        executor_input=_executor_input(spec, values, uris, out_dir),
        out_dir=out_dir,
        mounts=_find_mounts(values, uris),
        options=options,
        user=f"{os.getuid()}:{os.getgid()}",
    )


def _find_mounts(values: Mapping[str, Any], uris: Mapping[str, str]) -> dict[Path, bool]:
    """Return every local path that the container must see, and whether it may write there."""
    places = dict.fromkeys(uris.values(), False)
    places |= {values[name]: name == "data_root" for name in PLACE_PARAMETERS & values.keys()}
    return {Path(uri): is_writable for uri, is_writable in places.items() if uri.startswith("/")}


def _executor_input(
    spec: Any, values: Mapping[str, Any], uris: Mapping[str, str], out_dir: Path
) -> dict[str, Any]:
    """Return what the executor of Kubeflow Pipelines reads; see its ExecutorInput message."""
    outputs = spec.outputs or {}
    parameters = {name for name, entry in outputs.items() if not is_artifact(entry)}
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
                name: {"outputFile": str(out_dir / name)} for name in outputs if name in parameters
            },
            "artifacts": {
                name: _artifact_list(name, entry.type, str(out_dir / name))
                for name, entry in outputs.items()
                if name not in parameters
            },
            "outputFile": str(out_dir / OUTPUT_FILE),
        },
    }


def _artifact_list(name: str, kind: str, uri: str) -> dict[str, Any]:
    title, _, version = kind.partition("@")
    schema = {"schemaTitle": title, "schemaVersion": version}
    return {"artifacts": [{"name": name, "type": schema, "uri": uri, "metadata": {}}]}
