"""The launcher on a real API server: jobs that succeed, fail or vanish, and a server that dies."""

import logging
import os
import re
import signal
import subprocess
import sys
from dataclasses import replace
from functools import partial

import pytest

from ssd_core.errors import DataError, OwnershipError, TransientError, UsageError
from ssd_core.launch.cluster import Cluster
from ssd_core.launch.job import LAUNCHER, MAX_RESTARTS
from ssd_core.launch.manifests import KINDS, render
from tests.launch.api_server import condition, job_path
from tests.launch.conftest import LIMIT, OWNERS, TIMEOUTS, make_request
from tests.launch.core_server import NAMESPACE
from tests.store.servers import wait_until

COMPLETE = condition("Complete")
TRAIN_JOBS = job_path(KINDS["TrainJob"])
JOB_PERMISSIONS = {(verb, "trainer.kubeflow.org", "trainjobs") for verb in ("create", "list")}
QUEUED = {"job": {"kind": "TrainJob", "runtime": "r", "labels": {"kueue.x-k8s.io/queue-name": "q"}}}


@pytest.fixture(autouse=True)
def log(caplog):
    """The log of all launchers of a test."""
    caplog.set_level(logging.INFO, "ssd")
    return caplog


def submissions(log):
    """Return, sorted, whether each launcher has created or adopted its job."""
    words = [line.partition(" ")[0] for line in log.messages]
    return sorted(word for word in words if word in ("created", "adopted"))


@pytest.mark.parametrize(("kind", "done"), [("TrainJob", "Complete"), ("AscendJob", "Succeeded")])
def test_a_job_succeeds(launch, kind, done):
    launcher = launch(make_request(kind))
    assert launcher.job["metadata"]["ownerReferences"] == OWNERS
    assert not launcher.future.done()
    launcher.end(condition("Created"), condition(done))
    assert launcher.job is not None


@pytest.mark.parametrize("kind", ["TrainJob", "AscendJob"])
def test_a_job_fails_with_the_error_of_its_pod(plane, launch, kind):
    launcher = launch(make_request(kind))
    for node, (code, words) in enumerate([(75, "lost a worker"), (3, "a shard is damaged")]):
        launcher.add_pod(node)
        plane.core.end_pod(launcher.pod(node), 1, message=f"error: {words} (exit {code})\n")
    launcher.set_conditions(condition("Failed", "a pod failed"))
    job = launcher.request.name
    wanted = f"job {job} failed: pod {job}-1: a shard is damaged"
    assert launcher.assert_fails(DataError, wanted) == wanted
    assert launcher.job is not None


@pytest.mark.parametrize(
    ("conditions", "message"),
    [
        ([condition("Failed", "too long", reason="DeadlineExceeded")], "reached its deadline"),
        ([condition("Suspended")], "is suspended, and no queue will resume it"),
        ([], "was deleted before its end; a rerun continues"),
    ],
)
def test_a_rerun_may_continue(launch, conditions, message):
    launcher = launch()
    launcher.set_conditions(condition("Suspended", is_true=False, reason="Resumed"))
    launcher.wait_for_polls()
    assert not launcher.future.done()
    if conditions:
        launcher.set_conditions(*conditions)
    else:
        launcher.delete()
    launcher.assert_fails(TransientError, f"job {launcher.request.name} {message}")


def test_a_queue_may_suspend_a_job(launch):
    launcher = launch(make_request(change=QUEUED), replace(TIMEOUTS, no_pods_seconds=0.5))
    launcher.set_conditions(condition("Suspended"))
    launcher.wait_for_polls(6)
    assert not launcher.future.done()
    launcher.end(condition("Suspended", is_true=False), COMPLETE)


def test_a_job_is_replaced_between_two_polls(plane, launch):
    launcher = launch()
    plane.core.faults.extend([("trainjobs", 503)] * 10)
    launcher.delete()
    plane.api.create_namespaced_custom_object(*TRAIN_JOBS, render(launcher.request))
    launcher.assert_fails(TransientError, "was deleted")


