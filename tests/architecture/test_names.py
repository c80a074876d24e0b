"""Names that must not occur, and names that may occur in one file only."""

import ast
import re
from pathlib import Path

import pytest

from ssd_core.config import Section
from tests.architecture.sources import ROOT, python_files, relative

FILES = python_files("ssd_core", "components", "pipelines")
BACKEND_FILES = python_files("ssd_core/backends")

BANNED_STEMS = {"utils", "util", "helpers", "helper", "common", "misc"}
DEVICE_WORDS = re.compile(r"\b(cuda|npu|nccl|hccl)\b")


def test_module_names_are_specific() -> None:
    files = [*FILES, *python_files("tests")]
    assert [path for path in files if {path.stem, path.parent.name} & BANNED_STEMS] == []


@pytest.mark.parametrize(
    "path", [path for path in BACKEND_FILES if path.name != "devices.py"], ids=relative
)
def test_devices_are_named_in_one_file_per_backend(path: Path) -> None:
    """Docstrings may name devices everywhere."""
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


def test_mathematics_takes_plain_values() -> None:
    """It does not depend on classes of the configuration."""
    files = [*(ROOT / "ssd_core" / "detection").glob("*.py"), *BACKEND_FILES]
    plain = [
        path
        for path in files
        if path.parent.name in {"detection", "backbones"} or path.stem in {"loss", "devices"}
    ]
    assert plain
    assert [relative(path) for path in plain if re.search(r"\w+Config\b", path.read_text())] == []


@pytest.mark.parametrize("path", sorted((ROOT / "ssd_core" / "cli").glob("*.py")), ids=relative)
def test_commands_repeat_no_default_of_the_configuration(path: Path) -> None:
    """A parameter named like a configuration key defaults to None or to the default of the key."""
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


def test_a_class_name_means_one_thing() -> None:
    """Private classes are exempt, and so are the backends, which all define the same parts."""
    homes: dict[str, set[str]] = {}
    for path in FILES:
        home = re.sub(r"^ssd_core/backends/\w+/", "ssd_core/backends/*/", relative(path))
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
                homes.setdefault(node.name, set()).add(home)
    assert {name: places for name, places in homes.items() if len(places) > 1} == {}
