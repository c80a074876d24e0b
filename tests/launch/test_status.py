"""The pod that is the cause of a failure, and the error that the launcher ends with."""

import pytest

from ssd_core.errors import CrashedError, DataError, TransientError, UsageError
from ssd_core.launch.status import explain_failure

FAILED = {"type": "Failed", "reason": "FailedJobs", "message": "jobset failed"}
EVICTED = {"phase": "Failed", "reason": "Evicted", "message": "The node was low on memory."}


def ended(name, code, *, at=0, message="", reason="Error"):
    end = {"exitCode": code, "reason": reason, "message": message}
    end["finishedAt"] = f"2026-11-20T09:00:{at:02}Z"
    container = {"name": "node", "state": {"terminated": end}}
    status = {"phase": "Failed" if code else "Succeeded", "containerStatuses": [container]}
    return {"metadata": {"name": name}, "status": status}


def restarting(name, code):
    pod = ended(name, code)
    container = pod["status"]["containerStatuses"][0]
    container["lastState"] = container["state"]
    container["state"] = {"waiting": {"reason": "CrashLoopBackOff"}}
    return pod


def explain(*pods, condition=FAILED):
    return explain_failure("train-1", condition, pods, "node")


@pytest.mark.parametrize(
    ("code", "kind"),
    [
        (1, CrashedError),
        (2, UsageError),
        (3, DataError),
        (75, TransientError),
        (76, TransientError),
        (137, TransientError),
        (139, TransientError),
    ],
)
def test_an_exit_code_is_passed_on(code, kind):
    error = explain(ended("node-0", code))
    assert type(error) is kind
    assert error.exit_code == min(code, 75)
    assert str(error) == f"job train-1 failed: pod node-0: Error, exit code {code}"


LOST = "error: lost the others (exit 75)"
WRONG = "error: train.steps must be int, got 2.5 (exit 2)\nerror: stopped by SIGTERM (exit 143)"
TAKEN = "error: attempt 2 has taken over (exit 76)"
DAMAGED = "error: train-00003.arrow is damaged (exit 3)"


@pytest.mark.parametrize(
    ("pods", "code", "reason"),
    [
        pytest.param(
            [ended("node-0", 1, message=WRONG)],
            2,
            "pod node-0: train.steps must be int, got 2.5",
            id="the termination message overrides the exit code",
        ),
        pytest.param(
            [ended("node-0", 76, at=9, message=TAKEN), ended("node-1", 75, at=8, message=LOST)],
            75,
            "pod node-0: attempt 2 has taken over",
            id="a training that another one has taken over is the cause",
        ),
        pytest.param(
            [
                ended("node-0", 75, at=9, message=LOST),
                ended("node-1", 137, at=8, reason="OOMKilled"),
                ended("node-2", 0, at=1),
            ],
            75,
            "pod node-1: OOMKilled, exit code 137",
            id="the first failure is the cause",
        ),
        pytest.param(
            [ended("node-0", 75, message=LOST), ended("node-1", 137, reason="OOMKilled")],
            75,
            "pod node-1: OOMKilled, exit code 137",
            id="of simultaneous failures a consequence is not the cause",
        ),
        pytest.param(
            [ended("node-0", 75, at=1), ended("node-1", 1, at=2, message=DAMAGED)],
            3,
            "pod node-1: train-00003.arrow is damaged",
            id="wrong data is the cause even if it ends later, as clocks differ",
        ),
        pytest.param(
            [{"metadata": {"name": "node-1"}, "status": EVICTED}],
            75,
            "pod node-1: Evicted: The node was low on memory.",
            id="an evicted pod has no container status",
        ),
        pytest.param(
            [restarting("node-0", 3)],
            3,
            "pod node-0: Error, exit code 3",
            id="a container that waits for a restart has failed",
        ),
        pytest.param([], 75, "jobset failed", id="without pods the condition is the reason"),
    ],
)
def test_one_pod_is_the_cause(pods, code, reason):
    error = explain(*pods)
    assert (error.exit_code, str(error)) == (code, f"job train-1 failed: {reason}")


@pytest.mark.parametrize(
    ("reason", "message"),
    [
        ("DeadlineExceeded", "too long"),
        ("JobFailed", "Job was active longer than specified deadline"),
    ],
)
def test_a_deadline_is_not_the_failure_of_a_pod(reason, message):
    condition = {"type": "Failed", "reason": reason, "message": message}
    error = explain(ended("node-0", 137), condition=condition)
    assert error.exit_code == 75
    assert "reached its deadline" in str(error)
