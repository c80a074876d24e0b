"""The last words of a process whose exit code a launcher of several processes hides."""

from pathlib import Path
from subprocess import CompletedProcess

import pytest

from tests.commands import call_ssd


def run(words: str, termination_log: Path) -> CompletedProcess[str]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SSD_TERMINATION_LOG", str(termination_log))
        return call_ssd(*words.split())


@pytest.mark.parametrize(
    ("words", "code", "end"),
    [
        ("recipes dmo", 2, "unknown recipe 'dmo'; did you mean 'demo'? (exit 2)"),
        ("recipes demo --fast", 2, "recipes --help') (exit 2)"),
        ("verify nowhere", 2, "(exit 2)"),
    ],
)
def test_the_first_error_is_left_in_the_termination_log(
    words: str, code: int, end: str, tmp_path: Path
) -> None:
    log = tmp_path / "termination-log"
    for _ in range(2):
        done = run(words, log)
        assert done.returncode == code
    first, second = log.read_text().splitlines()
    assert first == second
    assert first.startswith("error: ")
    assert first.endswith(end)
    assert first.removesuffix(f" (exit {code})") in done.stderr


def test_a_success_leaves_nothing(tmp_path: Path) -> None:
    log = tmp_path / "termination-log"
    assert run("recipes demo", log).returncode == 0
    assert not log.exists()


def test_a_log_that_cannot_be_written_changes_nothing(tmp_path: Path) -> None:
    done = run("recipes dmo", tmp_path / "nowhere" / "log")
    assert done.returncode == 2
    assert done.stderr.splitlines() == ["error: unknown recipe 'dmo'; did you mean 'demo'?"]
