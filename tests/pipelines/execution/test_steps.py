"""A pipeline with every kind of input and output, and the failures of a step."""

import io
import json
import re
import shlex
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import pytest
from kfp import dsl

from pipelines.execution.processes import Listener
from pipelines.execution.run import run_pipeline
from pipelines.execution.spec import read_tasks
from pipelines.execution.steps import Launch, Step, launch_process, run_step, write_step
from ssd_core.errors import OwnershipError, SsdError


@dsl.component(base_image="tools:1", install_kfp_package=False)
def produce(
    words: dict,
    count: int,
    model: dsl.Output[dsl.Model],
    metrics: dsl.Output[dsl.Metrics],
    confusion: dsl.Output[dsl.ClassificationMetrics],
    page: dsl.Output[dsl.HTML],
    summary: dsl.Output[dsl.Markdown],
) -> NamedTuple("Produced", [("total", int), ("names", list)]):  # type: ignore[valid-type]  # noqa: F821
    import sys
    from pathlib import Path

    Path(model.path).mkdir()
    (Path(model.path) / "weights").write_text("w")
    model.metadata["step"] = 7
    metrics.log_metric("ap50", 0.5)
    confusion.log_confusion_matrix(["a", "b"], [[1, 2], [3, 4]])
    Path(page.path).write_text("<html>")
    Path(summary.path).write_text("# Summary")
    print("ssd-core loud", file=sys.stderr)
    return (count + 1, sorted(words))


@dsl.component(base_image="tools:1", install_kfp_package=False)
def consume(
    total: int,
    names: list,
    run: str,
    note: str,
    model: dsl.Input[dsl.Model],
    page: dsl.Input[dsl.HTML],
    other: dsl.Input[dsl.Dataset] = None,
) -> str:
    import json
    from pathlib import Path

    weights = (Path(model.path) / "weights").read_text()
    text = Path(page.path).read_text()
    return json.dumps([total, names, run, note, model.metadata, weights, text, other])


@dsl.pipeline(name="everything")
def everything(words: dict, data_root: str, note: str = "by default") -> None:
    first = produce(words=words, count=2)
    second = consume(
        total=first.outputs["total"],
        names=first.outputs["names"],
        run=dsl.PIPELINE_JOB_ID_PLACEHOLDER,
        note=note,
        model=first.outputs["model"],
        page=first.outputs["page"],
    )
    a_last_one = produce(words={}, count=0)
    a_last_one.after(second)


def test_pipeline_with_every_kind_of_input_and_output(tmp_path: Path) -> None:
    root, stream = tmp_path / "a 'root' of $mine", io.StringIO()
    arguments = {"data_root": str(root), "words": {"b": 1, "a": 2.5}}
    done = run_pipeline(everything, arguments, launch_process, stream)
    begun = re.findall(r"^(\w+): begins$", stream.getvalue(), re.MULTILINE)
    assert begun == ["produce", "consume", "produce_2"]
    folder = root / "runs" / done.name / "local"
    output = json.loads((folder / "consume" / "executor_output.json").read_text())
    assert json.loads(output["parameterValues"]["Output"]) == [
        *(3, ["a", "b"], done.name, "by default"),
        *({"step": 7}, "w", "<html>", None),
    ]
    log = done.log_path.read_text()
    assert log.count("Got executor_input") == 3
    assert "ssd-core loud" in log


def make_step(out_dir: Path) -> Step:
    (task,) = read_tasks(produce)
    step = Step(replace(task, name="train"), {}, out_dir)
    write_step(step)
    return step


@pytest.mark.parametrize(
    ("script", "code", "message"),
    [
        ("echo 'error: a.json: no box (exit 3)'; exit 3", 3, "train: a.json: no box"),
        ("echo 'error: disk full (exit 75)'; echo bye; exit 75", 75, "train: disk full"),
        (
            "echo \"KeyError: 'x'\"; exit 1",
            1,
            "train ended with a bug, please report it: KeyError: 'x'",
        ),
        ("echo 'step 3/10'; kill -KILL $$", 75, "train was killed, possibly out of memory"),
        ("exit 137", 75, "train was killed, possibly out of memory"),
        ("echo no daemon; exit 125", 75, "docker could not run train: no daemon"),
        ("exit 127", 2, "tools:1 did not run train (exit 127, no executor_output.json)"),
        ("true", 2, "tools:1 did not run train (exit 0, no executor_output.json)"),
    ],
)
def test_why_a_step_failed(script: str, code: int, message: str, tmp_path: Path) -> None:
    """The output of an earlier run does not count as success."""
    (tmp_path / "executor_input.json").write_text("{}")
    (tmp_path / "executor_output.json").write_text("{}")
    launch = Launch(shlex.join(["sh", "-c", f"exec >&2; {script}"]))
    with pytest.raises(SsdError) as failed:
        run_step(make_step(tmp_path), launch, Listener())
    assert failed.value.exit_code == code
    assert str(failed.value).startswith(message)


def test_directory_with_other_files_is_refused(tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("mine")
    with pytest.raises(OwnershipError):
        make_step(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]
