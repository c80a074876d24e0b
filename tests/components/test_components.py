"""The components one after the other, with local artifacts and images of the bundled data set."""

import inspect
import json
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, get_args

import pytest
from kfp import dsl
from kfp.dsl.types.type_annotations import OutputAnnotation

from components.benchmark.component import benchmark
from components.convert.component import convert
from components.convert_share.component import convert_share
from components.evaluate.component import evaluate
from components.export.component import export
from components.fetch_model.component import fetch_model
from components.publish.component import publish
from components.report.component import report
from components.resolve_config.component import resolve_config
from components.train.component import train
from ssd_core.config import Recipe, parse_section
from ssd_core.data.shards.manifest import read_manifest
from ssd_core.model_dir import read_model
from ssd_core.recipes import RECIPES, load_recipe
from ssd_core.store import LocalDirectory
from tests.benchmark.series import plant_history

OVERRIDES = ("train.steps=3", "train.batch_size=2", "benchmark.seconds=0.1", "report.images=2")
STEPS = {
    "convert_share": convert_share,
    "convert": convert,
    "train": train,
    "evaluate": evaluate,
    "benchmark": benchmark,
    "report": report,
    "publish": publish,
    "export": export,
}
COMMON = {
    "framework": "torch",
    "device": "cpu",
    "num_devices": 1.0,
    "share": "2/2",
    "series": "",
    "run": "run-1",
    "name": "cells",
    "version": "1",
    "format": "torchscript",
}

Outputs = dict[str, Any]
"""Output artifacts of a component by name."""


def make_outputs(step: Any, folder: Path) -> Outputs:
    """Return new output artifacts in a folder, as the launcher passes them to a component."""
    folder.mkdir(parents=True)
    kinds = {
        name: get_args(parameter.annotation)[0]
        for name, parameter in inspect.signature(step.python_func).parameters.items()
        if OutputAnnotation in get_args(parameter.annotation)
    }
    return {
        name: kind(name=name, uri=str(folder / name), metadata={}) for name, kind in kinds.items()
    }


def execute(step: Any, folder: Path, **arguments: Any) -> Outputs:
    """Run a component with those of the arguments that it takes, and return its outputs."""
    outputs = make_outputs(step, folder)
    names = inspect.signature(step.python_func).parameters
    taken = {name: value for name, value in (COMMON | arguments).items() if name in names}
    step.python_func(**(taken | outputs))
    return outputs


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("root")


def resolve(recipe: str, overrides: Sequence[str]) -> dict[str, Any]:
    """Return a recipe as Kubeflow passes it, where every number is a double."""
    with TemporaryDirectory() as root:
        (resolved,) = resolve_config.python_func(
            recipe=recipe, overrides=list(overrides), data_root=root, run="run-1"
        )
    return json.loads(json.dumps(resolved), parse_int=float)  # type: ignore[no-any-return]


@pytest.fixture(scope="module")
def recipe() -> dict[str, Any]:
    return resolve("demo", OVERRIDES)


@pytest.fixture(scope="module")
def outputs(
    recipe: dict[str, Any],
    root: Path,
    few_images: Path,
    tmp_path_factory: pytest.TempPathFactory,
) -> dict[str, Outputs]:
    """Return the outputs of each step of a pipeline."""
    folder = tmp_path_factory.mktemp("artifacts")
    arguments = {"recipe": recipe, "data_root": str(root), "source": str(few_images)}
    outputs: dict[str, Outputs] = {}
    for name, step in STEPS.items():
        outputs[name] = execute(step, folder / name, **arguments)
        arguments |= outputs[name]
    return outputs


@pytest.mark.parametrize("name", RECIPES)
def test_resolved_recipe_is_complete_without_null(name: str) -> None:
    resolved = resolve(name, [])
    assert "null" not in json.dumps(resolved)
    assert parse_section(Recipe, resolved, "") == load_recipe(name)


def read_results(folder: Path) -> dict[str, Any]:
    return json.loads((folder / "results.json").read_text())  # type: ignore[no-any-return]


