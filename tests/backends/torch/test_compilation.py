"""A training with `train.compile`: the losses of one without, and none the less where it fails."""

import subprocess
import sys

import numpy as np
import pytest

from ssd_core.backends.torch.backend import TorchBackend
from ssd_core.recipes import load_recipe
from ssd_core.recipes.overrides import override
from ssd_core.structures import Batch

SMALL = [
    "model.image_size=32",
    "batch_size=2",
    'freeze.names=["backbone.*"]',  # a compiled pass in each direction is enough
    "freeze.statistics=false",
]
NUM_STEPS = 3


def take_steps(compiled: bool) -> list[float]:
    """Return the losses of a learner, whose norms are those of the seed before the first step."""
    changes = [f"train.{change}" for change in (*SMALL, f"compile={compiled}")]
    learner = TorchBackend("cpu", "fp32").learner(override(load_recipe("demo"), changes).train, 3)
    assert not learner.weights()["backbone.stem.norm.mean"].any()
    rng = np.random.default_rng(0)
    boxes = np.array([[[0.1, 0.2, 0.7, 0.8]], [[0.3, 0.1, 0.9, 0.6]]], np.float32)
    images = rng.integers(0, 256, (2, 32, 32, 3), np.uint8)
    batch = Batch(images=images, boxes=boxes, labels=np.array([[1], [2]]))
    return [learner.step(batch, 1e-3)()["loss"] for _ in range(NUM_STEPS)]


def test_compiled_steps_have_the_losses_of_the_others(tmp_path, monkeypatch, caplog):
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", str(tmp_path))
    found = take_steps(compiled=True)
    assert "train.compile" not in caplog.text
    assert list(tmp_path.rglob("*.so"))
    assert found == pytest.approx(take_steps(compiled=False), rel=1e-4)


def test_without_a_compiler_the_steps_are_those_of_the_network_itself(tmp_path, monkeypatch):
    """A process of its own: another would have found a compiler, or keep that it found none."""
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", str(tmp_path))
    monkeypatch.setenv("CXX", "/nonexistent")
    program = f"from {__name__} import take_steps; print(take_steps(True) == take_steps(False))"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.stdout == "True\n", done.stderr
    [line] = done.stderr.splitlines()
    assert line.startswith("the network is trained without train.compile: ")
    assert "No working C++ compiler found" in line
    assert line.endswith("; set train.compile=false")
