"""A run followed to its end, with the reasons why its steps fail or wait.

A server leaves the error of a run empty: the reasons are in the logs of its pods and in the
messages of Kubernetes about them.
"""

import re
import time
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import replace

from pipelines.cluster.client import Client, Node, RunState, StepState
from ssd_core.errors import SsdError, TakenOverError, TransientError, parse_error_line
from ssd_core.logs import format_duration, logger

_SILENCE_SECONDS = 60.0
"""Without news, after which the reason is looked up."""
_EXIT_CODE = re.compile(r"exit code (\d+)")
_MAY_PASS = {TransientError.exit_code, TakenOverError.exit_code, 137, 143}
"""Exit codes of a step that a rerun may continue: its own, and those of a killed pod."""


def follow(
    client: Client, run_id: str, *, interval: float, patience: float, start_timeout: float
) -> Iterator[RunState]:
    """Yield the state of a run again and again, until it is over.

    Args:
        client: its server.
        run_id: its id.
        interval: seconds between two polls.
        patience: seconds for which the server may be unreachable or broken.
        start_timeout: seconds for which a pod may wait for its start.

    Raises:
        TransientError: the server was away for too long, or a pod could not start for too long.
    """
    reached = silent = time.monotonic()
    news: object = None
    while True:
        try:
            run = client.get_run(run_id)
        except TransientError as error:
            if time.monotonic() - reached >= patience:
                raise TransientError(
                    f"{error}; gave up after {patience:g} s, the run itself continues"
                ) from None
            logger.warning("%s", error)
        else:
            reached = time.monotonic()
            if (states := [(step.name, step.state) for step in run.steps]) != news:
                news, silent = states, reached
            if run.is_over or reached - silent >= min(_SILENCE_SECONDS, start_timeout / 2):
                run = explain(client, run)
            yield run
            if run.is_over:
                return
            if reached - silent >= start_timeout:
                _check_start(run, start_timeout)
        time.sleep(interval)


def _check_start(run: RunState, seconds: float) -> None:
    waiting = [f"{step.name}: {step.error}" for step in run.steps if step.state == "waiting"]
    if run.state == "pending":
        waiting.append("no step has begun; does the workflow controller run?")
    if waiting:
        raise TransientError(
            f"nothing has started for {format_duration(seconds)}: {waiting[0]}; the run {run.id} "
            "goes on waiting, --start-timeout raises the limit"
        )


def explain(client: Client, run: RunState) -> RunState:
    """Return the run with the reasons of its failed steps and of its pods that wait.

    Reasons that the server does not return are left out.
    """
    if run.state in {"succeeded", "terminated"}:
        return run
    nodes: Mapping[str, Node] = {}
    with suppress(SsdError):
        nodes = client.get_nodes(run.id)
    steps = [_explain_step(client, run, step, nodes) for step in run.steps]
    known = {below.id for step in run.steps for below in _pods_below(step.node, nodes)}
    steps += [_describe_pod(node) for node in nodes.values() if node.id not in known]
    return replace(run, steps=tuple(step for step in steps if step.state))


def _explain_step(
    client: Client, run: RunState, step: StepState, nodes: Mapping[str, Node]
) -> StepState:
    pods = list(_pods_below(step.node, nodes))
    if step.state in {"pending", "running"}:
        waiting = [pod.message for pod in pods if pod.is_waiting]
        return replace(step, state="waiting", error=waiting[-1]) if waiting else step
    if step.state != "failed":
        return step
    ends = [pod for pod in pods if pod.has_failed]
    with suppress(SsdError):
        log = client.get_log(run.id, ends[-1].id if ends else step.node)
        for found in filter(None, map(parse_error_line, reversed(log.splitlines()))):
            return replace(step, error=found.message, may_pass=found.exit_code in _MAY_PASS)
    return replace(step, error=ends[-1].message, may_pass=_may_pass(ends[-1])) if ends else step


def _describe_pod(node: Node) -> StepState:
    """Return a pod of Kubeflow itself as a step, without a state while nothing is wrong with it."""
    state = "waiting" if node.is_waiting else "failed" if node.has_failed else ""
    error, may_pass = node.message, node.has_failed and _may_pass(node)
    return StepState(name=node.name, state=state, seconds=None, error=error, may_pass=may_pass)


def _pods_below(node_id: str, nodes: Mapping[str, Node]) -> Iterator[Node]:
    """Yield the pods of a node: itself, or the attempts to run it."""
    if node := nodes.get(node_id):
        if node.is_pod:  # its children are the next steps
            yield node
            return
        for child in node.children:
            yield from _pods_below(child, nodes)


def _may_pass(node: Node) -> bool:
    """Return whether a pod was lost or killed; one out of memory would be killed again."""
    if found := _EXIT_CODE.search(node.message):
        return int(found[1]) in _MAY_PASS and "OOMKilled" not in node.message
    return node.phase == "Error" or bool(node.message)  # deleted, evicted, preempted
