"""Submitting a pipeline, and following its run."""

import json
import queue
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from ssd_core.store.layout import Layout
from ssd_core.training.loop import train
from tests.pipelines.cluster.kfp_server import Fault, KfpServer
from tests.pipelines.conftest import BENCHMARK, TRAINING, Command
from tests.train_logs import read_log
from tests.training.small_run import make_config, make_run

ROOT = Path(__file__).parents[3]
TERMINATED = ("PENDING", "RUNNING", "CANCELING", "FAILED")
QUICK = ("--interval=0.01",)


def submitted(pipelines: Command, *words: str) -> str:
    run, url = pipelines.lines("submit", *(words or TRAINING))
    assert url.endswith(f"/#/runs/details/{run}")
    return run


def only_run(server: KfpServer) -> dict[str, Any]:
    (run,) = server.runs.values()
    return run.content


def test_submission_carries_the_pipeline_and_its_arguments(
    pipelines: Command, kfp_server: KfpServer
) -> None:
    submitted(pipelines, *TRAINING, "--set=train.batch_size=16", "--model-name=blood")
    run = only_run(kfp_server)
    assert run["runtime_config"]["parameters"] == {
        "recipe": "ssd300_vgg16",
        "dataset": "s3://photos/coco",
        "data_root": "s3://detectors",
        "overrides": ["train.batch_size=16"],
        "model_name": "blood",
    }
    compiled = run["pipeline_spec"]["pipeline_spec"]
    executor = compiled["deploymentSpec"]["executors"]["exec-train"]["container"]
    assert executor["resources"]["accelerator"]["resourceType"] == "nvidia.com/gpu"
    kubernetes = run["pipeline_spec"]["platform_spec"]["platforms"]["kubernetes"]
    assert kubernetes["deploymentSpec"]["executors"]["exec-train"]["emptyDirMounts"]
    assert run["display_name"].startswith("training ssd300_vgg16 ")
    (experiment,) = kfp_server.experiments.values()
    assert experiment["display_name"] == "Default"


def test_options_of_a_submission(pipelines: Command, kfp_server: KfpServer) -> None:
    words = (
        "--experiment=nightly",
        "--service-account=trainer",
        "--ui-endpoint=https://ui/pipeline",
    )
    run, url = pipelines.lines("submit", "benchmark", *BENCHMARK[1:], *words)
    assert url == f"https://ui/pipeline/#/runs/details/{run}"
    assert only_run(kfp_server)["service_account"] == "trainer"
    (experiment,) = kfp_server.experiments.values()
    assert experiment["display_name"] == "nightly"
    run = submitted(pipelines, *TRAINING, "--experiment=nightly", "--nodes=4")
    assert len(kfp_server.experiments) == 1
    compiled = kfp_server.runs[run].content["pipeline_spec"]["pipeline_spec"]
    assert "train-distributed" in compiled["root"]["dag"]["tasks"]


def test_the_shares_of_a_conversion_are_a_step(pipelines: Command, tmp_path: Path) -> None:
    (tmp_path / "mine.yaml").write_text(
        "mine: {framework: torch, device: cpu, image: 'x:1', convert_pods: 4}\n"
    )
    words = ("--root=s3://detectors", "--placement=mine", "--placements=mine.yaml")
    run = submitted(pipelines, *TRAINING[:3], *words)
    lines = pipelines.lines("wait", run, "--interval=0.01")
    steps = [line.partition(":")[0] for line in lines if "succeeded after" in line]
    assert steps[:3] == ["resolve_config", "convert_shares", "convert"]


def test_evaluation_is_submitted_with_its_own_parameters(
    pipelines: Command, kfp_server: KfpServer
) -> None:
    model, dataset = "s3://detectors/models/blood/1", "s3://photos/new"
    words = (f"--model={model}", f"--dataset={dataset}", "--root=s3://detectors")
    submitted(pipelines, "evaluation", *words)
    assert only_run(kfp_server)["runtime_config"]["parameters"] == {
        "model": model,
        "dataset": dataset,
        "data_root": "s3://detectors",
        "overrides": [],
    }


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["trainin", *TRAINING[1:]], "unknown pipeline 'trainin'; did you mean 'training'?"),
        ([*TRAINING, "--recipe=ssd300_vgg"], "unknown recipe 'ssd300_vgg'; did you mean"),
        ([*TRAINING, "--placement=torch-cuba"], "unknown placement 'torch-cuba'; did you mean"),
        ([*TRAINING, "--placements=missing.yaml"], "missing.yaml"),
        ([*TRAINING, "--set=train.batchsize=4"], "did you mean 'train.batch_size'?"),
        ([*TRAINING, "--set=train.batch_size=many"], "train.batch_size"),
        ([*TRAINING, "--nodes=3"], "train.batch_size 64 does not divide over 3 devices"),
        ([*TRAINING, "--nodes=two"], "invalid value for '--nodes'"),
        ([*TRAINING, "--model-version=2"], "--model-version without --model-name"),
        ([*TRAINING, "--export-format=onxn"], "unknown export-format 'onxn'; did you mean 'onnx'?"),
        ([*TRAINING, "--export-format=mindir"], "framework 'torch' does not write format"),
        ([*TRAINING, "--series=x"], "the pipeline 'training' does not take --series"),
        (
            [*TRAINING, "--dataset=photos"],
            "--dataset photos: a cluster cannot read it; expected s3:",
        ),
        ([*TRAINING, "--root=out"], "a cluster cannot read it; expected s3://bucket/prefix"),
        ([*TRAINING, "--dataset=gs://photos/coco"], "gs://photos/coco"),
        ([*TRAINING, "--dataset=s3://x"], "s3://x"),
        (["training", "--recipe=demo"], "--root"),
    ],
)
def test_wrong_options_are_refused_before_anything_is_sent(
    pipelines: Command, kfp_server: KfpServer, words: list[str], message: str
) -> None:
    assert message in pipelines.fails(2, "submit", *words)
    assert kfp_server.requests == []


