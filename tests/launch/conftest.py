"""A control plane for all tests, and jobs that run on it."""

import itertools
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import pytest

from ssd_core.errors import SsdError
from ssd_core.launch.cluster import Cluster, Timeouts
from ssd_core.launch.job import JobRequest
from ssd_core.launch.manifests import KINDS, JobKind
from ssd_core.launch.placement import JobPlacement
from ssd_core.launch.run import run_job
from tests.launch.api_server import ControlPlane, run_control_plane
from tests.launch.core_server import NAMESPACE, Log
from tests.store.s3_servers import wait_until

LIMIT = 60
"""Seconds; so that nothing hangs."""
TIMEOUTS = Timeouts(
    request_seconds=20, poll_seconds=0.2, outage_seconds=60, removal_seconds=20,
)  # fmt: skip
OWNERS = [{"apiVersion": "v1", "kind": "Pod", "name": "launcher-pod", "uid": "uid-of-the-pod"}]
PLACEMENTS: dict[str, dict[str, Any]] = {
    "TrainJob": {
        "image": "ssd/torch-cuda:1",
        "resource": "nvidia.com/gpu",
        "count": 2,
        "resources": {"memory_limit": "32Gi", "cpu_request": "4"},
        "node_selector": {"pool": "gpu"},
        "tolerations": [{"key": "nvidia.com/gpu", "operator": "Exists", "effect": "NoSchedule"}],
        "shared_memory": "8Gi",
        "user": 12345,
        "store_secret": {},
        "environment": {"AWS_ENDPOINT_URL": "http://store:9000"},
        "job": {"kind": "TrainJob", "runtime": "ssd-torch-cuda", "deadline_seconds": 86400},
    },
    "AscendJob": {
        "image": "ssd/torch-npu:1",
        "resource": "huawei.com/Ascend910",
        "count": 8,
        "user": 0,
        "group": 1000,
        "shared_memory": "16Gi",
        "store_secret": {},
        "job": {
            "kind": "AscendJob",
            "scheduler": "volcano",
            "queue": "training",
            "labels": {"ring-controller.atlas": "ascend-910b"},
            "deadline_seconds": 86400,
        },
    },
}
_numbers = itertools.count()


def make_request(
    kind: str = "TrainJob", change: dict[str, Any] | None = None, **values: Any
) -> JobRequest:
    """Return a request for a job that no other test has asked for.

    Args:
        kind: the kind of job.
        change: rows of its placement.
        values: fields of the request.
    """
    placement = JobPlacement.model_validate(PLACEMENTS[kind] | (change or {}))
    assert placement.job
    default = {
        "name": f"train-run-{next(_numbers)}",
        "run": "run-1",
        "framework": "torch",
        "arguments": ("train", "--out", "s3://b/o"),
        "nodes": 2,
        "placement": placement,
        "spec": placement.job,
    }
    return JobRequest(**(default | values))


def pod_labels(kind: JobKind, job: str, node: int) -> dict[str, str]:
    """Return the labels that the operator gives to a pod."""
    numbers = {name: str(node) if value == "0" else value for name, value in kind.rank_0.items()}
    return {kind.job_label: job, **numbers}


@dataclass(frozen=True)
class RunningLauncher:
    """A launcher in a thread, and the job that it has created or adopted."""

    plane: ControlPlane
    request: JobRequest
    future: "Future[None]"

    @property
    def kind(self) -> JobKind:
        return KINDS[self.request.spec.kind]

    @property
    def job(self) -> Any:
        """The job as the API returns it; None if it does not exist."""
        return self.plane.find(self.kind, self.request.name)

    def wait_for_polls(self, count: int = 2) -> None:
        wanted = self.plane.core.polls + count
        assert wait_until(lambda: self.plane.core.polls >= wanted or self.future.done())

    def set_conditions(self, *conditions: Any) -> None:
        self.plane.set_conditions(self.kind, self.request.name, *conditions)

    def delete(self) -> None:
        self.plane.delete(self.kind, self.request.name)

    def add_pod(self, node: int = 0, *, name: str = "", **labels: str) -> Log:
        name = name or self.pod(node)
        given = pod_labels(self.kind, self.request.name, node) | labels
        return self.plane.core.add_pod(name, given, self.kind.container)

    def pod(self, node: int = 0) -> str:
        return f"{self.request.name}-{node}"

    def error(self) -> SsdError:
        error = self.future.exception(LIMIT)
        assert isinstance(error, SsdError), error
        assert "\n" not in str(error)
        return error

    def end(self, *conditions: Any) -> None:
        """Let the job succeed."""
        self.set_conditions(*conditions)
        assert self.future.result(LIMIT) is None


Launch = Callable[..., RunningLauncher]


@pytest.fixture(scope="session")
def control_plane(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ControlPlane]:
    with run_control_plane(tmp_path_factory.mktemp("control-plane")) as plane:
        yield plane


@pytest.fixture
def plane(control_plane: ControlPlane) -> Iterator[ControlPlane]:
    """The control plane without the faults and pods of earlier tests."""
    core = control_plane.core
    core.allowed, core.asked = None, set()
    core.faults.clear()
    yield control_plane
    for log in core.logs.values():
        log.close()
    core.pods, core.logs = {}, {}


@pytest.fixture
def launch(plane: ControlPlane) -> Iterator[Launch]:
    """Start a launcher, and wait until it follows its job or has ended."""
    launchers: list[RunningLauncher] = []
    with ThreadPoolExecutor(8) as pool:

        def start(
            request: JobRequest | None = None, timeouts: Timeouts = TIMEOUTS, *, polls: int = 2
        ) -> RunningLauncher:
            wanted = request or make_request()
            cluster = Cluster(plane.configuration(), NAMESPACE, timeouts)
            future = pool.submit(run_job, cluster, wanted, OWNERS)
            launchers.append(RunningLauncher(plane, wanted, future))
            launchers[-1].wait_for_polls(polls)
            return launchers[-1]

        yield start
        plane.core.faults.clear()
        # Only after a failed test, so that it does not hang as well.
        for name in {each.request.name for each in launchers if not each.future.done()}:
            next(each for each in launchers if each.request.name == name).delete()
