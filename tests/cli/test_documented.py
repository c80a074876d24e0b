"""The commands in the documentation are commands of the programs."""

import re
import shlex
from itertools import chain
from pathlib import Path
from typing import Any

import pytest
import typer

from pipelines.__main__ import app as pipelines_app
from ssd_core.cli.app import app

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]
PROGRAMS = {
    "ssd": typer.main.get_command(app),
    "python -m pipelines": typer.main.get_command(pipelines_app),
}
COMMAND = rf"(?:{'|'.join(PROGRAMS)}) [a-z]"


def find(pattern: str) -> list[tuple[str, str]]:
    """Return pairs of a page and a command in it."""
    return [
        (page.name, command)
        for page in PAGES
        for command in re.findall(pattern, page.read_text().replace("\\\n", " "), re.MULTILINE)
    ]


WHOLE = find(rf"^(?: {{4}})?({COMMAND}.*)$")
"""A line of its own."""
PARTS = find(rf"`({COMMAND}[^`]*)`")
"""Within a sentence, where arguments may be missing."""


def find_parser(command: str) -> tuple[Any, list[str]]:
    """Return the parser of a command, and the words that it would parse."""
    program = next(name for name in PROGRAMS if command.startswith(f"{name} "))
    parser: Any = PROGRAMS[program]
    words = shlex.split(command.removeprefix(program), comments=True)
    while commands := getattr(parser, "commands", None):
        # `schedule NAME` is short for `schedule create NAME`.
        parser = commands[words.pop(0) if words[0] in commands else "create"]
    return parser, words


def test_commands_are_found() -> None:
    assert len(WHOLE) > 60
    assert len(PARTS) > 60


@pytest.mark.parametrize(("page", "command"), WHOLE)
def test_a_whole_command_parses(page: str, command: str) -> None:
    parser, words = find_parser(re.split(r" (?:[|>;]|&&)", command)[0])
    parser.make_context(parser.name, words)


@pytest.mark.parametrize(("page", "command"), PARTS)
def test_the_options_of_a_part_exist(page: str, command: str) -> None:
    parser, words = find_parser(command)
    options = (one.opts + one.secondary_opts for one in parser.params)
    known = {"--help", *chain.from_iterable(options)}
    assert {word.partition("=")[0] for word in words if word.startswith("--")} <= known