def test_active_run_is_found_by_the_same_command(pipelines: Command, kfp_server: KfpServer) -> None:
    first = submitted(pipelines)
    assert submitted(pipelines) == first
    other = submitted(pipelines, *TRAINING, "--set=train.batch_size=16")
    assert other != first
    kfp_server.runs[first].history = ("FAILED",)
    kfp_server.runs[first].position = 0
    again = submitted(pipelines)
    assert again not in {first, other}
    names = [kfp_server.runs[run].content["display_name"] for run in (first, again)]
    assert names == [f"{names[0].rpartition(' #')[0]} #{number}" for number in (1, 2)]
    kfp_server.runs[again].history = ("CANCELING",)
    assert submitted(pipelines) not in {first, other, again}


def test_lost_run_does_not_block_a_new_one(pipelines: Command, kfp_server: KfpServer) -> None:
    kfp_server.history = ("RUNNING",)  # for ever: its workflow is gone
    lost = submitted(pipelines)
    _, out, err = pipelines("submit", *TRAINING)
    assert out.startswith(lost)
    assert "if it is lost, --again starts another" in err
    kfp_server.history = ("SUCCEEDED",)
    again = submitted(pipelines, *TRAINING, "--again")
    assert submitted(pipelines) not in {lost, again}


def test_lost_answer_leaves_one_run(pipelines: Command, kfp_server: KfpServer) -> None:
    kfp_server.faults.append(Fault(is_done=True, is_silent=True, after="POST /runs"))
    message = pipelines.fails(75, "submit", *TRAINING, "--timeout=0.5")
    assert message.endswith("if the run has started, the same command finds it")
    (run,) = kfp_server.runs
    assert submitted(pipelines) == run


@pytest.mark.parametrize(
    "after", ["GET /healthz", "GET /experiments", "POST /experiments", "GET /runs", "POST /runs"]
)
def test_failing_server_leaves_nothing_half_submitted(
    pipelines: Command, kfp_server: KfpServer, after: str
) -> None:
    kfp_server.faults.append(Fault(503, after=after))
    assert "returned 503, try later" in pipelines.fails(75, "submit", *TRAINING)
    assert kfp_server.runs == {}
    submitted(pipelines)
    assert len(kfp_server.runs) == len(kfp_server.experiments) == 1


def test_refused_submission_shows_the_message_of_the_server(
    pipelines: Command, kfp_server: KfpServer
) -> None:
    body = json.dumps({"code": 3, "message": "Invalid input error: quota\nis used up"}).encode()
    kfp_server.faults.append(Fault(400, body=body, after="POST /runs"))
    message = pipelines.fails(2, "submit", *TRAINING)
    assert message.endswith("refused (400): Invalid input error: quota\\nis used up")


def test_waiting_prints_the_states_of_the_steps(pipelines: Command, kfp_server: KfpServer) -> None:
    kfp_server.history = ("PENDING", "RUNNING", "RUNNING", "SUCCEEDED")
    lines = pipelines.lines("wait", submitted(pipelines), *QUICK)
    assert lines[:3] == [
        "resolve_config: succeeded after 42 s",
        "convert: running",
        "convert: succeeded after 42 s",
    ]
    assert lines[-2:] == ["export: succeeded after 42 s", "succeeded"]
    assert not any("driver" in line for line in lines)


