"""What is read from the log of kfp.local."""

import pytest

from pipelines.steps import LogReader, State

BEGUN = "09:30:17.420 - INFO - Executing task \x1b[96m'train'\x1b[0m\n"
DONE = (
    "09:30:19.1 - INFO - Task \x1b[96m'train'\x1b[0m finished with status \x1b[92mSUCCESS\x1b[0m\n"
)
FAILED = (
    "09:30:19.1 - ERROR - Task \x1b[96m'train'\x1b[0m finished with status \x1b[91mFAILURE\x1b[0m\n"
)
EXECUTOR = (
    "    [KFP Executor 2026-11-21 09:30:17,465 INFO]: Got executor_input:\n",
    "    {\n",
    '        "inputs": {}\n',
    "    }\n",
)
STAGE = "    ssd-core 0.1.0\n"


def read(*lines: str) -> LogReader:
    reader = LogReader(("resolve_config", "train"), lambda step: f"found by {step}")
    for now, line in enumerate(lines):
        reader.feed(line, now)
    return reader


def test_a_step_from_beginning_to_end() -> None:
    reader = read(BEGUN, *EXECUTOR, STAGE, "    train: step 3/10, loss 2.50\n")
    train = reader.steps["train"]
    assert (train.state, train.said, train.seconds(9.0)) == (
        State.RUNNING,
        "step 3/10, loss 2.50",
        9,
    )
    reader.feed("    [KFP Executor 2026 INFO]: Wrote executor output file\n", 10)
    assert train.said == "step 3/10, loss 2.50"
    assert reader.feed(DONE, 12)
    assert (train.state, train.said, train.seconds(99)) == (State.DONE, "found by train", 12)
    assert reader.steps["resolve_config"].state is State.WAITING


@pytest.mark.parametrize(
    ("line", "said"),
    [("train: 8 of 10", "8 of 10"), ("training on 8 images", "training on 8 images")],
)
def test_only_its_own_name_is_left_out(line: str, said: str) -> None:
    assert read(BEGUN, STAGE, line).steps["train"].said == said


def test_only_what_the_stage_says_is_a_change() -> None:
    reader = LogReader(("train",), str)
    news = [line for line in (BEGUN, *EXECUTOR, STAGE, "\n", "    hello\n") if reader.feed(line, 0)]
    assert news == [BEGUN, "    hello\n"]


def test_a_note_stands_until_the_stage_speaks() -> None:
    reader = read(BEGUN)
    assert reader.steps["train"].said == "begins"
    reader.note("stopping")
    assert reader.steps["train"].said == "stopping"
    read().note("nobody is there to say it")


def test_dashes_of_kubeflow_are_underscores_of_ours() -> None:
    reader = read(BEGUN.replace("train", "resolve-config"))
    assert reader.steps["resolve_config"].state is State.RUNNING


@pytest.mark.parametrize(
    ("said", "code", "message"),
    [
        (["error: a.json: no box (exit 3)"], 3, "train: a.json: no box"),
        (
            ["Traceback (most recent call last):", '  File "x.py", line 1', "KeyError: 'x'"],
            1,
            "train ended with a bug, please report it: KeyError: 'x'",
        ),
        (["step 3/10"], 75, "train was killed, perhaps for want of memory"),
        ([], 75, "train was killed"),
    ],
)
def test_why_a_step_failed(said: list[str], code: int, message: str) -> None:
    error = read(BEGUN, STAGE, *said, FAILED).steps["train"].error()
    assert error.exit_code == code
    assert str(error).startswith(message)


def test_a_trace_before_the_stage_begins_is_heard() -> None:
    lines = [
        BEGUN,
        *EXECUTOR,
        "    Traceback (most recent call last):",
        "    ImportError: x",
        FAILED,
    ]
    error = read(*lines).steps["train"].error()
    assert (error.exit_code, str(error)[-14:]) == (1, "ImportError: x")
