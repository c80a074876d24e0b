"""The launcher on a real API server: jobs that succeed, fail, vanish, and a server that dies."""

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from ssd_core.errors import (
    DataError,
    OwnershipError,
    SsdError,
    SurroundingsError,
    UsageError,
)
from ssd_core.launch.cluster import Cluster
from ssd_core.launch.job import LAUNCHER as MAKER
from ssd_core.launch.job import Job
from ssd_core.launch.kinds import KINDS
from ssd_core.logs import logger
from tests.launch.api_server import ControlPlane, condition, set_conditions
from tests.launch.conftest import OWNERS, PATIENCE, make_job, open_cluster
from tests.launch.core_server import ADMIN, NAMESPACE
from tests.store.s3_servers import wait_until

Launch = Callable[..., Future[None]]
LIMIT = 60
"""Seconds; so that nothing hangs."""


def find(plane: ControlPlane, job: Job) -> Any:
    found, _ = Cluster(plane.configuration(ADMIN), NAMESPACE).find(KINDS[job.spec.kind], job.name)
    return found


def delete(plane: ControlPlane, job: Job) -> None:
    plane.delete(KINDS[job.spec.kind], job.name)


def end(plane: ControlPlane, job: Job, *conditions: Any) -> None:
    set_conditions(plane, KINDS[job.spec.kind], job.name, *conditions)


def succeed(plane: ControlPlane, job: Job, launched: Future[None]) -> None:
    plane.core.end_pod(f"{job.name}-0", 0)
    end(plane, job, condition("Complete"))
    assert launched.result(LIMIT) is None


def wait_for_watch(plane: ControlPlane, count: int = 1) -> None:
    assert wait_until(lambda: plane.core.watches >= count)


def add_pod(plane: ControlPlane, job: Job, node: int = 0) -> Any:
    kind = KINDS[job.spec.kind]
    labels = dict(pair.split("=") for pair in kind.node_zero.format(name=job.name).split(","))
    index = "batch.kubernetes.io/job-completion-index"
    labels = {
        name: str(node) if name in {index, "ssd-on-kubeflow/node"} else value
        for name, value in labels.items()
    }
    return plane.core.add_pod(f"{job.name}-{node}", labels, kind.container)


def error_of(launched: Future[None]) -> SsdError:
    error = launched.exception(LIMIT)
    assert isinstance(error, SsdError), error
    assert "\n" not in str(error)
    return error


