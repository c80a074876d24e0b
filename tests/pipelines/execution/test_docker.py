"""Steps in containers, with a client that runs the command of a container here."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]


def run(*words: str) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, "-m", "pipelines", *words]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)


def test_a_component_prints_its_line_and_runs_it(client: Path, tmp_path: Path) -> None:
    out_dir = tmp_path / "an 'out' of $mine"
    words = ("--param", "recipe=demo", "--param", 'overrides=["train.steps=7"]')
    done = run("component", "resolve_config", "--image", "tools:1", "--out", str(out_dir), *words)
    assert done.returncode == 0, done.stderr
    line, *_, last = done.stdout.splitlines()
    assert last == str(out_dir)
    output = out_dir / "executor_output.json"
    first = output.read_text()
    output.unlink()
    subprocess.run(["sh", "-c", line], cwd=ROOT, check=True, capture_output=True)
    assert output.read_text() == first


def test_credentials_reach_the_container(
    client: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every variable of a provider by name, and the files that they name."""
    files = {"AWS_WEB_IDENTITY_TOKEN_FILE": tmp_path / "token", "AWS_CA_BUNDLE": tmp_path / "ca"}
    for name, path in files.items():
        path.write_text("canary")
        monkeypatch.setenv(name, str(path))
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "missing"))
    monkeypatch.setenv("AWS_PROFILE", "canary")
    words = ("--param", "recipe=demo", "--param", "overrides=[]")
    done = run("component", "resolve_config", "--image=tools:1", f"--out={tmp_path / 'o'}", *words)
    assert done.returncode == 0, done.stderr
    line = done.stdout.splitlines()[0]
    for name in (*files, "AWS_SHARED_CREDENTIALS_FILE", "AWS_PROFILE", "AWS_ROLE_ARN"):
        assert f" --env {name} " in line
    for path in files.values():
        assert f" --volume {path}:{path}:ro " in line
    assert f":{tmp_path / 'missing'}" not in line
    assert "canary" not in line


def test_each_step_of_a_pipeline_runs_in_its_image(
    client: Path, tmp_path: Path, few_images: Path
) -> None:
    """It ends early, because the images are not in the COCO format."""
    words = ("--dataset", str(few_images), "--root", str(tmp_path / "root"))
    done = run("run", "training", "--docker", "--recipe=demo", *words, "--set=convert.format=coco")
    assert done.returncode == 2, done.stderr
    assert done.stderr.startswith("error: convert: ")
    calls = client.read_text().splitlines()
    (convert,) = (call for call in calls if "--function_to_execute convert" in call)
    assert f"--volume {few_images}:{few_images}:ro " in convert
    assert f"--volume {tmp_path / 'root'}:{tmp_path / 'root'} " in convert
    assert " ssd-on-kubeflow/tools:" in convert
    assert sum(call.startswith("image inspect ") for call in calls) == 2