def test_a_dataset_artifact_refers_to_the_shards(outputs: dict[str, Outputs], root: Path) -> None:
    dataset = outputs["convert"]["dataset"]
    shards = Path(dataset.metadata["uri"])
    assert shards.parent == root / "datasets"
    assert dataset.metadata["digest"] == read_manifest(LocalDirectory(shards)).digest
    assert json.loads(Path(dataset.path).read_text()) == dataset.metadata
    splits = read_manifest(LocalDirectory(shards)).splits
    assert (splits["train"].images, splits["val"].images) == (8, 4)


def test_a_share_has_a_record_of_its_own(outputs: dict[str, Outputs], root: Path) -> None:
    """Its images are in the one shard of the evaluation split, the second of two."""
    kept = read_results(root / "runs" / "run-1" / "convert_share-2-of-2")
    assert outputs["convert_share"]["metrics"].metadata == kept["metrics"]
    assert kept["metrics"]["images"] == 4


def test_a_model_artifact_has_no_checkpoints(outputs: dict[str, Outputs], root: Path) -> None:
    folder = Path(outputs["train"]["model"].path)
    assert read_model(LocalDirectory(folder)).description.step == 3
    assert (folder / "train_log.jsonl").is_file()
    assert not (folder / "checkpoints").exists()
    (place,) = (root / "training").iterdir()
    assert (place / "checkpoints").is_dir()


@pytest.mark.parametrize(
    ("step", "name"),
    [
        ("train", "model"),
        ("evaluate", "evaluation"),
        ("benchmark", "speed"),
        ("export", "exported"),
    ],
)
def test_metrics_are_those_of_the_results(
    outputs: dict[str, Outputs], step: str, name: str
) -> None:
    results = read_results(Path(outputs[step][name].path))["metrics"]
    measured = {metric: value for metric, value in results.items() if value is not None}
    assert measured
    assert outputs[step]["metrics"].metadata == measured


@pytest.mark.parametrize(
    ("step", "name"),
    [("evaluate", "evaluation"), ("benchmark", "speed"), ("export", "exported")],
)
def test_results_are_also_kept_under_the_root(
    outputs: dict[str, Outputs], root: Path, step: str, name: str
) -> None:
    kept = read_results(root / "runs" / "run-1" / step)
    assert kept == read_results(Path(outputs[step][name].path))