@pytest.fixture
def shown(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What the launcher logs."""
    lines: list[str] = []
    monkeypatch.setattr(logger, "info", lambda text, *words: lines.append(text % words))
    monkeypatch.setattr(logger, "warning", lambda text, *words: lines.append(text % words))
    return lines


@pytest.mark.parametrize(("kind", "done"), [("TrainJob", "Complete"), ("AscendJob", "Succeeded")])
def test_a_job_succeeds(plane: ControlPlane, launch: Launch, kind: str, done: str) -> None:
    job = make_job(kind)
    launched = launch(job)
    wait_for_watch(plane)
    made = find(plane, job)
    assert made["metadata"]["ownerReferences"] == OWNERS
    assert not launched.done()
    end(plane, job, condition("Created"), condition(done))
    assert launched.result(LIMIT) is None
    assert find(plane, job) is not None


@pytest.mark.parametrize("kind", ["TrainJob", "AscendJob"])
def test_a_job_fails_with_the_reason_of_its_pod(
    plane: ControlPlane, launch: Launch, kind: str
) -> None:
    job = make_job(kind)
    launched = launch(job)
    wait_for_watch(plane)
    for node, (code, words) in enumerate([(75, "lost a worker"), (3, "a shard is damaged")]):
        add_pod(plane, job, node)
        message = f"error: {words} (exit {code})\n"
        plane.core.end_pod(f"{job.name}-{node}", 1, message=message)
    end(plane, job, condition("Failed", "a pod failed"))
    error = error_of(launched)
    assert type(error) is DataError
    assert str(error) == f"job {job.name} failed: pod {job.name}-1: a shard is damaged"
    assert find(plane, job) is not None


def test_a_job_reaches_its_deadline(plane: ControlPlane, launch: Launch) -> None:
    job = make_job()
    launched = launch(job)
    wait_for_watch(plane)
    end(plane, job, condition("Failed", "ran too long", reason="DeadlineExceeded"))
    assert "reached its deadline" in str(error_of(launched))
    assert error_of(launched).exit_code == 75


def test_a_job_is_deleted(plane: ControlPlane, launch: Launch) -> None:
    job = make_job()
    launched = launch(job)
    wait_for_watch(plane)
    delete(plane, job)
    error = error_of(launched)
    assert type(error) is SurroundingsError
    assert str(error) == f"job {job.name} was deleted before its end; a rerun continues"


def test_a_job_is_replaced_by_another(plane: ControlPlane, launch: Launch) -> None:
    """Between two watches nobody hears of the deletion, only the uid tells."""
    job = make_job()
    launched = launch(job, replace(PATIENCE, watch_seconds=1))
    wait_for_watch(plane)
    plane.core.faults.extend([(job.spec.kind.lower() + "s", 503)] * 3)
    delete(plane, job)
    plane.api.create_namespaced_custom_object(
        "trainer.kubeflow.org", "v1alpha1", NAMESPACE, "trainjobs",
        KINDS["TrainJob"].render(job),
    )  # fmt: skip
    assert "was deleted" in str(error_of(launched))


def test_a_suspended_job_ends_the_launcher(plane: ControlPlane, launch: Launch) -> None:
    job = make_job()
    launched = launch(job)
    wait_for_watch(plane)
    end(plane, job, condition("Suspended", is_true=False, reason="Resumed"))
    end(plane, job, condition("Suspended"))
    error = error_of(launched)
    assert type(error) is SurroundingsError
    assert "is suspended" in str(error)
    assert find(plane, job) is not None


def test_a_queue_may_suspend_a_job(plane: ControlPlane, launch: Launch) -> None:
    labels = {"kueue.x-k8s.io/queue-name": "gpus"}
    job = make_job()
    job = replace(job, spec=job.spec.model_copy(update={"labels": labels}))
    launched = launch(job, replace(PATIENCE, watch_seconds=1))
    wait_for_watch(plane)
    end(plane, job, condition("Suspended"))
    wait_for_watch(plane, plane.core.watches + 2)
    assert not launched.done()
    end(plane, job, condition("Suspended", is_true=False), condition("Complete"))
    assert launched.result(LIMIT) is None


def test_a_watch_that_times_out_is_followed_by_another(plane: ControlPlane, launch: Launch) -> None:
    job = make_job()
    launched = launch(job, replace(PATIENCE, watch_seconds=1))
    wait_for_watch(plane, 3)
    end(plane, job, condition("Complete"))
    assert launched.result(LIMIT) is None


@pytest.mark.parametrize("status", [0, 410, 429, 500, 503, 504])
def test_trouble_of_the_server_is_waited_out(
    plane: ControlPlane, launch: Launch, status: int
) -> None:
    job = make_job()
    place = "watch=True" if status == 410 else "trainjobs"
    plane.core.faults.extend([(place, status)] * 3)
    launched = launch(job, replace(PATIENCE, watch_seconds=1))
    wait_for_watch(plane)
    assert not plane.core.faults
    end(plane, job, condition("Complete"))
    assert launched.result(LIMIT) is None


def test_a_version_that_is_gone_ends_a_watch(plane: ControlPlane) -> None:
    """A server that has just started remembers nothing of before."""
    plane.kill_api()
    plane.start_api()
    assert list(open_cluster(plane).watch(KINDS["TrainJob"], "any", "1")) == []


def test_a_killed_server_is_waited_for(plane: ControlPlane, launch: Launch) -> None:
    job = make_job()
    launched = launch(job)
    wait_for_watch(plane)
    plane.kill_api()
    assert not launched.done()
    plane.start_api()
    wait_for_watch(plane, 2)
    end(plane, job, condition("Complete"))
    assert launched.result(LIMIT) is None


def test_what_happens_while_the_server_is_away_is_noticed(
    plane: ControlPlane, launch: Launch
) -> None:
    job = make_job()
    launched = launch(job)
    wait_for_watch(plane)
    plane.core.faults.extend([("trainjobs", 0)] * 15)
    plane.kill_api()
    plane.start_api()
    delete(plane, job)
    assert "was deleted" in str(error_of(launched))


def test_a_server_that_stays_away_ends_the_launcher(plane: ControlPlane, launch: Launch) -> None:
    job = make_job()
    launched = launch(job, replace(PATIENCE, watch_seconds=1, budget_seconds=0.5))
    wait_for_watch(plane)
    plane.core.faults.extend([("trainjobs", 503)] * 1000)
    error = error_of(launched)
    assert type(error) is SurroundingsError
    assert "does not answer: out of order" in str(error)


def test_a_job_of_an_earlier_attempt_is_adopted(
    plane: ControlPlane, launch: Launch, shown: list[str]
) -> None:
    job = make_job()
    first = launch(job)
    wait_for_watch(plane)
    uid = find(plane, job)["metadata"]["uid"]
    second = launch(job)
    wait_for_watch(plane, 2)
    assert find(plane, job)["metadata"]["uid"] == uid
    end(plane, job, condition("Complete"))
    assert (first.result(LIMIT), second.result(LIMIT)) == (None, None)
    assert sorted(line.partition(" ")[0] for line in shown if "trainjobs." in line) == [
        "adopted",
        "created",
    ]
    assert launch(job).result(LIMIT) is None  # one more attempt, after the end


def test_a_job_that_asks_for_something_else_is_refused(plane: ControlPlane, launch: Launch) -> None:
    job = make_job()
    first = launch(job)
    wait_for_watch(plane)
    error = error_of(launch(replace(job, nodes=8)))
    assert type(error) is OwnershipError
    assert f"trainjobs.trainer.kubeflow.org {job.name} exists" in str(error)
    end(plane, job, condition("Complete"))
    assert first.result(LIMIT) is None


def test_of_racing_launchers_one_makes_the_job(
    plane: ControlPlane, launch: Launch, shown: list[str]
) -> None:
    job = make_job()
    launched = [launch(job) for _ in range(8)]
    wait_for_watch(plane, 8)
    end(plane, job, condition("Complete"))
    assert [future.result(LIMIT) for future in launched] == [None] * 8
    words = [line.partition(" ")[0] for line in shown if "trainjobs." in line]
    assert (words.count("created"), words.count("adopted")) == (1, 7)


def test_a_job_that_is_being_deleted_is_not_adopted(
    plane: ControlPlane, launch: Launch, shown: list[str]
) -> None:
    job = make_job()
    manifest = KINDS["TrainJob"].render(job)
    manifest["metadata"]["finalizers"] = ["example.org/slow"]
    place = ("trainer.kubeflow.org", "v1alpha1", NAMESPACE, "trainjobs")
    old = plane.api.create_namespaced_custom_object(*place, manifest)
    delete(plane, job)
    launched = launch(job)
    assert wait_until(lambda: any("waiting for its end" in line for line in shown))
    plane.api.patch_namespaced_custom_object(*place, job.name, {"metadata": {"finalizers": None}})
    wait_for_watch(plane)
    assert find(plane, job)["metadata"]["uid"] != old["metadata"]["uid"]
    end(plane, job, condition("Complete"))
    assert launched.result(LIMIT) is None


def test_the_log_of_rank_0_is_shown_to_its_end(
    plane: ControlPlane, launch: Launch, shown: list[str]
) -> None:
    job = make_job()
    launched = launch(job)
    log = add_pod(plane, job)
    add_pod(plane, job, node=1).write("another node")
    log.write("step 1", "step 2")
    assert wait_until(lambda: "step 2" in shown)
    plane.core.faults.append(("/log", 500))
    log.write("step 3")
    assert wait_until(lambda: "step 3" in shown)
    log.write("the end")
    plane.core.end_pod(f"{job.name}-0", 0)
    end(plane, job, condition("Complete"))
    assert launched.result(LIMIT) is None
    lines = [line for line in shown if line.startswith(("step", "the end", "another"))]
    assert lines == ["step 1", "step 2", "step 3", "the end"]


def test_a_log_that_breaks_off_goes_on_where_it_was(
    plane: ControlPlane, launch: Launch, shown: list[str]
) -> None:
    job = make_job()
    launched = launch(job)
    log = add_pod(plane, job)
    log.write("step 1")
    assert wait_until(lambda: "step 1" in shown)
    log.close()  # the connection ends, the container does not
    log.is_complete = False
    log.write("step 2")
    assert wait_until(lambda: "step 2" in shown)
    succeed(plane, job, launched)
    assert [line for line in shown if line.startswith("step")] == ["step 1", "step 2"]


def test_a_log_that_is_silent_for_long_is_asked_for_again(
    plane: ControlPlane, launch: Launch, shown: list[str]
) -> None:
    """A connection to a node that is gone says nothing, not even that it is dead."""
    job = make_job()
    launched = launch(job, replace(PATIENCE, request_seconds=2, watch_seconds=1))
    log = add_pod(plane, job)
    log.write("step 1")
    assert wait_until(lambda: "step 1" in shown)
    plane.core.faults.append(("/log", 500))
    assert wait_until(lambda: not plane.core.faults)
    log.write("step 2")
    assert wait_until(lambda: "step 2" in shown)
    succeed(plane, job, launched)
    assert [line for line in shown if line.startswith("step")] == ["step 1", "step 2"]


def test_a_pod_that_cannot_start_says_why(
    plane: ControlPlane, launch: Launch, shown: list[str]
) -> None:
    job = make_job()
    launched = launch(job)
    add_pod(plane, job)
    reason = {"reason": "ImagePullBackOff", "message": "no such image"}
    status = plane.core.pods[f"{job.name}-0"]["status"]
    status["containerStatuses"][0]["state"] = {"waiting": reason}
    status["phase"] = "Pending"
    wanted = f"pod {job.name}-0 waits: ImagePullBackOff: no such image"
    assert wait_until(lambda: wanted in shown)
    end(plane, job, condition("Complete"))
    assert launched.result(LIMIT) is None
    assert shown.count(wanted) == 1


@pytest.mark.parametrize("verb", ["create", "list"])
def test_a_missing_permission_is_named(plane: ControlPlane, launch: Launch, verb: str) -> None:
    plane.core.allowed = {
        (other, "trainer.kubeflow.org", "trainjobs")
        for other in ("create", "list")
        if other != verb
    }
    error = error_of(launch(make_job(), replace(PATIENCE, budget_seconds=0.5)))
    assert type(error) is UsageError
    assert "(403)" in str(error)
    assert f'cannot {verb} resource "trainjobs"' in str(error)
    assert "manifests/README.md" in str(error)


def test_without_a_right_on_pods_the_job_tells_the_reason(
    plane: ControlPlane, launch: Launch, shown: list[str]
) -> None:
    verbs = ("create", "list", "watch")
    plane.core.allowed = {(verb, "trainer.kubeflow.org", "trainjobs") for verb in verbs}
    job = make_job()
    launched = launch(job)
    wait_for_watch(plane)
    end(plane, job, condition("Failed", "jobset failed"))
    error = error_of(launched)
    assert str(error) == f"job {job.name} failed: jobset failed"
    assert any(line.startswith(f"cannot show the log of {job.name}: ") for line in shown)
    assert any(line.startswith(f"cannot see the pods of {job.name}: ") for line in shown)


def test_a_cluster_without_the_operator_is_named(plane: ControlPlane) -> None:
    kind = replace(KINDS["TrainJob"], version="v9")
    with pytest.raises(UsageError, match="Kubeflow Trainer v2 must be installed"):
        open_cluster(plane).find(kind, "any")


def test_a_job_that_the_server_refuses_is_not_repeated(plane: ControlPlane, launch: Launch) -> None:
    error = error_of(launch(make_job(name="9-starts-with-a-digit")))
    assert type(error) is UsageError
    assert "RFC 1035" in str(error)


def test_a_cluster_that_is_not_there(plane: ControlPlane) -> None:
    configuration = plane.configuration()
    configuration.host = "http://127.0.0.1:1"
    cluster = Cluster(configuration, NAMESPACE, replace(PATIENCE, budget_seconds=0))
    with pytest.raises(SurroundingsError, match=r"the Kubernetes API at http://127\.0\.0\.1:1 "):
        cluster.find(KINDS["TrainJob"], "any")


def test_a_certificate_that_is_not_trusted_is_no_trouble_that_passes(
    plane: ControlPlane, tmp_path: Path
) -> None:
    configuration = plane.configuration()
    configuration.host = f"https://127.0.0.1:{plane.port}"
    with pytest.raises(UsageError, match="certificate verify failed"):
        Cluster(configuration, NAMESPACE).find(KINDS["TrainJob"], "any")
    configuration.ssl_ca_cert = str(tmp_path / "nowhere.pem")
    with pytest.raises(UsageError, match="No such file"):
        Cluster(configuration, NAMESPACE).find(KINDS["TrainJob"], "any")


STOPPED = """
import sys
from kubernetes import client
from ssd_core.errors import SsdError
from ssd_core.launch.cluster import Cluster
from ssd_core.launch.run import run_job
from tests.launch.conftest import make_job
configuration = client.Configuration()
configuration.host, configuration.proxy = sys.argv[1], None
configuration.api_key = {"authorization": "Bearer launcher"}
try:
    run_job(Cluster(configuration, "team"), make_job(sys.argv[2], name=sys.argv[3]), [])
except SsdError as error:
    print(error)
    sys.exit(error.exit_code)
"""


def start_process(plane: ControlPlane, job: Job) -> "subprocess.Popen[str]":
    return subprocess.Popen(
        [sys.executable, "-c", STOPPED, plane.core.url, job.spec.kind, job.name],
        stdout=subprocess.PIPE, text=True, env=os.environ | {"PYTHONPATH": "."},
    )  # fmt: skip


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_stopped_launcher_deletes_the_job_it_made(
    plane: ControlPlane, number: signal.Signals
) -> None:
    job = make_job()
    with start_process(plane, job) as process:
        wait_for_watch(plane)
        process.send_signal(number)
        output, _ = process.communicate(timeout=LIMIT)
    assert process.returncode == 128 + number
    assert f"stopped by {number.name}" in output
    assert find(plane, job) is None


def test_a_stopped_launcher_leaves_the_job_of_another(plane: ControlPlane, launch: Launch) -> None:
    job = make_job()
    launched = launch(job)
    wait_for_watch(plane)
    maker = find(plane, job)["metadata"]["annotations"][MAKER]
    with start_process(plane, job) as process:
        wait_for_watch(plane, 2)
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=LIMIT)
    assert process.returncode == 143
    assert find(plane, job)["metadata"]["annotations"][MAKER] == maker
    end(plane, job, condition("Complete"))
    assert launched.result(LIMIT) is None


def test_no_thread_is_left(plane: ControlPlane, launch: Launch) -> None:
    job = make_job()
    launched = launch(job)
    wait_for_watch(plane)
    end(plane, job, condition("Complete"))
    assert launched.result(LIMIT) is None
    assert wait_until(lambda: not any("_show" in thread.name for thread in threading.enumerate()))
