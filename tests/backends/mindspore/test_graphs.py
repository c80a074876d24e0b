"""What MindSpore leaves behind when it compiles a graph."""

import subprocess
import sys
from pathlib import Path

import pytest

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