def test_an_export_without_a_format_writes_nothing(
    outputs: dict[str, Outputs], root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert (root / "runs" / "run-1" / "export" / "model.pt").is_file()
    arguments = {"data_root": str(tmp_path / "root"), "model": outputs["train"]["model"]}
    empty = execute(export, tmp_path / "none", format="", **arguments)
    assert "no file is exported" in capsys.readouterr().err
    assert list(Path(empty["exported"].path).iterdir()) == []
    assert not (tmp_path / "root").exists()


def test_the_report_is_one_page(outputs: dict[str, Outputs], root: Path) -> None:
    page = Path(outputs["report"]["page"].path).read_text()
    assert page == (root / "runs" / "run-1" / "report" / "report.html").read_text()
    assert "<html" in page
    assert Path(outputs["report"]["summary"].path).stat().st_size


def test_the_run_keeps_the_record_of_its_training(outputs: dict[str, Outputs], root: Path) -> None:
    model, kept = Path(outputs["train"]["model"].path), root / "runs" / "run-1" / "train"
    assert sorted(path.name for path in kept.iterdir()) == ["invocation.json", "results.json"]
    name = "invocation.json"
    assert (kept / name).read_bytes() == (model / name).read_bytes()
    assert read_results(kept)["metrics"] == outputs["train"]["metrics"].metadata


def test_the_dashboard_gets_a_confusion_matrix(outputs: dict[str, Outputs]) -> None:
    matrix = outputs["evaluate"]["confusion"].metadata["confusionMatrix"]
    names = [entry["displayName"] for entry in matrix["annotationSpecs"]]
    assert names == ["Platelets", "RBC", "WBC", "background"]
    assert [len(row["row"]) for row in matrix["rows"]] == [4] * 4


def test_a_published_model_can_be_fetched_again(
    outputs: dict[str, Outputs], root: Path, tmp_path: Path
) -> None:
    published = root / "models" / "cells" / "1"
    assert outputs["publish"]["published"].metadata["uri"] == str(published)
    model = dsl.Model(uri=str(tmp_path / "model"), metadata={})
    fetch_model.python_func(
        uri=str(published), model=model, data_root=str(tmp_path / "root"), run="run-2"
    )
    assert model.metadata["recipe"] == "demo"
    fetched = read_model(LocalDirectory(Path(model.path)))
    assert fetched.description == read_model(LocalDirectory(published)).description


def test_a_series_of_benchmarks_on_generated_images(
    recipe: dict[str, Any], outputs: dict[str, Outputs], root: Path, tmp_path: Path
) -> None:
    arguments = {
        "recipe": recipe | {"benchmark": {"batch_sizes": [1.0], "seconds": 0.1}},
        "data_root": str(root),
        "series": "nightly",
        "model": outputs["train"]["model"],
    }
    measured = [execute(benchmark, tmp_path / run, run=run, **arguments) for run in ("1", "2")]
    verdicts = [each["speed"].metadata["verdict"] for each in measured]
    assert set(verdicts) <= {"not enough history", "not stable"}
    assert len(list((root / "benchmarks" / "nightly").iterdir())) == 2


def test_a_slower_benchmark_fails_after_writing_its_results(
    recipe: dict[str, Any],
    outputs: dict[str, Outputs],
    root: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """The earlier records are a million times faster; on a busy machine the run is not stable."""
    config = {"batch_sizes": [1.0], "seconds": 1.0, "fail_on_regression": 10.0}
    arguments = {
        "recipe": recipe | {"benchmark": config},
        "data_root": str(root),
        "series": "fast",
        "model": outputs["train"]["model"],
    }
    execute(benchmark, tmp_path / "first", run="first", **arguments)
    plant_history(root / "benchmarks" / "fast", factor=1e6)
    code: Any = 0
    try:
        execute(benchmark, tmp_path / "second", run="second", **arguments)
    except SystemExit as end:
        code = end.code
    verdict = read_results(root / "runs" / "second" / "benchmark")["verdict"]
    assert (code, verdict["word"]) in {(3, "slower"), (0, "not stable")}
    assert verdict["comparison"] in capsys.readouterr().err
    assert (root / "benchmarks" / "fast" / "000006.json").is_file()


def test_metadata_is_flat(outputs: dict[str, Outputs]) -> None:
    """Kubeflow Pipelines turns booleans, lists and dicts into something else."""
    artifacts = [
        artifact
        for step in outputs.values()
        for artifact in step.values()
        if not isinstance(artifact, dsl.ClassificationMetrics)  # the dashboard defines its form
    ]
    kinds = {type(value) for artifact in artifacts for value in artifact.metadata.values()}
    assert kinds <= {str, int, float}


def test_an_invalid_argument_ends_a_step_with_one_line(
    capsys: pytest.CaptureFixture[str],
) -> None:
    with pytest.raises(SystemExit) as end:
        resolve("demo", ["train.step=3"])
    assert end.value.code == 2
    message = "error: unknown key 'train.step'; did you mean 'train.steps'? (exit 2)"
    assert capsys.readouterr().err.splitlines()[1:] == [message]


@pytest.mark.parametrize("lost", ["dataset", "model", "source"])
def test_a_missing_input_is_named(
    lost: str,
    recipe: dict[str, Any],
    outputs: dict[str, Outputs],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    nowhere = str(tmp_path / "nowhere")
    inputs = {"model": outputs["train"]["model"], "dataset": outputs["convert"]["dataset"]}
    inputs |= {"recipe": recipe, "data_root": str(tmp_path / "root")}
    inputs[lost] = nowhere
    if lost != "source":
        inputs[lost] = dsl.Artifact(uri=nowhere, metadata={"uri": nowhere})
    with pytest.raises(SystemExit) as end:
        execute(convert if lost == "source" else evaluate, tmp_path / "out", **inputs)
    assert end.value.code == 2
    assert nowhere in capsys.readouterr().err.splitlines()[-1]
