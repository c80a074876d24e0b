"""The pod that is the cause of a failure, and the error that the launcher ends with."""

from typing import Any

import pytest

from ssd_core.errors import CrashedError, DataError, SsdError, SurroundingsError, UsageError
from ssd_core.launch.status import explain_failure

FAILED = {"type": "Failed", "reason": "FailedJobs", "message": "jobset failed"}


def ended(name: str, code: int, *, at: int = 0, message: str = "", reason: str = "Error") -> Any:
    end = {"exitCode": code, "reason": reason, "message": message}
    end["finishedAt"] = f"2026-11-20T09:00:{at:02}Z"
    return {
        "metadata": {"name": name},
        "status": {
            "phase": "Failed" if code else "Succeeded",
            "containerStatuses": [{"name": "node", "state": {"terminated": end}}],
        },
    }


def explain(*pods: Any, condition: Any = FAILED) -> SsdError:
    return explain_failure("train-1", condition, pods, "node")


@pytest.mark.parametrize(
    ("code", "kind"),
    [
        (1, CrashedError),
        (2, UsageError),
        (3, DataError),
        (75, SurroundingsError),
        (137, SurroundingsError),
        (139, SurroundingsError),
    ],
)
def test_an_exit_code_passes_through(code: int, kind: type[SsdError]) -> None:
    error = explain(ended("node-0", code))
    assert type(error) is kind
    assert error.exit_code == (code if code < 128 else 75)
    assert str(error) == f"job train-1 failed: pod node-0: Error, exit code {code}"


def test_the_termination_message_overrides_the_exit_code() -> None:
    words = "error: train.steps must be int, got 2.5 (exit 2)\nerror: stopped by SIGTERM (exit 143)"
    error = explain(ended("node-0", 1, message=words))
    assert error.exit_code == 2
    assert str(error) == "job train-1 failed: pod node-0: train.steps must be int, got 2.5"


def test_the_pod_that_failed_first_is_the_cause() -> None:
    error = explain(
        ended("node-0", 75, at=9, message="error: lost the others (exit 75)"),
        ended("node-1", 137, at=8, reason="OOMKilled"),
        ended("node-2", 0, at=1),
    )
    assert str(error) == "job train-1 failed: pod node-1: OOMKilled, exit code 137"


def test_of_pods_that_ended_together_a_consequence_is_not_the_cause() -> None:
    error = explain(
        ended("node-0", 75, message="error: lost the others (exit 75)"),
        ended("node-1", 137, reason="OOMKilled"),
    )
    assert "node-1: OOMKilled" in str(error)


def test_wrong_data_is_the_cause_of_earlier_failures() -> None:
    """The clocks of nodes differ."""
    error = explain(
        ended("node-0", 75, at=1),
        ended("node-1", 1, at=2, message="error: train-00003.arrow is damaged (exit 3)"),
    )
    assert (error.exit_code, "train-00003.arrow is damaged" in str(error)) == (3, True)


def test_an_evicted_pod_has_no_container_status() -> None:
    status = {"phase": "Failed", "reason": "Evicted", "message": "The node was low on memory."}
    error = explain({"metadata": {"name": "node-1"}, "status": status})
    assert error.exit_code == 75
    assert str(error).endswith("pod node-1: Evicted: The node was low on memory.")


def test_a_container_that_waits_for_a_restart_has_failed() -> None:
    pod = ended("node-0", 3)
    entry = pod["status"]["containerStatuses"][0]
    entry["lastState"], entry["state"] = entry["state"], {"waiting": {"reason": "CrashLoopBackOff"}}
    assert explain(pod).exit_code == 3


def test_without_pods_the_condition_is_the_reason() -> None:
    assert str(explain()) == "job train-1 failed: jobset failed"


@pytest.mark.parametrize(
    "condition",
    [
        {"type": "Failed", "reason": "DeadlineExceeded", "message": "too long"},
        {
            "type": "Failed",
            "reason": "JobFailed",
            "message": "Job was active longer than specified deadline",
        },
    ],
)
def test_a_deadline_is_not_the_failure_of_a_pod(condition: Any) -> None:
    error = explain(ended("node-0", 137), condition=condition)
    assert error.exit_code == 75
    assert "reached its deadline" in str(error)
