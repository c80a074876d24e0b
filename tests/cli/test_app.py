"""The `ssd` command as a user meets it: a real process, its output and its exit code."""

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from ssd_core import __version__

SSD = Path(sys.executable).with_name("ssd")


def ssd(*words: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run([SSD, *map(str, words)], capture_output=True, text=True)


def test_version() -> None:
    assert ssd("--version").stdout == f"ssd {__version__}\n"


@pytest.mark.parametrize(
    "command",
    [
        *("check", "convert", "train", "evaluate", "benchmark", "predict", "report", "recipes"),
        *("verify", "gc", "inspect"),
    ],
)
def test_help_teaches_by_example(command: str) -> None:
    done = ssd(command, "--help")
    assert done.returncode == 0
    assert f"Example: ssd {command} " in done.stdout


@pytest.mark.parametrize(
    ("package", "words", "extra"),
    [
        (
            "torch",
            "from ssd_core.backends import open_backend; open_backend('torch', 'cpu')",
            "torch",
        ),
        (
            "kfp",
            "sys.argv = ['', 'status', 'x']; from pipelines.cli import app; app.main()",
            "pipelines",
        ),
    ],
)
def test_an_extra_that_is_not_installed_is_named(package: str, words: str, extra: str) -> None:
    code = f"import sys; sys.modules['{package}'] = None; {words}"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, cwd=Path(__file__).parents[2]
    )
    assert done.returncode != 0
    last = done.stderr.splitlines()[-1]
    assert last.endswith(f" is not installed here: pip install '.[{extra}]' in the checkout")


def test_recipes_are_listed_and_shown() -> None:
    assert "ssd300_vgg16  SSD300 with VGG16" in ssd("recipes").stdout
    shown = json.loads(ssd("recipes", "demo", "--set", "train.steps=7").stdout)
    assert shown["train"]["steps"] == 7


@pytest.mark.parametrize(
    ("words", "exit_code", "message"),
    [
        (["recipes", "demoo"], 2, "error: unknown recipe 'demoo'; did you mean 'demo'?"),
        (["recipes", "demo", "--set", "train.epoch=1"], 2, "did you mean 'train.epochs'?"),
        (["train", "--recipe", "demo"], 2, "error: missing option '--data'"),
        (["trian"], 2, "Did you mean 'train'?"),
        (["convert", "nowhere", "--out", "o"], 2, "error: nowhere: does not exist"),
        (
            ["evaluate", "--model", "nowhere", "--data", "d", "--out", "o"],
            2,
            "error: nowhere: no such",
        ),
        (["predict", "--model", "nowhere", "x.jpg", "--out", "o"], 2, "error: nowhere: no such"),
    ],
)
def test_mistakes_end_with_one_line(words: list[str], exit_code: int, message: str) -> None:
    done = ssd(*words)
    assert done.returncode == exit_code
    assert message in done.stderr
    assert "Traceback" not in done.stderr


def open_pipe_of(process: "subprocess.Popen[str]", pipe: Path) -> int:
    """Return the writing end of a pipe once the process has begun to read it."""
    while process.poll() is None:
        with contextlib.suppress(OSError):  # nobody reads it yet
            return os.open(pipe, os.O_WRONLY | os.O_NONBLOCK)
        time.sleep(0.01)
    raise AssertionError(f"the command has ended with {process.returncode}")


def test_ctrl_c_ends_quietly(tmp_path: Path) -> None:
    """The command waits for a list of classes, from a pipe that nobody writes to."""
    pipe = tmp_path / "classes.txt"
    os.mkfifo(pipe)
    words = ["convert", "photos", "--classes", str(pipe), "--out", str(tmp_path / "out")]
    with subprocess.Popen([SSD, *words], stderr=subprocess.PIPE, text=True) as process:
        writer = open_pipe_of(process, pipe)
        process.send_signal(signal.SIGINT)
        os.close(writer)  # ends a reading that began after the signal came
        _, errors = process.communicate()
    assert (process.returncode, errors) == (130, "")


def test_debug_shows_the_trace() -> None:
    done = ssd("--debug", "recipes", "demoo")
    assert done.returncode == 2
    assert "Traceback" in done.stderr
    assert done.stderr.endswith("did you mean 'demo'?\n")
