"""Imports stay cheap: a typo in a command is reported before any framework is loaded."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

from tests.architecture.sources import COMPONENTS, ROOT

FRAMEWORKS = {"torch", "mindspore"}
HEAVY = FRAMEWORKS | {"kfp", "cv2", "pyarrow", "hotcoco"}


def loaded_modules(code: str) -> set[str]:
    """Run `code` in a fresh interpreter and return the top-level modules that it imported."""
    report = (
        "; import sys; print(*{name.partition('.')[0] for name in sys.modules}, file=sys.stderr)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code + report], cwd=ROOT, capture_output=True, text=True, check=True
    )
    return set(done.stderr.split())


@pytest.mark.parametrize(
    "code",
    [
        "import ssd_core",
        "import ssd_core.config",
        "import ssd_core.recipes",
        "from typer.testing import CliRunner; from ssd_core.cli.app import app;"
        " assert CliRunner().invoke(app, ['--help']).exit_code == 0",
        "from typer.testing import CliRunner; from pipelines.__main__ import app;"
        " assert CliRunner().invoke(app, ['--help']).exit_code == 0",
    ],
)
def test_import_loads_no_heavy_package(code: str) -> None:
    assert loaded_modules(code) & HEAVY == set()


@pytest.mark.parametrize(
    "code", ["import components", "import pipelines", "import pipelines.training"]
)
def test_pipelines_load_no_framework(code: str) -> None:
    assert loaded_modules(code) & FRAMEWORKS == set()


@pytest.mark.parametrize("path", COMPONENTS, ids=lambda path: path.parent.name)
def test_component_imports_only_kfp_at_the_top(path: Path) -> None:
    """kfp ships the source of the function alone, without the imports of its module."""
    allowed = set(sys.stdlib_module_names) | {"kfp", "components"}
    tree = ast.parse(path.read_text())
    names = [
        alias.name for node in tree.body if isinstance(node, ast.Import) for alias in node.names
    ]
    names += [node.module or "" for node in tree.body if isinstance(node, ast.ImportFrom)]
    assert {name.partition(".")[0] for name in names} <= allowed
