"""The Role of the launcher grants the permissions that it uses, and no others."""

import re
import signal
from dataclasses import replace
from pathlib import Path

import pytest
import yaml

from ssd_core.errors import DataError
from tests.launch.api_server import condition
from tests.launch.conftest import TIMEOUTS, make_request
from tests.launch.core_server import permissions
from tests.launch.test_run import stop_launcher
from tests.store.servers import wait_until

MANIFESTS = Path(__file__).parents[2] / "manifests"


def role_of(kind):
    """Return the permissions of the launcher in the manifests for this kind of job."""
    role = yaml.safe_load((MANIFESTS / "base" / "launcher-role.yaml").read_text())
    rules = role["rules"]
    if kind == "AscendJob":
        patch = MANIFESTS / "overlays" / "ascend" / "ascendjob-rule.yaml"
        rules = [rule for rule in rules if rule["resources"] != ["trainjobs"]]
        rules += [change["value"] for change in yaml.safe_load(patch.read_text())]
    return permissions(rules)


@pytest.mark.parametrize("kind", ["TrainJob", "AscendJob"])
def test_the_role_grants_what_the_launcher_uses(plane, launch, kind):
    plane.core.allowed = role_of(kind)
    launcher = launch(make_request(kind), replace(TIMEOUTS, no_pods_seconds=0))
    assert wait_until(lambda: ("list", "", "events") in plane.core.asked)
    launcher.add_pod().write("step 1")
    assert wait_until(lambda: ("get", "", "pods/log") in plane.core.asked)
    plane.core.end_pod(launcher.pod(), 3)
    launcher.set_conditions(condition("Failed"))
    launcher.assert_fails(DataError, "exit code 3")
    stop_launcher(plane, make_request(kind), signal.SIGTERM)
    assert plane.core.asked == plane.core.allowed


def test_the_page_lists_the_same_permissions():
    text = (MANIFESTS / "README.md").read_text()
    listed = re.findall(r'"(\w+) (\w+)\.?([\w.]*)(?: --subresource=(\w+))?"', text)
    rights = {
        (verb, group, f"{resource}/{part}" if part else resource)
        for verb, resource, group, part in listed
    }
    assert rights == role_of("TrainJob")