def test_an_operator_that_does_not_react_ends_the_launcher(launch):
    launcher = launch(timeouts=replace(TIMEOUTS, pickup_seconds=0.5))
    launcher.assert_fails(TransientError, "check that Kubeflow Trainer v2 runs")


def event(job, part, time, message):
    metadata = {"creationTimestamp": f"2026-11-20T09:00:{time}Z"}
    found = {"metadata": metadata, "reason": "FailedCreate", "message": message}
    return found | {"involvedObject": {"kind": "Job", "name": f"{job}{part}"}}


@pytest.mark.parametrize(
    ("has_events", "is_allowed", "wanted"),
    [
        (True, True, "FailedCreate: exceeded quota: gpus"),
        (True, False, "for the cause run: kubectl get events -n team --sort-by=.lastTimestamp"),
        (False, True, "for the cause run: kubectl get events -n team --sort-by=.lastTimestamp"),
    ],
)
def test_a_job_without_pods_is_a_warning(plane, launch, log, has_events, is_allowed, wanted):
    request = make_request()
    if has_events:
        plane.core.events = [
            event(request.name, "-node-0", 10, "exceeded quota: cpus"),
            event(request.name, "-node-0", 30, "exceeded quota: gpus"),
            event(request.name, "", 20, "exceeded quota: pods"),
            event(request.name, "1", 40, "of another job"),
        ]
    if not is_allowed:
        plane.core.faults.append(("events", 403))
    launcher = launch(request, timeouts=replace(TIMEOUTS, no_pods_seconds=0.5))
    assert wait_until(lambda: "has no pods" in log.text)
    launcher.wait_for_polls()
    launcher.end(COMPLETE)
    assert log.text.count("has no pods") == 1
    assert f"job {request.name} has no pods: {wanted}\n" in log.text


@pytest.mark.parametrize("status", [0, 429, 500, 503, 504])
def test_an_outage_of_the_server_is_waited_out(plane, launch, status, log):
    plane.core.faults.extend([("trainjobs", status)] * 3)
    launcher = launch()
    assert wait_until(lambda: not plane.core.faults)
    launcher.wait_for_polls()
    plane.core.faults.extend([("pods", status), ("trainjobs", status)])
    launcher.wait_for_polls()
    launcher.end(COMPLETE)
    assert log.text.count("the Kubernetes API fails, retrying") == 3


@pytest.mark.parametrize("is_deleted", [False, True])
def test_a_killed_server_is_waited_for(plane, launch, is_deleted):
    launcher = launch()
    plane.kill_api()
    assert not launcher.future.done()
    if is_deleted:
        plane.core.faults.extend([("trainjobs", 0)] * 50)
    plane.start_api()
    if is_deleted:
        launcher.delete()
        plane.core.faults.clear()
        launcher.assert_fails(TransientError, "was deleted")
    else:
        launcher.wait_for_polls()
        launcher.end(COMPLETE)


def test_a_server_that_stays_away_ends_the_launcher(plane, launch):
    launcher = launch(timeouts=replace(TIMEOUTS, outage_seconds=0.5))
    plane.core.faults.extend([("trainjobs", 503)] * 1000)
    launcher.assert_fails(TransientError, "does not answer: out of order")


def test_a_job_of_an_earlier_attempt_is_adopted(launch, log):
    first = launch()
    uid = first.job["metadata"]["uid"]
    second = launch(first.request)
    assert wait_until(lambda: submissions(log) == ["adopted", "created"])
    assert second.job["metadata"]["uid"] == uid
    first.end(COMPLETE)
    assert second.future.result(LIMIT) is None
    assert launch(first.request).future.result(LIMIT) is None  # also after the end


def test_a_job_with_another_content_is_refused(launch):
    first = launch()
    message = f"trainjobs.trainer.kubeflow.org {first.request.name} exists"
    launch(replace(first.request, nodes=8)).assert_fails(OwnershipError, message)
    first.end(COMPLETE)


def test_one_of_many_launchers_creates_the_job(launch, log):
    request = make_request()
    launchers = [launch(request, polls=0) for _ in range(8)]
    assert wait_until(lambda: len(submissions(log)) == 8)
    launchers[0].end(COMPLETE)
    assert [launcher.future.result(LIMIT) for launcher in launchers] == [None] * 8
    assert submissions(log) == ["adopted"] * 7 + ["created"]


