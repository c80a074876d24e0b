"""When MindSpore compiles a graph, and what it leaves behind."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from ssd_core.backends import open_backend
from ssd_core.recipes import load_recipe
from ssd_core.recipes.overrides import override
from ssd_core.structures import Batch

ROOT = Path(__file__).parents[3]
WRONG_GRAPH = """
import ssd_core.backends.mindspore
import mindspore as ms

ms.set_context(mode=ms.GRAPH_MODE)


class Product(ms.nn.Cell):
    def construct(self, left, right):
        return ms.ops.matmul(left, right)


try:
    Product()(ms.ops.ones((3, 4)), ms.ops.ones((5, 6)))
except (RuntimeError, ValueError) as error:
    print("failed:", error)
"""


@pytest.mark.mindspore
def test_a_graph_that_does_not_compile_leaves_the_current_folder_alone(tmp_path, monkeypatch):
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    program, folder = tmp_path / "program.py", tmp_path / "current"
    program.write_text(WRONG_GRAPH)
    folder.mkdir()
    found = subprocess.run(
        [sys.executable, program], cwd=folder, check=True, capture_output=True, text=True
    )
    assert "analyze_fail.ir" in found.stdout
    assert list(folder.iterdir()) == []


@pytest.mark.mindspore
def test_graphs_compile_at_the_first_step_only():
    values = {"model.image_size": 64, "batch_size": 2, "micro_batch_size": 1}
    changes = [f"train.{key}={value}" for key, value in values.items()]
    learner = open_backend("mindspore", "cpu", "fp32").learner(
        override(load_recipe("demo"), changes).train, 3
    )
    rng = np.random.default_rng(0)
    for _ in range(2):
        images = rng.integers(0, 256, (2, 64, 64, 3), dtype=np.uint8)
        boxes = np.tile(np.float32([0.1, 0.1, 0.6, 0.6]), (2, 1, 1))
        learner.step(Batch(images=images, boxes=boxes, labels=rng.integers(1, 4, (2, 1))), 0.001)
    parts = vars(learner).values()
    assert max(len(part.compile_cache) for part in parts if hasattr(part, "compile_cache")) == 1
