"""Limits on size, so that a reader can hold a file, a function or a signature in mind."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.architecture.sources import COMPONENTS, ROOT, python_files, relative

FILES = python_files("ssd_core", "components", "pipelines")
PIPELINES = sorted((ROOT / "pipelines").glob("*.py"))

MAX_FILE_LINES = 400
MAX_FUNCTION_LINES = 60
MAX_COMPONENT_STATEMENTS = 15
MAX_PIPELINE_PARAMETERS = 8


def functions(path: Path) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            yield node


def body_without_docstring(function: ast.FunctionDef | ast.AsyncFunctionDef) -> list[ast.stmt]:
    return function.body[1:] if ast.get_docstring(function) is not None else function.body


def has_decorator(function: ast.FunctionDef | ast.AsyncFunctionDef, name: str) -> bool:
    return any(name in ast.unparse(decorator) for decorator in function.decorator_list)


def count_lines(function: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    body = body_without_docstring(function)
    return (body[-1].end_lineno or 0) - body[0].lineno + 1 if body else 0


def test_files_are_short() -> None:
    lines = {relative(path): len(path.read_text().splitlines()) for path in FILES}
    assert {path: count for path, count in lines.items() if count > MAX_FILE_LINES} == {}


def test_functions_are_short() -> None:
    lines = {
        f"{relative(path)}:{function.lineno} {function.name}": count_lines(function)
        for path in FILES
        for function in functions(path)
    }
    assert {name: count for name, count in lines.items() if count > MAX_FUNCTION_LINES} == {}


@pytest.mark.parametrize("path", COMPONENTS, ids=relative)
def test_component_is_a_doorway(path: Path) -> None:
    (component,) = [node for node in functions(path) if has_decorator(node, "component")]
    body = body_without_docstring(component)
    statements = [node for part in body for node in ast.walk(part) if isinstance(node, ast.stmt)]
    assert len(statements) <= MAX_COMPONENT_STATEMENTS
    assert not any(
        isinstance(node, (ast.FunctionDef, ast.Lambda)) for node in ast.walk(ast.Module(body, []))
    )


@pytest.mark.parametrize("path", COMPONENTS, ids=relative)
def test_component_has_no_defaults(path: Path) -> None:
    """Except None, which marks an optional artifact in kfp."""
    (component,) = [node for node in functions(path) if has_decorator(node, "component")]
    assert all(ast.unparse(default) == "None" for default in component.args.defaults)


@pytest.mark.parametrize("path", COMPONENTS, ids=relative)
def test_component_is_named_after_its_stage(path: Path) -> None:
    (component,) = [node for node in functions(path) if has_decorator(node, "component")]
    assert component.name == path.parent.name
    assert (ROOT / "ssd_core" / "stages" / f"{component.name}.py").is_file()


def test_pipelines_have_few_parameters() -> None:
    pipelines = [
        node
        for path in PIPELINES
        for node in functions(path)
        if has_decorator(node, "dsl.pipeline")
    ]
    assert pipelines
    for pipeline in pipelines:
        assert len(pipeline.args.args) <= MAX_PIPELINE_PARAMETERS, pipeline.name
