"""Commands without the packages of extras: those for data work, the others name the extra."""

import subprocess
import sys
from pathlib import Path

import pytest

from ssd_core.errors import EXTRAS

ROOT = Path(__file__).parents[2]
WITHOUT = "import sys; sys.modules |= dict.fromkeys({}); from {} import main; main()"


def run_without(
    modules: list[str], *words: str | Path, program: str = "ssd_core.cli.app"
) -> "subprocess.CompletedProcess[str]":
    """Run a command where these modules cannot be imported."""
    command = [sys.executable, "-c", WITHOUT.format(modules, program), *words]
    return subprocess.run(command, capture_output=True, text=True, cwd=ROOT)


def test_data_are_checked_and_converted_without_any_extra(few_images: Path, tmp_path: Path) -> None:
    for words in (
        ["check", few_images],
        ["convert", few_images, "--out", tmp_path / "shards"],
        ["verify", tmp_path / "shards"],
        ["gc", tmp_path],
        ["recipes", "demo"],
    ):
        done = run_without(list(EXTRAS), *words)
        assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    ("words", "missing", "extra"),
    [
        ("check examples/bccd --out {out}", "jinja2", "report"),
        ("report {out}/evaluation --out {out}", "jinja2", "report"),
        ("train --data {out} --recipe demo --out {out}", "cv2", "detector"),
        ("evaluate --model {out} --data {out} --out {out}", "cv2", "detector"),
        ("predict --model {out} images --out {out}", "cv2", "detector"),
        ("export {out} --format onnx --out {out}", "cv2", "detector"),
    ],
)
def test_the_extra_of_a_command_is_named(
    tmp_path: Path, words: str, missing: str, extra: str
) -> None:
    done = run_without(list(EXTRAS), *words.format(out=tmp_path / "out").split())
    remedy = f"pip install --editable '.[{extra}]' in the checkout\n"
    assert (done.returncode, done.stderr) == (
        2,
        f"error: {missing} is not installed here: {remedy}",
    )
    assert not (tmp_path / "out").exists()


def test_the_extras_that_arguments_need_are_named(bccd_shards: Path, tmp_path: Path) -> None:
    training = ["train", "--data", bccd_shards, "--recipe", "demo", "--out", tmp_path / "out"]
    done = run_without(["torch"], *training)
    assert done.stderr.endswith(
        "torch is not installed here: pip install --editable '.[torch]' in the checkout\n"
    )
    done = run_without(["tensorboard"], *training, "--log", "tensorboard")
    assert done.stderr.endswith(" pip install --editable '.[tensorboard]' in the checkout\n")
    files = ["--detections", "d.json", "--ground-truth", "g.json", "--out", tmp_path / "out"]
    done = run_without(["pycocotools"], "evaluate", "--check", *files)
    assert done.stderr.endswith(" pip install --editable '.[check]' in the checkout\n")
    done = run_without(["kfp"], "compile", "training", program="pipelines.__main__")
    assert done.stderr.endswith(" pip install --editable '.[pipelines]' in the checkout\n")


def test_the_extra_of_a_format_is_named_before_a_framework_is_loaded(tmp_path: Path) -> None:
    words = ["export", "nowhere", "--format", "onnx", "--out", tmp_path, "--framework", "torch"]
    done = run_without(["onnxscript", "torch"], *words)
    remedy = (
        "onnxscript is not installed here: pip install --editable '.[export]' in the checkout\n"
    )
    assert (done.returncode, done.stderr) == (2, f"error: {remedy}")


def test_the_framework_that_is_installed_is_named(
    bccd_shards: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "mindspore.py").touch()
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    words = ["train", "--data", bccd_shards, "--recipe", "demo", "--out", tmp_path / "out"]
    found = run_without(["torch"], *words).stderr
    assert "torch is not installed here: add --framework mindspore, which is; or pip" in found
    (tmp_path / "a.pth").touch()
    layout = ["--layout", "torchvision", "--recipe", "demo", "--out", tmp_path / "out"]
    for words in (
        ["export", "nowhere", "--format", "torchscript", "--out", tmp_path / "out"],
        ["import-weights", tmp_path / "a.pth", *layout],
    ):
        found = run_without(["torch"], *words).stderr
        assert "torch is not installed here: pip install --editable '.[torch]' in the" in found
