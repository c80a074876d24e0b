"""Schedules: created, replaced, listed, removed."""

import re
from collections.abc import Sequence
from typing import Any

import pytest

from tests.pipelines.cluster.kfp_server import Fault, KfpServer
from tests.pipelines.conftest import BENCHMARK, TRAINING, Command

NIGHTLY = ("schedule", "nightly", "--cron=0 0 3 * * *", *BENCHMARK)
LATER = ("schedule", "nightly", "--cron=0 30 4 * * *", *BENCHMARK)


def crons(server: KfpServer) -> Sequence[str]:
    return [made["trigger"]["cron_schedule"]["cron"] for made in server.recurring_runs.values()]


def test_schedule_runs_one_at_a_time_without_cache(
    pipelines: Command, kfp_server: KfpServer
) -> None:
    times, url = pipelines.lines(*NIGHTLY)
    ((schedule_id, made),) = kfp_server.recurring_runs.items()
    assert re.fullmatch(r"nightly: benchmark at (\d{4}-\d\d-\d\d 03:00:00(, |$)){3}", times)
    assert url == f"{kfp_server.endpoint}/#/recurringrun/details/{schedule_id}"
    assert made["display_name"] == "nightly"
    assert made["trigger"] == {"cron_schedule": {"cron": "0 0 3 * * *"}}
    assert (made["max_concurrency"], made["no_catchup"], made["status"]) == ("1", True, "ENABLED")
    assert made["runtime_config"]["parameters"] == {
        "model": "s3://detectors/models/blood/1",
        "series": "blood-on-h100",
        "data_root": "s3://detectors",
        "overrides": [],
    }
    tasks = made["pipeline_spec"]["pipeline_spec"]["root"]["dag"]["tasks"]
    assert {name: task["cachingOptions"] for name, task in tasks.items()} == {
        "fetch-model": {},
        "resolve-config": {},
        "benchmark": {},
    }


def test_replacement_creates_the_new_schedule_first(
    pipelines: Command, kfp_server: KfpServer
) -> None:
    pipelines.lines("schedule", "weekly", "--cron=0 0 3 * * sun", *BENCHMARK)
    pipelines.lines(*NIGHTLY)
    kfp_server.requests.clear()
    pipelines.lines(*LATER)
    assert sorted(crons(kfp_server)) == ["0 0 3 * * sun", "0 30 4 * * *"]
    changes = [words.split("/")[0] for words in kfp_server.requests if words[:4] != "GET "]
    assert changes == ["POST ", "POST ", "DELETE "]
    assert kfp_server.requests[-3].endswith(":disable")


def start_run(server: KfpServer) -> str:
    """Return the run that the only schedule has started, and that is running."""
    server.history = ("RUNNING", "RUNNING", "SUCCEEDED")
    return server.start_scheduled(next(iter(server.recurring_runs)))


def test_removal_spares_an_active_run(pipelines: Command, kfp_server: KfpServer) -> None:
    """A real server would kill its workflow, and its state would stay RUNNING."""
    pipelines.lines(*NIGHTLY)
    pipelines.lines("submit", *TRAINING)
    run = start_run(kfp_server)
    message = pipelines.fails(75, "schedule", "remove", "nightly")
    assert message == (
        f"'nightly' is disabled, but its run {run} would be killed with it; when that is over, "
        "run: python -m pipelines schedule remove nightly"
    )
    assert pipelines.lines("schedule", "list")[0].endswith("\tdisabled")
    assert pipelines.lines("wait", run, "--interval=0.01")[-1] == "succeeded"
    assert pipelines.lines("schedule", "remove", "nightly") == ["nightly is removed"]
    assert kfp_server.recurring_runs == {}


def test_replacement_spares_an_active_run(pipelines: Command, kfp_server: KfpServer) -> None:
    pipelines.lines(*NIGHTLY)
    run = start_run(kfp_server)
    code, _, err = pipelines(*LATER)
    assert code == 0
    assert f"is disabled and stays until its run {run} is over" in err
    older, newer = (line.split("\t") for line in pipelines.lines("schedule", "list"))
    assert (older[1], older[3]) == ("0 0 3 * * *", "disabled")
    assert (newer[1], newer[3]) == ("0 30 4 * * *", "enabled")
    assert pipelines.lines("wait", run, "--interval=0.01")[-1] == "succeeded"
    pipelines.lines(*LATER)
    assert crons(kfp_server) == ["0 30 4 * * *"]


