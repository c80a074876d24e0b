"""Names that hide what a file is for, and words that belong to one file only."""

import ast
import re
from pathlib import Path

import pytest

from ssd_core.config import Section

ROOT = Path(__file__).parents[2]
PACKAGES = ("ssd_core", "components", "pipelines", "tests")
FILES = sorted(path for package in PACKAGES for path in (ROOT / package).rglob("*.py"))
BACKEND_FILES = sorted((ROOT / "ssd_core" / "backends").rglob("*.py"))

BANNED_STEMS = {"utils", "util", "helpers", "helper", "common", "misc"}
DEVICE_WORDS = re.compile(r"\b(cuda|npu|nccl|hccl)\b")


def relative(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


@pytest.mark.parametrize("path", FILES, ids=relative)
def test_module_name_says_something(path: Path) -> None:
    assert path.stem not in BANNED_STEMS
    assert path.parent.name not in BANNED_STEMS


@pytest.mark.parametrize(
    "path", [path for path in BACKEND_FILES if path.name != "devices.py"], ids=relative
)
def test_device_words_stay_in_devices(path: Path) -> None:
    """Docstrings may name devices; code may not."""
    tree = ast.parse(path.read_text())
    docstrings = {
        id(node.value)
        for node in ast.walk(tree)
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
    }
    words = [
        text
        for node in ast.walk(tree)
        if id(node) not in docstrings
        for text in (
            [node.value] if isinstance(node, ast.Constant) and isinstance(node.value, str) else []
        )
        + ([node.attr] if isinstance(node, ast.Attribute) else [])
        + ([node.id] if isinstance(node, ast.Name) else [])
    ]
    assert [word for word in words if DEVICE_WORDS.search(word)] == []


def test_configuration_stays_out_of_the_mathematics() -> None:
    """Classes take plain values, never the configuration tree."""
    files = [*(ROOT / "ssd_core" / "detection").glob("*.py"), *BACKEND_FILES]
    plain = [
        path
        for path in files
        if path.parent.name == "detection" or path.stem in {"loss", "devices", "backbones"}
    ]
    assert plain
    assert [relative(path) for path in plain if re.search(r"\w+Config\b", path.read_text())] == []


@pytest.mark.parametrize("path", sorted((ROOT / "ssd_core" / "cli").glob("*.py")), ids=relative)
def test_commands_repeat_no_default_of_the_configuration(path: Path) -> None:
    """A parameter named like a key of the configuration is absent (None), or takes its default."""
    keys = {key for kind in Section.__subclasses__() for key in kind.model_fields}
    repeated = [
        f"{node.name}: {parameter.arg}={default.value!r}"
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.FunctionDef)
        for parameter, default in zip(
            node.args.args[::-1] + node.args.kwonlyargs[::-1],
            node.args.defaults[::-1] + node.args.kw_defaults[::-1],
            strict=False,
        )
        if parameter.arg in keys and isinstance(default, ast.Constant) and default.value is not None
    ]
    assert repeated == []