def test_a_job_that_is_being_deleted_is_not_adopted(plane, launch, log):
    request = make_request()
    manifest = render(request)
    manifest["metadata"]["finalizers"] = ["example.org/slow"]
    old = plane.api.create_namespaced_custom_object(*TRAIN_JOBS, manifest)
    plane.delete(KINDS["TrainJob"], request.name)
    launcher = launch(request)
    assert wait_until(lambda: "waiting for its end" in log.text)
    change = {"metadata": {"finalizers": None}}
    plane.api.patch_namespaced_custom_object(*TRAIN_JOBS, request.name, change)
    assert wait_until(lambda: submissions(log) == ["created"])
    assert launcher.job["metadata"]["uid"] != old["metadata"]["uid"]
    launcher.end(COMPLETE)


def test_every_line_of_rank_0_is_shown_once(plane, launch, log):
    """Through faults, lost and silent connections, equal and unordered stamps, and a restart."""

    def shown():
        return [line for line in log.messages if line.startswith("step")]

    launcher = launch(timeouts=replace(TIMEOUTS, poll_seconds=1))
    written = []
    for restart in ("0", "1"):
        name = f"{launcher.pod()}-{restart}"
        labels = {"jobset.sigs.k8s.io/restart-attempt": restart, MAX_RESTARTS: "3"}
        pod = launcher.add_pod(name=name, **labels)
        launcher.add_pod(1).write("step of another node")
        for fault in (None, 0, 500, "closed", "silent", None):
            if isinstance(fault, int):
                plane.core.faults.extend([("/log", fault)] * 2)
            written += [
                f"step {len(written)}",
                f"step {len(written)} with \x1b and ü",
                "step again",
            ]
            pod.write(*written[-3:])
            if fault == "closed":  # the connection ends, the container does not
                pod.close()
                pod.is_complete = False
            if fault == "silent":
                launcher.wait_for_polls()
            shows_all = partial(lambda count: len(shown()) == count, len(written))
            assert wait_until(shows_all), shown()
        written.append(f"step: the end of {restart}")
        pod.write(written[-1])
        plane.core.end_pod(name, 1 if restart == "0" else 0)
    launcher.end(COMPLETE)
    assert shown() == written
    assert f"job {launcher.request.name}: restart 1 of 3" in log.messages


@pytest.mark.parametrize("has_started", [False, True])
def test_a_pod_that_cannot_start_is_a_warning(plane, launch, log, has_started):
    launcher = launch()
    pod = launcher.pod(1)
    launcher.add_pod(1)
    status = plane.core.pods[pod]["status"]
    unready = {"type": "Ready", "status": "False", "reason": "ContainersNotReady", "message": "-"}
    unscheduled = unready | {"type": "PodScheduled", "reason": "Unschedulable", "message": "no GPU"}
    missing = {"reason": "ImagePullBackOff", "message": "no such image"}
    status["phase"], status["conditions"] = "Pending", [unready]
    if has_started:
        status["containerStatuses"][0]["state"] = {"waiting": missing}
        wanted = f"pod {pod} waits: ImagePullBackOff: no such image"
    else:
        del status["containerStatuses"]
        status["conditions"].append(unscheduled)
        wanted = f"pod {pod} waits: Unschedulable: no GPU"
    assert wait_until(lambda: wanted in log.messages)
    launcher.end(COMPLETE)
    assert [line for line in log.messages if " waits: " in line] == [wanted]


@pytest.mark.parametrize("verb", ["create", "list"])
def test_a_missing_permission_is_named(plane, launch, verb):
    plane.core.allowed = JOB_PERMISSIONS - {(verb, "trainer.kubeflow.org", "trainjobs")}
    launcher = launch(timeouts=replace(TIMEOUTS, outage_seconds=0.5))
    error = launcher.assert_fails(UsageError, f'cannot {verb} resource "trainjobs"')
    assert "(403)" in error
    assert "manifests/README.md" in error


