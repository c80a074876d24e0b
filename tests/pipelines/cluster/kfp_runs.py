"""Runs of the stand-in for the server of Kubeflow Pipelines, as it shows them."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from graphlib import TopologicalSorter

from tests.pipelines.cluster.kfp_schema import Json

OVER = {"SUCCEEDED", "FAILED"}


@dataclass
class Run:
    """A run that advances to its next state with every request."""

    content: Json
    history: Sequence[str]
    position: int = 0
    reached: int = 1
    """Number of the task that has the state of the run; those before it have succeeded."""
    pods: dict[str, Json] = field(default_factory=dict)
    """`phase` and `message` of pods by task, where they are others than those of the task."""
    is_retried: bool = False
    """A task names the group of its attempts instead of its pod."""
    logs: dict[str, str] = field(default_factory=dict)
    """Of the pods by task; they outlive the pods."""


def shown(run: Run) -> Json:
    """Return the state of a run, with its tasks and the pods of the server among them."""
    states = run.history[: run.position + 1]
    created = datetime.fromisoformat(run.content["created_at"])
    past = [
        {"state": state, "update_time": (created + timedelta(minutes=number)).isoformat()}
        for number, state in enumerate(states)
    ]
    details = list(task_details(ordered_tasks(run), states, created, run.reached))
    if run.is_retried:
        for child in (child for task in details for child in task.get("child_tasks", ())):
            child["pod_name"] = child["pod_name"].replace("pod-of-", "group-of-")
    content = {**run.content, "state": states[-1], "state_history": past}
    return {**content, "run_details": {"task_details": details}}


def ordered_tasks(run: Run) -> Sequence[str]:
    """Return the names of the tasks of a run in their order."""
    specification = run.content["pipeline_spec"]
    tasks = specification.get("pipeline_spec", specification)["root"]["dag"]["tasks"]
    graph = {name: task.get("dependentTasks", ()) for name, task in tasks.items()}
    return list(TopologicalSorter(graph).static_order())


def task_details(
    tasks: Sequence[str], states: Sequence[str], created: datetime, reached: int
) -> Iterator[Json]:
    """Yield the tasks of a run: all succeed, or the one that is reached has the state of the run.

    No task has an error. After the end, one that never ran has neither a state nor a duration;
    a running one ends in 1970.
    """
    if "RUNNING" not in states:
        return
    yield {"display_name": "root-driver", "start_time": created.isoformat(), "state": "SUCCEEDED"}
    state = states[-1]
    for number, name in enumerate(tasks):
        start = created + timedelta(minutes=number)
        task: Json = {"display_name": name, "start_time": start.isoformat()}
        if state == "SUCCEEDED" or number <= reached:
            task["state"] = state if number == reached else "SUCCEEDED"
            task["child_tasks"] = [{"pod_name": f"pod-of-{name}"}]
            end = start + timedelta(seconds=42)
            has_ended = task["state"] in OVER
            task["end_time"] = end.isoformat() if has_ended else "1970-01-01T00:00:00Z"
        elif state == "FAILED":
            task["end_time"] = start.isoformat()
        else:
            return
        yield task


def workflow_nodes(run: Run) -> Json:
    """Return the nodes of the workflow: each task is a group with one pod."""
    nodes: Json = {}
    for task in shown(run)["run_details"]["task_details"]:
        name, phase = task["display_name"], str(task.get("state", "Omitted")).capitalize()
        pod = {"phase": phase, "message": ""} | run.pods.get(name, {})
        nodes[f"group-of-{name}"] = {"type": "DAG", "phase": phase, "children": [f"pod-of-{name}"]}
        nodes[f"pod-of-{name}"] = {"type": "Pod", "children": ["next"], **pod}
    for node_id, node in nodes.items():
        node |= {"id": node_id, "displayName": node_id.rpartition("-of-")[2]}
    return nodes
