"""A control plane for all tests, and jobs that run on it."""

import itertools
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass

import pytest

from ssd_core.launch.cluster import Cluster, Timeouts
from ssd_core.launch.job import JobPlacement, JobRequest
from ssd_core.launch.manifests import KINDS
from ssd_core.launch.run import run_job
from tests.launch.api_server import ControlPlane, run_control_plane
from tests.launch.core_server import NAMESPACE
from tests.store.servers import wait_until

LIMIT = 60
"""Seconds; so that nothing hangs."""
TIMEOUTS = Timeouts(
    request_seconds=20, poll_seconds=0.2, outage_seconds=60, removal_seconds=20,
)  # fmt: skip
OWNERS = [{"apiVersion": "v1", "kind": "Pod", "name": "launcher-pod", "uid": "uid-of-the-pod"}]
PLACEMENTS = {
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


def make_request(kind="TrainJob", change=None, **values):
    """Return a request for a job of its own, with changes of its placement and other fields."""
    placement = JobPlacement.model_validate(PLACEMENTS[kind] | (change or {}))
    default = {
        "name": f"train-run-{next(_numbers)}",
        "run": "run-1",
        "framework": "torch",
        "arguments": ("train", "--out", "s3://b/o"),
        "nodes": 2,
        "placement": placement,
    }
    return JobRequest(**(default | values))


def pod_labels(kind, job, node):
    """Return the labels that the operator gives to a pod."""
    numbers = {name: str(node) if value == "0" else value for name, value in kind.rank_0.items()}
    return {kind.job_label: job, **numbers}


@dataclass(frozen=True)
class RunningLauncher:
    """A launcher in a thread, and the job that it has created or adopted."""

    plane: ControlPlane
    request: JobRequest
    future: Future

    @property
    def kind(self):
        return KINDS[self.request.placement.job.kind]

    @property
    def job(self):
        return self.plane.find(self.kind, self.request.name)

    def wait_for_polls(self, count=2):
        wanted = self.plane.core.polls + count
        assert wait_until(lambda: self.plane.core.polls >= wanted or self.future.done())

    def set_conditions(self, *conditions):
        self.plane.set_conditions(self.kind, self.request.name, *conditions)

    def delete(self):
        self.plane.delete(self.kind, self.request.name)

    def add_pod(self, node=0, *, name="", **labels):
        name = name or self.pod(node)
        given = pod_labels(self.kind, self.request.name, node) | labels
        return self.plane.core.add_pod(name, given, self.kind.container)

    def pod(self, node=0):
        return f"{self.request.name}-{node}"

    def assert_fails(self, kind, message):
        error = self.future.exception(LIMIT)
        assert type(error) is kind, error
        assert message in str(error)
        assert "\n" not in str(error)
        return str(error)

    def end(self, *conditions):
        """Let the job succeed."""
        self.set_conditions(*conditions)
        assert self.future.result(LIMIT) is None


@pytest.fixture(scope="session")
def control_plane(tmp_path_factory):
    with run_control_plane(tmp_path_factory.mktemp("control-plane")) as plane:
        yield plane


@pytest.fixture
def plane(control_plane):
    """The control plane without the faults and pods of earlier tests."""
    core = control_plane.core
    core.allowed, core.asked = None, set()
    core.faults.clear()
    yield control_plane
    for log in core.logs.values():
        log.close()
    core.pods, core.logs, core.events = {}, {}, []


@pytest.fixture
def launch(plane):
    """Start a launcher, and wait until it follows its job or has ended."""
    launchers = []
    with ThreadPoolExecutor(8) as pool:

        def start(request=None, timeouts=TIMEOUTS, *, polls=2):
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
