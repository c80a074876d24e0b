"""The real, unmodified `kfp.Client`: users may compile with us and submit with it."""

from collections.abc import Iterator
from pathlib import Path

import kfp
import pytest

from tests.pipelines.cluster.kfp_server import KfpServer
from tests.pipelines.conftest import BENCHMARK, TRAINING, Command


@pytest.fixture
def client(
    kfp_server: KfpServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[kfp.Client]:
    """Return a client that ignores the settings of the current user."""
    monkeypatch.setattr(kfp.Client, "_LOCAL_KFP_CONTEXT", str(tmp_path / "context.json"))
    with pytest.warns(FutureWarning, match="only works with Kubeflow Pipeline"):
        yield kfp.Client(host=kfp_server.endpoint)


def test_it_submits_our_compiled_pipeline(
    pipelines: Command, client: kfp.Client, kfp_server: KfpServer
) -> None:
    pipelines.lines("compile", "training", "--placement=torch-cuda", "-o", "training.yaml")
    arguments = {
        "recipe": "ssd300_vgg16",
        "dataset": "s3://photos/coco",
        "data_root": "s3://detectors",
    }
    made = client.create_run_from_pipeline_package("training.yaml", arguments=arguments)
    assert client.wait_for_run_completion(made.run_id, timeout=60, sleep_duration=0).state == (
        "SUCCEEDED"
    )
    assert pipelines.lines("status", made.run_id)[0].endswith(" · succeeded")
    pipelines.lines("submit", *TRAINING)
    first, second = (run.content["pipeline_spec"] for run in kfp_server.runs.values())
    assert first == second


def test_it_lists_and_terminates_our_runs(pipelines: Command, client: kfp.Client) -> None:
    run = pipelines.lines("submit", *TRAINING)[0]
    assert [each.run_id for each in client.list_runs().runs] == [run]
    client.terminate_run(run)
    pipelines.fails(75, "wait", run, "--interval=0.01")


def test_it_lists_our_schedules(pipelines: Command, client: kfp.Client) -> None:
    pipelines.lines("schedule", "nightly", "--cron=0 0 3 * * *", *BENCHMARK)
    (found,) = client.list_recurring_runs().recurring_runs
    assert found.trigger.cron_schedule.cron == "0 0 3 * * *"
    client.disable_recurring_run(found.recurring_run_id)
    assert pipelines.lines("schedule", "list")[0].endswith("disabled")
    client.delete_recurring_run(found.recurring_run_id)
    assert pipelines.lines("schedule", "list") == []
