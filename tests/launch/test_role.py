"""The Role of the launcher allows what it asks for, and nothing more."""

import re
import signal
from collections.abc import Callable
from concurrent.futures import Future
from pathlib import Path

import pytest
import yaml

from ssd_core.errors import SsdError
from ssd_core.launch.job import Job
from ssd_core.launch.kinds import KINDS
from tests.launch.api_server import ControlPlane, condition, set_conditions
from tests.launch.conftest import make_job
from tests.launch.core_server import Permission, permissions
from tests.launch.test_run import LIMIT, add_pod, find, start_process, wait_for_watch
from tests.store.s3_servers import wait_until

MANIFESTS = Path(__file__).parents[2] / "manifests"


def role_of(kind: str) -> set[Permission]:
    """Return what the manifests allow the launcher where this kind of job is used."""
    role = yaml.safe_load((MANIFESTS / "base" / "launcher-role.yaml").read_text())
    rules = role["rules"]
    if kind == "AscendJob":
        patch = MANIFESTS / "overlays" / "ascend" / "ascendjob-rule.yaml"
        rules = [rule for rule in rules if rule["resources"] != ["trainjobs"]]
        rules += [change["value"] for change in yaml.safe_load(patch.read_text())]
    return permissions(rules)


@pytest.mark.parametrize("kind", ["TrainJob", "AscendJob"])
def test_the_role_is_what_the_launcher_asks_for(
    plane: ControlPlane, launch: Callable[..., Future[None]], kind: str
) -> None:
    plane.core.allowed = role_of(kind)
    fail(plane, launch, make_job(kind))
    stop(plane, make_job(kind))
    assert plane.core.asked == plane.core.allowed


def test_the_page_lists_the_same_rights() -> None:
    text = (MANIFESTS / "README.md").read_text()
    listed = re.findall(r'"(\w+) (\w+)\.?([\w.]*)(?: --subresource=(\w+))?"', text)
    rights = {
        (verb, group, f"{resource}/{part}" if part else resource)
        for verb, resource, group, part in listed
    }
    assert rights == role_of("TrainJob")


def fail(plane: ControlPlane, launch: Callable[..., Future[None]], job: Job) -> None:
    launched = launch(job)
    wait_for_watch(plane)
    add_pod(plane, job).write("step 1")
    assert wait_until(lambda: ("get", "", "pods/log") in plane.core.asked)
    plane.core.end_pod(f"{job.name}-0", 3)
    set_conditions(plane, KINDS[job.spec.kind], job.name, condition("Failed"))
    error = launched.exception(LIMIT)
    assert isinstance(error, SsdError)
    assert error.exit_code == 3


def stop(plane: ControlPlane, job: Job) -> None:
    watches = plane.core.watches
    with start_process(plane, job) as process:
        wait_for_watch(plane, watches + 1)
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=LIMIT)
    assert find(plane, job) is None
