"""A compiled pipeline as a list of tasks, and the executor input and output of each.

The terms are those of the pipeline specification and of the ExecutorInput message of Kubeflow
Pipelines. A component on its own is a pipeline of one task. Conditions, loops and nested
pipelines are left to a cluster.
"""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from graphlib import TopologicalSorter
from pathlib import Path
from types import MappingProxyType
from typing import Any

from google.protobuf.json_format import MessageToDict

from pipelines.catalogue import step_name

OUTPUT_FILE = "executor_output.json"

_RUN_PLACEHOLDER = "{{$.pipeline_job_uuid}}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """One step of a pipeline."""

    name: str
    function: str
    """The function of the component that the executor calls."""
    source: str
    """Python source of the module with that function."""
    image: str
    parameters: Mapping[str, Any]
    """Sources of the input parameters by name."""
    artifacts: Mapping[str, Any]
    """Sources of the input artifacts by name."""
    component: Mapping[str, Any]
    """`inputDefinitions` and `outputDefinitions`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Values:
    """Parameters and artifacts: the arguments of a pipeline, or the outputs of a task."""

    parameters: Mapping[str, Any] = field(default_factory=dict)
    artifacts: Mapping[str, Any] = field(default_factory=dict)


def read_tasks(pipeline: Any) -> list[Task]:
    """Return the tasks of a pipeline or component of kfp, each after those that it depends on."""
    spec = MessageToDict(pipeline.pipeline_spec)
    tasks = spec["root"]["dag"]["tasks"]
    graph = {name: tasks[name].get("dependentTasks", ()) for name in sorted(tasks)}
    order = TopologicalSorter(graph).static_order()
    return [_read_task(name, tasks[name], spec) for name in order]


def read_defaults(pipeline: Any) -> dict[str, Any]:
    """Return the default values of the parameters of a pipeline."""
    root = MessageToDict(pipeline.pipeline_spec)["root"]
    entries = root.get("inputDefinitions", {}).get("parameters", {}).items()
    return {name: entry["defaultValue"] for name, entry in entries if "defaultValue" in entry}


def _read_task(name: str, task: Mapping[str, Any], spec: Mapping[str, Any]) -> Task:
    component = spec["components"][task["componentRef"]["name"]]
    container = spec["deploymentSpec"]["executors"][component["executorLabel"]]["container"]
    inputs = task.get("inputs", {})
    return Task(
        name=step_name(name),
        function=container["args"][container["args"].index("--function_to_execute") + 1],
        source=container["command"][-1],
        image=container["image"],
        parameters=inputs.get("parameters", {}),
        artifacts=inputs.get("artifacts", {}),
        component=component,
    )


def build_executor_input(
    task: Task, arguments: Values, outputs: Mapping[str, Values], *, run: str, out_dir: Path
) -> dict[str, Any]:
    """Return the input of the executor; an optional input without a value is absent.

    Args:
        task: the task.
        arguments: of the pipeline.
        outputs: of the finished tasks by name.
        run: id of the run.
        out_dir: where the outputs go.
    """
    parameters = {
        name: _find_parameter(source, arguments, outputs, run)
        for name, source in task.parameters.items()
    }
    artifacts = {
        name: _find_artifact(source, arguments, outputs) for name, source in task.artifacts.items()
    }
    definitions = task.component.get("outputDefinitions", {})
    return {
        "inputs": {
            "parameterValues": _without_none(parameters.items()),
            "artifacts": _without_none(artifacts.items()),
        },
        "outputs": {
            "parameters": {
                name: {"outputFile": str(out_dir / name)}
                for name in definitions.get("parameters", {})
            },
            "artifacts": {
                name: artifact_list(name, entry["artifactType"], str(out_dir / name))
                for name, entry in definitions.get("artifacts", {}).items()
            },
            "outputFile": str(out_dir / OUTPUT_FILE),
        },
    }


def read_outputs(executor_input: Mapping[str, Any]) -> Values:
    """Return the outputs of a task that has run with this input."""
    declared = executor_input["outputs"]
    written = json.loads(Path(declared["outputFile"]).read_text())
    found = written.get("artifacts", {})
    artifacts = {
        name: {"artifacts": [entry["artifacts"][0] | found[name]["artifacts"][0]]}
        for name, entry in declared["artifacts"].items()
    }
    return Values(parameters=written.get("parameterValues", {}), artifacts=artifacts)


def artifact_list(
    name: str, kind: Mapping[str, str], uri: str, metadata: Mapping[str, str] = MappingProxyType({})
) -> dict[str, Any]:
    """Return an artifact as it is written in executor inputs."""
    artifact = {"name": name, "type": dict(kind), "uri": uri, "metadata": dict(metadata)}
    return {"artifacts": [artifact]}


def _find_parameter(
    source: Mapping[str, Any], arguments: Values, outputs: Mapping[str, Values], run: str
) -> Any:
    if "runtimeValue" in source:
        constant = source["runtimeValue"]["constant"]
        if isinstance(constant, float) and constant.is_integer():
            return int(constant)  # protobuf has only doubles; a cluster writes 1, too
        return constant.replace(_RUN_PLACEHOLDER, run) if isinstance(constant, str) else constant
    if "componentInputParameter" in source:
        return arguments.parameters.get(source["componentInputParameter"])
    produced = source["taskOutputParameter"]
    return outputs[step_name(produced["producerTask"])].parameters[produced["outputParameterKey"]]


def _find_artifact(
    source: Mapping[str, Any], arguments: Values, outputs: Mapping[str, Values]
) -> Any:
    if "componentInputArtifact" in source:
        return arguments.artifacts.get(source["componentInputArtifact"])
    produced = source["taskOutputArtifact"]
    return outputs[step_name(produced["producerTask"])].artifacts[produced["outputArtifactKey"]]


def _without_none(items: Iterable[tuple[str, Any]]) -> dict[str, Any]:
    return {name: value for name, value in items if value is not None}
