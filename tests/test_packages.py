"""Environments with another version of a framework."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from ssd_core.backends import FRAMEWORKS

ROOT = Path(__file__).parents[1]


@pytest.mark.parametrize("framework", FRAMEWORKS)
def test_another_version_of_a_framework_is_refused(framework: str, tmp_path: Path) -> None:
    folder = tmp_path / f"{framework}-1.2.3.dist-info"
    folder.mkdir()
    (folder / "METADATA").write_text(f"Name: {framework}\nVersion: 1.2.3\n")
    command = [sys.executable, "-m", "pipelines", "run", "training", "--framework", framework]
    done = subprocess.run(
        [*command, "--recipe", "demo", "--dataset", "examples/bccd", "--root", tmp_path / "root"],
        cwd=ROOT,
        env=os.environ | {"PYTHONPATH": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2
    expected = rf"error: {framework} 1\.2\.3 is installed here, but 2\S+ is needed: pip install '.+"
    assert re.fullmatch(expected, done.stderr.strip())
    assert not (tmp_path / "root").exists()