def test_failing_server_leaves_the_old_schedule(pipelines: Command, kfp_server: KfpServer) -> None:
    pipelines.lines(*NIGHTLY)
    kfp_server.faults.append(Fault(503, after="POST /recurringruns"))
    pipelines.fails(75, *LATER)
    assert crons(kfp_server) == ["0 0 3 * * *"]


def test_leftover_schedule_is_removed_by_the_same_command(
    pipelines: Command, kfp_server: KfpServer
) -> None:
    pipelines.lines(*NIGHTLY)
    kfp_server.faults.append(Fault(503, after="DELETE /recurringruns"))
    message = pipelines.fails(75, *LATER)
    assert message.endswith("but an older one is still active; the same command removes it")
    assert crons(kfp_server) == ["0 0 3 * * *", "0 30 4 * * *"]
    pipelines.lines(*LATER)
    assert crons(kfp_server) == ["0 30 4 * * *"]


def test_lost_answer_leaves_no_second_schedule(pipelines: Command, kfp_server: KfpServer) -> None:
    kfp_server.faults.append(Fault(is_done=True, is_silent=True, after="POST /recurringruns"))
    pipelines.fails(75, *NIGHTLY, "--timeout=0.5")
    pipelines.lines(*NIGHTLY)
    assert crons(kfp_server) == ["0 0 3 * * *"]


def test_list_includes_foreign_schedules(pipelines: Command, kfp_server: KfpServer) -> None:
    assert pipelines.lines("schedule", "list") == []
    pipelines.lines(*NIGHTLY)
    foreign: dict[str, Any] = {
        "recurring_run_id": "1",
        "display_name": "a",
        "experiment_id": "2",
        "status": "DISABLED",
        "pipeline_version_reference": {"pipeline_id": "3"},
        "trigger": {"periodic_schedule": {"interval_second": "60"}},
    }
    kfp_server.recurring_runs["1"] = foreign
    assert [line.split("\t") for line in pipelines.lines("schedule", "list")] == [
        ["a", "", "", "disabled"],
        ["nightly", "0 0 3 * * *", "benchmark", "enabled"],
    ]


def test_schedule_is_found_among_many_pages(pipelines: Command, kfp_server: KfpServer) -> None:
    for number in range(230):
        name = str(number)
        other = {"recurring_run_id": name, "display_name": f"other-{name}", "status": "ENABLED"}
        kfp_server.recurring_runs[name] = other
    pipelines.lines(*NIGHTLY)
    assert len(pipelines.lines("schedule", "list")) == 231
    pipelines.lines(*LATER)
    assert len(kfp_server.recurring_runs) == 231
    assert pipelines.lines("schedule", "remove", "nightly") == ["nightly is removed"]
    assert len(kfp_server.recurring_runs) == 230


def test_unknown_schedule(pipelines: Command) -> None:
    pipelines.lines(*NIGHTLY)
    message = pipelines.fails(2, "schedule", "remove", "nightyl")
    assert message == "unknown schedule 'nightyl'; did you mean 'nightly'?"


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--cron=0 3 * * *"], "has five fields; expected six fields: second minute hour"),
        (["--pipeline=benchmrk"], "unknown pipeline 'benchmrk'; did you mean 'benchmark'?"),
        (["--model=out/model"], "--model out/model: a cluster cannot read it"),
        (["--recipe=demo"], "the pipeline 'benchmark' does not take --recipe"),
    ],
)
def test_wrong_options_are_refused_before_any_request(
    pipelines: Command, kfp_server: KfpServer, words: list[str], message: str
) -> None:
    assert message in pipelines.fails(2, *NIGHTLY, *words)
    assert kfp_server.requests == []


def test_bare_verb_prints_its_help(pipelines: Command) -> None:
    code, out, _ = pipelines("schedule")
    assert code == 2
    for word in ("create", "list", "remove", "Example"):
        assert word in out
