"""A server of Kubeflow Pipelines, and the command, run in this process."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest

from pipelines.__main__ import main
from tests.commands import call
from tests.pipelines.cluster.kfp_server import KfpServer, running

TRAINING = (
    "training",
    "--recipe=ssd300_vgg16",
    "--dataset=s3://photos/coco",
    "--root=s3://detectors",
    "--placement=torch-cuda",
)
BENCHMARK = (
    "--pipeline=benchmark",
    "--model=s3://detectors/models/blood/1",
    "--series=blood-on-h100",
    "--root=s3://detectors",
    "--placement=torch-cuda",
)
STEPS = {
    "training": (
        "resolve_config",
        "convert",
        "train",
        "evaluate",
        "benchmark",
        "report",
        "publish",
        "export",
    ),
    "evaluation": ("fetch_model", "resolve_config", "convert", "evaluate", "report"),
    "benchmark": ("fetch_model", "resolve_config", "benchmark"),
}
"""In the order in which they run."""
STANDARD_VARIABLES = (
    "KFP_ENDPOINT",
    "KFP_EXISTING_TOKEN",
    "KFP_NAMESPACE",
    "KF_PIPELINES_CA_CERT",
    "KF_PIPELINES_COOKIES",
    "KF_PIPELINES_DEFAULT_EXPERIMENT_NAME",
    "KF_PIPELINES_NAMESPACE",
    "KF_PIPELINES_SA_TOKEN_PATH",
    "KF_PIPELINES_TIMEOUT",
    "KF_PIPELINES_UI_ENDPOINT",
    "SSL_CERT_FILE",
)


@dataclass
class Command:
    """`python -m pipelines`."""

    patch: pytest.MonkeyPatch

    def __call__(self, *words: str) -> tuple[int, str, str]:
        """Run it, and return its exit code and its two output streams."""
        done = call(main, "pipelines", *words)
        return done.returncode, done.stdout, done.stderr

    def lines(self, *words: str) -> Sequence[str]:
        """Run it, and return its output; it must succeed."""
        code, out, err = self(*words)
        assert code == 0, err
        return out.splitlines()

    def fails(self, exit_code: int, *words: str) -> str:
        """Run it, and return the one line it must fail with."""
        code, _, err = self(*words)
        assert code == exit_code, err
        assert "Traceback" not in err
        last = err.splitlines()[-1]
        assert last.startswith("error: ")
        return last.removeprefix("error: ")


@pytest.fixture
def kfp_server() -> Iterator[KfpServer]:
    """Return a server without users and tokens."""
    with running(KfpServer()) as server:
        yield server


@pytest.fixture
def pipelines(kfp_server: KfpServer, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Command:
    """Return the command, with the server in the standard variable and no other setting."""
    for variable in STANDARD_VARIABLES:
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setenv("KF_PIPELINES_ENDPOINT", kfp_server.endpoint)
    monkeypatch.chdir(tmp_path)
    return Command(monkeypatch)