@pytest.mark.parametrize(
    ("granted", "warning"),
    [([], "cannot show the log of job {}: "), (["pods"], "cannot read the log of pod {}-0")],
)
def test_a_job_is_followed_without_permission_for_its_pods(plane, launch, log, granted, warning):
    plane.core.allowed = JOB_PERMISSIONS | {("list", "", resource) for resource in granted}
    launcher = launch()
    launcher.add_pod()
    job = launcher.request.name
    assert wait_until(lambda: warning.format(job) in log.text)
    launcher.wait_for_polls()
    launcher.set_conditions(condition("Failed", "jobset failed"))
    wanted = f"job {job} failed: jobset failed"
    assert launcher.assert_fails(TransientError, wanted) == wanted
    assert log.text.count(warning.format(job)) == 1


def test_a_job_that_the_server_refuses_is_not_repeated(launch):
    error = launch(make_request(name="9-starts-with-a-digit")).assert_fails(UsageError, "RFC 1035")
    assert "manifests/README.md" not in error


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        (
            {"host": "http://127.0.0.1:1"},
            TransientError,
            "at http://127.0.0.1:1 does not answer",
        ),
        ({"host": "https://127.0.0.1:{port}"}, UsageError, "certificate verify failed"),
        (
            {"ssl_ca_cert": "/nowhere", "host": "https://127.0.0.1:{port}"},
            UsageError,
            "No such file",
        ),
        ({"api_key": {"authorization": "Bearer a\nb"}}, TransientError, "token of the launcher"),
    ],
)
def test_a_wrong_configuration_is_explained_without_secrets(plane, change, error, message):
    configuration = plane.configuration()
    for name, value in change.items():
        setattr(configuration, name, value if name == "api_key" else value.format(port=plane.port))
    cluster = Cluster(configuration, NAMESPACE, replace(TIMEOUTS, outage_seconds=0))
    with pytest.raises(error, match=re.escape(message)) as caught:
        cluster.find(KINDS["TrainJob"], "any")
    assert "Bearer" not in str(caught.value)


def test_a_cluster_without_the_operator_is_explained(plane):
    kind = replace(KINDS["TrainJob"], version="v9")
    with pytest.raises(UsageError, match="install Kubeflow Trainer v2"):
        Cluster(plane.configuration(), NAMESPACE, TIMEOUTS).find(kind, "any")


STOPPED = """
import logging
import sys
from kubernetes import client
from ssd_core.errors import SsdError
from ssd_core.launch.cluster import Cluster
from ssd_core.launch.run import run_job
from tests.launch.conftest import make_request
logging.basicConfig(stream=sys.stdout, level="INFO", format="%(message)s")
configuration = client.Configuration()
configuration.host, configuration.proxy = sys.argv[1], None
configuration.api_key = {"authorization": "Bearer launcher"}
try:
    run_job(Cluster(configuration, "team"), make_request(sys.argv[2], name=sys.argv[3]), [])
except SsdError as error:
    print(error)
    sys.exit(error.exit_code)
"""


def stop_launcher(plane, request, number):
    """Start a launcher as a process, stop it while it follows its job, and return its output."""
    with subprocess.Popen(
        [sys.executable, "-c", STOPPED, plane.core.url, request.placement.job.kind, request.name],
        stdout=subprocess.PIPE, text=True, env=os.environ | {"PYTHONPATH": "."},
    ) as process:  # fmt: skip
        output = process.stdout.readline()  # created or adopted
        process.send_signal(number)
        output += process.communicate(timeout=LIMIT)[0]
    assert process.returncode == 128 + number
    return output


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_stopped_launcher_deletes_the_job_it_created(plane, number):
    request = make_request()
    output = stop_launcher(plane, request, number)
    assert output.startswith("created ")
    assert f"stopped by {number.name}" in output
    assert plane.find(KINDS["TrainJob"], request.name) is None


def test_a_stopped_launcher_leaves_an_adopted_job(plane, launch):
    launcher = launch()
    creator = launcher.job["metadata"]["annotations"][LAUNCHER]
    assert stop_launcher(plane, launcher.request, signal.SIGTERM).startswith("adopted ")
    assert launcher.job["metadata"]["annotations"][LAUNCHER] == creator
    launcher.end(COMPLETE)
