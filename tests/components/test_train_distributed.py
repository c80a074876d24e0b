"""Training over two pods: real launcher, API server, store and `ssd train`, without a cluster."""

import copy
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from kfp import dsl

from components.train_distributed.component import train_distributed
from ssd_core.model_dir import read_model
from ssd_core.recipes import load_recipe
from ssd_core.recipes.overrides import override
from ssd_core.stages.outputs import read_output
from ssd_core.store import LocalDirectory, Location
from ssd_core.store.transfer import upload_directory
from tests.components.test_components import make_outputs
from tests.launch.api_server import ControlPlane, run_control_plane
from tests.launch.core_server import LAUNCHER
from tests.launch.job_runner import JobRunner
from tests.launch.test_connect import KUBECONFIG
from tests.store.conftest import BUCKET, run_server, use_server
from tests.store.servers import SECRET_KEY, S3Server, VersityServer

ROOT = f"s3://{BUCKET}/root"
RECIPE = override(
    load_recipe("demo"), ["train.steps=4", "train.batch_size=4", "train.log_interval=2"]
)
PLACEMENT: dict[str, Any] = {
    "framework": "torch",
    "device": "cpu",
    "image": "ssd-on-kubeflow/torch-cpu:1",
    "store_secret": {},
    "job": {"kind": "TrainJob", "runtime": "ssd-torch-cpu"},
}


@pytest.fixture(scope="module")
def plane(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ControlPlane]:
    with run_control_plane(tmp_path_factory.mktemp("control-plane")) as started:
        yield started


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3Server]:
    with run_server(VersityServer(tmp_path_factory.mktemp("versitygw"))) as started:
        yield started


@pytest.fixture
def arguments(
    plane: ControlPlane,
    server: S3Server,
    bccd_shards: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> dict[str, Any]:
    """Return the arguments of the pipeline step, with its data and its cluster in place."""
    use_server(monkeypatch, server, tmp_path)
    data = f"{ROOT}/datasets/bccd"
    upload_directory(bccd_shards, Location.parse(data), last="manifest.json")
    kubeconfig = tmp_path / "kubeconfig"
    text = KUBECONFIG.replace("http://127.0.0.1:6443", plane.core.url)
    kubeconfig.write_text(text.replace("secret-token", LAUNCHER))
    monkeypatch.setenv("KUBECONFIG", str(kubeconfig))
    monkeypatch.setenv("KFP_POD_NAME", "launcher-pod")
    monkeypatch.setenv("KFP_POD_UID", "uid-of-the-pod")
    placement = copy.deepcopy(PLACEMENT) | {"environment": {"AWS_ENDPOINT_URL": server.endpoint}}
    return {
        "recipe": RECIPE.model_dump(mode="json"),
        "framework": "torch",
        "device": "cpu",
        "data_root": ROOT,
        "nodes": 2.0,
        "placement": placement,
        "dataset": dsl.Dataset(uri=str(tmp_path / "dataset"), metadata={"uri": data}),
        **make_outputs(train_distributed, tmp_path / "outputs"),
    }


def test_two_pods_train_one_model(
    plane: ControlPlane,
    server: S3Server,
    arguments: dict[str, Any],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    secrets = {"accesskey": server.access_key, "secretkey": SECRET_KEY}
    with JobRunner(plane, tmp_path, secrets) as runner:
        train_distributed.python_func(run="run-1", **arguments)
        assert runner.jobs == ["train-run-1"]
        model = Path(arguments["model"].path)
        assert read_model(LocalDirectory(model)).description.step == 4
        assert (model / "train_log.jsonl").is_file()
        assert not (model / "checkpoints").exists()
        results = read_output(LocalDirectory(model)).results
        assert arguments["metrics"].metadata["loss"] == results["metrics"]["loss"]
        assert arguments["model"].metadata["training_id"] == results["model"]["training_id"]
        log = capsys.readouterr().err
        assert "created trainjobs.trainer.kubeflow.org train-run-1" in log
        assert "step" in log
        assert SECRET_KEY not in log

        # Another run of the same training finds the model and needs no job.
        train_distributed.python_func(run="run-2", **arguments)
        assert runner.jobs == ["train-run-1"]


def test_a_pod_without_access_to_the_store_ends_the_step(
    plane: ControlPlane,
    server: S3Server,
    arguments: dict[str, Any],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    arguments["recipe"] = override(RECIPE, ["train.seed=7"]).model_dump(mode="json")
    secrets = {"accesskey": server.access_key, "secretkey": "wrong"}
    with JobRunner(plane, tmp_path, secrets), pytest.raises(SystemExit) as end:
        train_distributed.python_func(run="run-3", **arguments)
    assert end.value.code == 2
    last = capsys.readouterr().err.splitlines()[-1]
    assert last.startswith("error: job train-run-3 failed: pod train-run-3-")
    assert last.endswith("(exit 2)")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"nodes": 3.0}, "train.batch_size 4 does not divide over 3 devices"),
        ({"data_root": "/shared"}, "the output is at /shared/training/"),
        ({"placement": PLACEMENT | {"job": None}}, "placement.job: input should be a valid dict"),
        (
            {"placement": PLACEMENT | {"job": {"kind": "TrainJobs"}}},
            "placement.job.kind: input should be",
        ),
        ({"recipe": {"trian": {}}}, "unknown key 'trian'; did you mean 'train'?"),
    ],
)
def test_wrong_arguments_fail_before_any_request(
    plane: ControlPlane,
    arguments: dict[str, Any],
    change: dict[str, Any],
    message: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    plane.core.asked.clear()
    recipe = override(RECIPE, ["train.seed=8"]).model_dump(mode="json")
    arguments |= {"recipe": recipe} | change
    with pytest.raises(SystemExit) as end:
        train_distributed.python_func(run="run-4", **arguments)
    assert end.value.code == 2
    assert message in capsys.readouterr().err.splitlines()[-1]
    assert plane.core.asked == set()