@pytest.fixture
def training_run(pipelines: Command, kfp_server: KfpServer, tmp_path: Path) -> str:
    """Return a run whose training, halfway through, has the log of a real one in its store."""
    run = submitted(pipelines)
    kfp_server.runs[run].reached = 2
    kfp_server.runs[run].content["runtime_config"]["parameters"]["data_root"] = str(tmp_path)
    layout = Layout(str(tmp_path))
    request: dict[str, Any] = {"stage": "train", "version": "0.1.0", "image": "", "config": {}}
    request |= {"inputs": {}, "options": {"training_id": "0123"}}
    layout.run(run, "train").put("invocation.json", json.dumps(request).encode())
    small = make_run(tmp_path / "small", make_config(evaluate_every=4))
    train(small)
    halfway = [line for line in read_log(small.log_path) if line["step"] <= 6]
    halfway[-1] |= {"time": halfway[0]["time"] + 120, "loss": 2.0}
    halfway[-2] |= {"ap": 0.25}
    log = "".join(f"{json.dumps(line)}\n" for line in halfway)
    layout.training("0123").put("train_log.jsonl", log.encode())
    return run


def test_progress_of_a_training_is_shown(
    pipelines: Command, kfp_server: KfpServer, training_run: str
) -> None:
    kfp_server.runs[training_run].history = (*["RUNNING"] * 3, "SUCCEEDED")
    expected = "train: running, 50 %, 2:00 min left, loss 2.000, AP 0.250"
    assert f"  {expected}" in pipelines.lines("status", training_run)
    assert expected in pipelines.lines("wait", training_run, *QUICK)


def test_progress_is_also_in_the_json_document(
    pipelines: Command, kfp_server: KfpServer, training_run: str, tmp_path: Path
) -> None:
    kfp_server.runs[training_run].history = ("RUNNING",) * 3
    found = json.loads("".join(pipelines.lines("status", training_run, "--json")))
    assert found["progress"] == {
        "percent": 50,
        "seconds_left": 120,
        "metrics": {"loss": 2.0, "ap": 0.25},
    }
    (tmp_path / "training/0123/train_log.jsonl").write_text("nonsense\n")
    code, out, err = pipelines("status", training_run)
    assert (code, err.count("\n")) == (0, 1)
    assert "  train: running\n" in out
    assert "warning: cannot read the progress of the training: " in err


def test_submission_can_wait(pipelines: Command, kfp_server: KfpServer) -> None:
    kfp_server.history = ("SUCCEEDED",)
    assert pipelines.lines("submit", *TRAINING, "--wait")[-1] == "succeeded"
    kfp_server.history = ("FAILED",)
    pipelines.fails(3, "submit", *TRAINING, "--wait")


def failed(server: KfpServer, pipelines: Command, log: str, pod: str) -> str:
    """Return a run whose step `convert` has failed, with the phase and message of its pod."""
    server.history = ("PENDING", "RUNNING", "FAILED")
    run = submitted(pipelines)
    phase, _, message = pod.partition(" ")
    server.runs[run].logs["convert"] = f"ssd-core 0.1\n{log}\nF1130 launcher: exit status\n"
    server.runs[run].pods["convert"] = {"phase": phase, "message": message}
    return run


@pytest.mark.parametrize(
    ("log", "pod", "exit_code", "reason"),
    [
        ("error: a.json: no box (exit 3)", "Failed Error (exit code 3)", 3, "a.json: no box"),
        ("error: disk full (exit 75)", "Failed Error (exit code 75)", 75, "disk full"),
        ("Traceback", "Failed Error (exit code 1)", 3, "Error (exit code 1)"),
        ("", "Failed OOMKilled (exit code 137)", 3, "OOMKilled (exit code 137)"),
        ("", "Failed Error (exit code 137)", 75, "Error (exit code 137)"),
        ("", "Error pod deleted", 75, "pod deleted"),
        ("", "Failed The node was low on memory.", 75, "The node was low on memory."),
    ],
)
def test_failed_run_names_the_step_and_the_reason(
    pipelines: Command,
    kfp_server: KfpServer,
    log: str,
    pod: str,
    exit_code: int,
    reason: str,
) -> None:
    run = failed(kfp_server, pipelines, log, pod)
    message = pipelines.fails(exit_code, "wait", run, *QUICK)
    url = f"{kfp_server.endpoint}/#/runs/details/{run}"
    remedy = (
        "the same submission continues" if exit_code == 75 else f"the log of the step is at {url}"
    )
    assert message == f"the run {run} failed in convert: {reason}; {remedy}"
    name, *steps, page = pipelines.lines("status", run)
    assert name.endswith(" · failed")
    assert steps[:3] == [
        "  resolve_config: succeeded after 42 s",
        f"  convert: failed after 42 s: {reason}",
        "  train: not run",
    ]
    assert page == url


