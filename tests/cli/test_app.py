"""The `ssd` command as a real process: its output and its exit code."""

import contextlib
import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from typer.testing import CliRunner

from ssd_core import __version__
from ssd_core.cli.app import app
from tests.commands import call_ssd
from tests.processes import SSD, run_ssd

COMMANDS = [
    command.callback.__name__.replace("_", "-")
    for command in app.registered_commands
    if command.callback
]


def test_version() -> None:
    assert run_ssd("--version").stdout == f"ssd {__version__}\n"
    assert call_ssd("check", "--version").stdout == f"ssd {__version__}\n"
    assert call_ssd("publish", "--version").returncode == 2  # there it is that of the model


def test_the_help_shows_no_type_of_a_flag() -> None:
    shown = run_ssd("--help").stdout
    assert "Usage: ssd " in shown
    assert "<bool>" not in shown


@pytest.mark.parametrize("command", COMMANDS)
def test_the_help_has_an_example(command: str) -> None:
    shown = CliRunner().invoke(app, [command, "--help"], prog_name="ssd", catch_exceptions=False)
    assert f"Example: ssd {command} " in shown.stdout
    assert not re.search(r"<[\w|]+>|\[Location\]|range>|…", shown.stdout)


def test_recipes_are_listed_and_shown() -> None:
    assert re.search(
        r"^ssd300_vgg16 +34\.3 M +68\.7 +8,732 ", call_ssd("recipes").stdout, re.MULTILINE
    )
    shown = json.loads(call_ssd("recipes", "demo", "--set", "train.steps=7").stdout)
    assert shown["train"]["steps"] == 7


def test_every_value_is_explained() -> None:
    shown = call_ssd("recipes", "demo", "--explain").stdout
    lines = shown.splitlines()
    assert lines[lines.index("train.batch_size = 2") + 1].strip().startswith("Images per optimizer")
    assert "train.optimizer.learning_rate = 0.002" in lines
    assert "train.augment:" in lines


def test_the_doctor_names_devices_and_problems(tmp_path: Path) -> None:
    done = call_ssd("doctor")
    assert done.returncode == 0, done.stderr
    assert f"ssd-core         {__version__}, Python 3." in done.stdout
    code = "import sys; sys.modules['torch'] = None; sys.argv = ['ssd', 'doctor', '--json']"
    command = [sys.executable, "-c", f"{code}; from ssd_core.cli.app import main; main()"]
    broken = subprocess.run(command, capture_output=True, text=True)
    assert broken.returncode == 2
    report = json.loads(broken.stdout)
    assert report["problems"] == ["device"]
    assert "pip install --editable '.[torch]'" in report["found"]["device"]
    assert broken.stderr == "error: 1 problem: device\n"


def open_pipe_of(process: "subprocess.Popen[str]", pipe: Path) -> int:
    """Return the writing end of a pipe once the process reads from it."""
    while process.poll() is None:
        with contextlib.suppress(OSError):  # the pipe has no reader yet
            return os.open(pipe, os.O_WRONLY | os.O_NONBLOCK)
        time.sleep(0.01)
    raise AssertionError(f"the command ended with {process.returncode}")


def test_ctrl_c_is_one_line(tmp_path: Path) -> None:
    """The command waits for a list of classes from a pipe without a writer."""
    pipe = tmp_path / "classes.txt"
    os.mkfifo(pipe)
    command = [SSD, "convert", "images", "--classes", pipe, "--out", tmp_path / "out"]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        writer = open_pipe_of(process, pipe)
        process.send_signal(signal.SIGINT)
        os.close(writer)  # ends a read that began after the signal
        _, errors = process.communicate()
    assert process.returncode == 130
    assert errors == "error: stopped by SIGINT; repeat the command to complete its work\n"


def test_debug_shows_the_traceback() -> None:
    done = run_ssd("--debug", "recipes", "demoo")
    assert done.returncode == 2
    assert "Traceback" in done.stderr
    assert done.stderr.endswith("did you mean 'demo'?\n")
