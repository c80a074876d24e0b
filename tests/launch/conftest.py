"""A control plane for all tests, and jobs to run on it."""

import itertools
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from ssd_core.launch.cluster import Cluster
from ssd_core.launch.job import Job
from ssd_core.launch.kinds import KINDS
from ssd_core.launch.placement import Placement
from ssd_core.launch.retry import Patience
from ssd_core.launch.run import run_job
from tests.launch.api_server import ControlPlane, run_control_plane
from tests.launch.core_server import NAMESPACE

PATIENCE = Patience(
    request_seconds=20, budget_seconds=60, pause_seconds=0.05, longest_pause_seconds=0.2,
    removal_seconds=20, pods_seconds=0.1,
)  # fmt: skip
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


def make_job(kind: str = "TrainJob", *, framework: str = "torch", **changes: Any) -> Job:
    """Return a job that no other test has asked for."""
    placement = Placement.model_validate(PLACEMENTS[kind])
    assert placement.job
    values = {
        "name": f"train-run-{next(_numbers)}",
        "run": "run-1",
        "framework": framework,
        "command": ("ssd", "train"),
        "nodes": 2,
        "placement": placement,
        "spec": placement.job,
    }
    return Job(**(values | changes))


@pytest.fixture(scope="session")
def control_plane(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ControlPlane]:
    with run_control_plane(tmp_path_factory.mktemp("control-plane")) as plane:
        yield plane


@pytest.fixture
def plane(control_plane: ControlPlane) -> Iterator[ControlPlane]:
    """The control plane, without what an earlier test has set."""
    core = control_plane.core
    core.allowed, core.asked, core.watches = None, set(), 0
    core.faults.clear()
    yield control_plane
    for log in core.logs.values():
        log.close()
    core.pods, core.logs = {}, {}


def open_cluster(plane: ControlPlane, patience: Patience = PATIENCE) -> Cluster:
    return Cluster(plane.configuration(), NAMESPACE, patience)


@pytest.fixture
def launch(plane: ControlPlane) -> Iterator[Callable[..., Future[None]]]:
    """Start a launcher of its own for a job; the result is what it ends with."""
    launched: dict[Future[None], Job] = {}
    with ThreadPoolExecutor(8) as pool:

        def start(job: Job, patience: Patience = PATIENCE) -> Future[None]:
            future = pool.submit(run_job, open_cluster(plane, patience), job, OWNERS)
            launched[future] = job
            return future

        yield start
        plane.core.faults.clear()
        # Of a test that has failed, so that it does not hang as well.
        left = {job.name: job for future, job in launched.items() if not future.done()}
        for name, job in left.items():
            plane.delete(KINDS[job.spec.kind], name)


OWNERS = [{"apiVersion": "v1", "kind": "Pod", "name": "launcher-pod", "uid": "uid-of-the-pod"}]


@pytest.fixture
def log_file(tmp_path: Path) -> Path:
    return tmp_path / "log"
