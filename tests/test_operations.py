"""The commands of docs/operations.md, run in their order."""

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import yaml

from pipelines.placement import load_placement
from ssd_core import __version__
from ssd_core.stages.frame import INVOCATION_FILE, Invocation, run_stage
from ssd_core.store import Location
from tests.launch.api_server import find_program
from tests.pipelines.cluster.kfp_server import KfpServer, running
from tests.pipelines.conftest import STANDARD_VARIABLES
from tests.requirements import missing
from tests.store.conftest import open_s3, run_server, use_server
from tests.store.servers import SECRET_KEY, VersityServer

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "docs" / "operations.md").read_text()
BLOCKS = re.findall(r"^```(\w*)\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
SHELL = [text for kind, text in BLOCKS if kind == "sh"]
CLUSTER = [text for text in SHELL if "kubectl" in text]
IMAGES = [text for text in SHELL if "docker" in text]
CONTAINERS = [text for text in SHELL if "pipelines component" in text]
OURS = [text for text in SHELL if text not in CLUSTER + IMAGES + CONTAINERS]
BASH = ["bash", "-euo", "pipefail", "-c"]


def test_every_block_is_run_by_a_test() -> None:
    assert {kind for kind, _ in BLOCKS} == {"sh", "yaml"}
    assert CLUSTER
    assert IMAGES
    assert CONTAINERS
    assert all(re.match(r"(python -m pipelines|export \w+=http)", text) for text in OURS)
    assert not any("python" in text for text in CLUSTER + IMAGES)


def test_kubectl_accepts_its_arguments_and_only_lacks_a_cluster(tmp_path: Path) -> None:
    if (kubectl := shutil.which("kubectl")) is None:
        missing("kubectl", "no kubectl here")
    commands = re.findall(r"kubectl ([^|)\n&]*)", "".join(CLUSTER))
    assert len(commands) == 5
    for words in commands:
        done = subprocess.run(
            [*BASH, f"{kubectl} --server=http://127.0.0.1:1 {words}"],
            cwd=ROOT,
            env={"PATH": os.environ["PATH"], "HOME": str(tmp_path), "KUBECONFIG": os.devnull},
            capture_output=True,
            text=True,
            check=False,
        )
        assert "refused" in done.stderr, done.stderr


def test_kustomize_builds_the_overlay() -> None:
    if (kustomize := find_program("kustomize")) is None:
        missing("kustomize", "no kustomize here")
    (folder,) = re.findall(r"kubectl apply -k (\S+)", "".join(CLUSTER))
    subprocess.run([kustomize, "build", folder], cwd=ROOT, check=True, capture_output=True)


def test_images_can_be_built_and_are_those_that_are_pushed() -> None:
    (block,) = IMAGES
    export, make, *pushes = block.splitlines()
    dry = make.replace("make images", "make --dry-run --no-print-directory images")
    planned = subprocess.run(
        [*BASH, dry], cwd=ROOT, check=True, capture_output=True, text=True
    ).stdout
    repository = export.removeprefix("export REPOSITORY=")
    names = planned.split("images/build.sh ")[1].split()
    assert all((ROOT / "images" / name / "build.args").is_file() for name in names)
    assert pushes == [f"docker push {repository}/{name}:{__version__}" for name in names]


def test_placement_uses_images_that_were_pushed(mine: Path) -> None:
    (name,) = yaml.safe_load(mine.read_text())
    placement = load_placement(name, mine)
    for image in (placement.image, placement.tools_image, placement.launcher_image):
        assert f"docker push {image}\n" in IMAGES[0]


def test_options_and_variables_of_the_server(page_run: "PageRun") -> None:
    rows = re.findall(r"^\| `(--[\w-]+)` \| `(\w+)` \|", PAGE, re.MULTILINE)
    assert len(rows) == 6
    shown = page_run("python -m pipelines status --help", COLUMNS="200")
    for option, variable in rows:
        assert re.search(rf"{option}\s.*?env var: [^\]]*\b{variable}\b", shown, re.DOTALL), option


class PageRun:
    """Runs blocks one after another, with the variables that earlier ones exported."""

    def __init__(self, folder: Path, endpoint: str, store: str) -> None:
        self._folder = folder
        self._places = {"http://localhost:8888": endpoint, "http://localhost:9000": store}
        unset = {*STANDARD_VARIABLES, "KF_PIPELINES_ENDPOINT", "AWS_ENDPOINT_URL"}
        kept = {name: value for name, value in os.environ.items() if name not in unset}
        self._environment = kept | {
            "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
            "PYTHONPATH": str(ROOT),
            "AWS_ACCESS_KEY_ID": VersityServer.access_key,
            "AWS_SECRET_ACCESS_KEY": SECRET_KEY,
            "NO_PROXY": "127.0.0.1",
        }

    def __call__(self, text: str, **environment: str) -> str:
        """Run a block, which must succeed, and return its output."""
        done = self.run(text, **environment)
        assert done.returncode == 0, f"{text}\n{done.stderr}"
        return done.stdout

    def run(self, text: str, **environment: str) -> "subprocess.CompletedProcess[str]":
        """Run a block."""
        for shown, real in self._places.items():
            text = text.replace(shown, real)
        state = self._folder / "state"
        before = f"touch {state}; source {state};"
        after = f"export -p > {state}; declare -p RUN >> {state} 2> {os.devnull} || true"
        return subprocess.run(
            [*BASH, f"{before}\n{text}\n{after}"],
            cwd=self._folder,
            env=self._environment | environment,
            capture_output=True,
            text=True,
            check=False,
        )


@pytest.fixture
def mine(tmp_path: Path) -> Path:
    """Return the user's placements from the page."""
    (content,) = (text for kind, text in BLOCKS if kind == "yaml")
    (tmp_path / "mine.yaml").write_text(content)
    return tmp_path / "mine.yaml"


@pytest.fixture
def kfp() -> Iterator[KfpServer]:
    with running(KfpServer()) as server:
        yield server


@pytest.fixture
def page_run(kfp: KfpServer, tmp_path: Path) -> PageRun:
    return PageRun(tmp_path, kfp.endpoint, "http://127.0.0.1:1")


@contextmanager
def running_store(folder: Path, patch: pytest.MonkeyPatch) -> Iterator[VersityServer]:
    """Run the store of the page with its bucket, also for this process."""
    (folder / "store").mkdir()
    with run_server(VersityServer(folder / "store")) as store:
        open_s3(store)._client.make_bucket("mlpipeline")
        use_server(patch, store, folder)
        yield store


def test_commands_lead_from_an_empty_cluster_to_a_scheduled_benchmark(
    kfp: KfpServer, mine: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kfp.history = ("SUCCEEDED",)
    invocation = Invocation(stage="evaluate", config={}, inputs={})
    results = {"metrics": {"ap50": 0.9}}
    with running_store(tmp_path, monkeypatch) as store:
        run = PageRun(tmp_path, kfp.endpoint, store.endpoint)
        printed = {}
        for block in OURS:
            if "pipelines results" in block:
                (run_id,) = kfp.runs
                out_dir = Location.parse(f"s3://mlpipeline/ssd/runs/{run_id}/evaluate")
                run_stage(invocation, out_dir, lambda _: results)
            if "schedule remove" in block:
                (schedule,) = kfp.recurring_runs.values()
            printed[block] = run(block)
    assert (tmp_path / "training.yaml").is_file()
    (submitted,) = kfp.runs.values()
    assert submitted.content["runtime_config"]["parameters"]["model_name"] == "blood"
    assert any("succeeded" in text.splitlines() for text in printed.values())
    assert any("AP50 0.90" in text for text in printed.values())
    assert schedule["trigger"] == {"cron_schedule": {"cron": "0 0 3 * * *"}}
    assert kfp.recurring_runs == {}


def test_step_is_repeated_from_its_record_and_only_lacks_docker(
    trained_dir: Path, kfp: KfpServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The client is a script with the error of docker without a daemon."""
    (block,) = CONTAINERS
    client = tmp_path / "bin" / "docker"
    client.parent.mkdir()
    client.write_text("#!/bin/sh\necho Cannot connect to the Docker daemon >&2\nexit 1\n")
    client.chmod(0o755)
    with running_store(tmp_path, monkeypatch) as store:
        run = PageRun(tmp_path, kfp.endpoint, store.endpoint)
        path = f"{client.parent}:{Path(sys.executable).parent}:{os.environ['PATH']}"
        said = {"RUN": "night", "PATH": path, "AWS_ENDPOINT_URL": store.endpoint}
        lost = run.run(block, **said)
        record = Location.parse("s3://mlpipeline/ssd/runs/night/train")
        record.put(INVOCATION_FILE, trained_dir / INVOCATION_FILE)
        found = run.run(block, **said)
    assert lost.returncode == 2
    assert "night: no invocation.json of 'train' here" in lost.stderr
    assert found.returncode == 75, found.stderr
    assert "docker does not answer: Cannot connect" in found.stderr