def test_status_is_also_a_json_document(pipelines: Command, kfp_server: KfpServer) -> None:
    run = failed(kfp_server, pipelines, "error: a.json: no box (exit 3)", "Failed x")
    kfp_server.runs[run].position = 2
    found = json.loads("".join(pipelines.lines("status", run, "--json")))
    assert (found["id"], found["state"]) == (run, "failed")
    assert [step["error"] for step in found["steps"] if step["state"] == "failed"] == [
        "a.json: no box"
    ]


def test_log_of_the_last_attempt_has_the_reason(pipelines: Command, kfp_server: KfpServer) -> None:
    run = failed(kfp_server, pipelines, "error: a.json: no box (exit 3)", "Failed x")
    kfp_server.runs[run].is_retried = True
    assert "failed in convert: a.json: no box; " in pipelines.fails(3, "wait", run, *QUICK)


def test_failed_pod_of_kubeflow_is_named(pipelines: Command, kfp_server: KfpServer) -> None:
    run = failed(kfp_server, pipelines, "", "Succeeded ")
    kfp_server.runs[run].pods["root-driver"] = {"phase": "Error", "message": "pod deleted"}
    assert "  root-driver: failed: pod deleted" in pipelines.lines("status", run)
    pipelines.fails(3, "wait", run, *QUICK)


def test_failed_run_without_reasons_refers_to_its_page(
    pipelines: Command, kfp_server: KfpServer
) -> None:
    run = failed(kfp_server, pipelines, "error: a.json: no box (exit 3)", "Error pod deleted")
    kfp_server.faults.append(Fault(404, after="GET /apis/v1", times=1_000_000))
    message = pipelines.fails(3, "wait", run, *QUICK)
    url = f"{kfp_server.endpoint}/#/runs/details/{run}"
    assert message == f"the run {run} failed in convert; the log of the step is at {url}"


def test_pod_that_cannot_start_ends_the_waiting(pipelines: Command, kfp_server: KfpServer) -> None:
    kfp_server.history = ("RUNNING",)
    run = submitted(pipelines)
    reason = "Unschedulable: 0/3 nodes are available"
    kfp_server.runs[run].pods["convert"] = {"phase": "Pending", "message": reason}
    code, out, err = pipelines("wait", run, *QUICK, "--start-timeout=0.3")
    assert code == 75
    assert out.splitlines()[1:] == ["convert: running", f"convert: waiting: {reason}"]
    assert f"nothing has started for 0 s: convert: {reason}; the run {run} goes on waiting" in err
    assert f"  convert: waiting: {reason}" in pipelines.lines("status", run)
    kfp_server.runs[run].pods = {"root-driver": {"phase": "Pending", "message": "ErrImagePull: x"}}
    assert "  root-driver: waiting: ErrImagePull: x" in pipelines.lines("status", run)


def test_run_that_never_starts_ends_the_waiting(pipelines: Command, kfp_server: KfpServer) -> None:
    kfp_server.history = ("PENDING",)
    message = pipelines.fails(75, "wait", submitted(pipelines), *QUICK, "--start-timeout=0.2")
    assert message.startswith("nothing has started for 0 s: no step has begun; does the workflow")


def test_retried_run_counts_from_its_last_start(pipelines: Command, kfp_server: KfpServer) -> None:
    kfp_server.history = TERMINATED
    run = submitted(pipelines)
    pipelines.fails(75, "wait", run, *QUICK)
    kfp_server.retry_run([run], {}, {})
    assert submitted(pipelines) == run
    assert pipelines.lines("status", run)[0].endswith(" · running")
    assert pipelines.lines("wait", run, *QUICK)[-1] == "succeeded"
    assert submitted(pipelines) != run


def test_terminated_run_is_reported_as_such(pipelines: Command, kfp_server: KfpServer) -> None:
    kfp_server.history = TERMINATED
    run = submitted(pipelines)
    message = pipelines.fails(75, "wait", run, *QUICK)
    assert message == f"the run {run} was terminated; the same submission continues"
    assert pipelines.lines("status", run)[0].endswith(" · terminated")
    assert submitted(pipelines) != run


def test_interrupted_waiting_leaves_the_run_alone(
    pipelines: Command, kfp_server: KfpServer
) -> None:
    kfp_server.history = ("RUNNING",)
    run = submitted(pipelines)
    command = [sys.executable, "-m", "pipelines", "wait", run, "--interval=60"]
    begun: queue.Queue[subprocess.Popen[str]] = queue.Queue()
    interrupt = f"GET /runs/{run}"
    kfp_server.on_request[interrupt] = lambda: begun.get().send_signal(signal.SIGINT)
    with subprocess.Popen(command, cwd=ROOT, stderr=subprocess.PIPE, text=True) as waiting:
        begun.put(waiting)
        _, err = waiting.communicate()
    assert waiting.returncode == 130
    assert "Traceback" not in err
    assert not any(words.startswith("POST /runs/") for words in kfp_server.requests)
