"""The components one after the other, with local artifacts and photographs of the bundled set."""

import itertools
import json
import re
import shutil
from pathlib import Path
from typing import Any

import pytest
from kfp import dsl

from components.benchmark.component import benchmark
from components.convert.component import convert
from components.evaluate.component import evaluate
from components.fetch_model.component import fetch_model
from components.publish.component import publish
from components.report.component import report
from components.resolve_config.component import resolve_config
from components.train.component import train
from ssd_core.data.shards.manifest import read_manifest
from ssd_core.model_dir import read_model
from ssd_core.stages.resolve_config import STAGES
from ssd_core.store import LocalDirectory
from ssd_core.store.places import Places

OVERRIDES = {
    "train.steps": 3,
    "train.batch_size": 2,
    "benchmark.seconds": 0.1,
    "report.images": 2,
}
ON_CPU = {"framework": "torch", "device": "cpu"}

Outputs = dict[str, dict[str, Any]]


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("root")


@pytest.fixture(scope="module")
def sections() -> dict[str, Any]:
    """Every stage's section after a way through Kubeflow, where every number is a double."""
    resolved = resolve_config.python_func(recipe="demo", overrides=OVERRIDES)
    plain: dict[str, Any] = dict(zip(("recipe", *STAGES), resolved, strict=True))
    return json.loads(json.dumps(plain), parse_int=float)  # type: ignore[no-any-return]


@pytest.fixture(scope="module")
def outputs(
    sections: dict[str, Any],
    root: Path,
    few_photographs: Path,
    tmp_path_factory: pytest.TempPathFactory,
) -> Outputs:
    """What each step leaves, by step and name."""
    folder = tmp_path_factory.mktemp("artifacts")
    everywhere: dict[str, Any] = {"data_root": str(root)}

    converted = make_artifacts(folder / "convert", dataset=dsl.Dataset, metrics=dsl.Metrics)
    convert.python_func(
        config=sections["convert"], source=str(few_photographs), **everywhere, **converted
    )
    everywhere |= {"dataset": converted["dataset"], "run": "run-1"}

    trained = make_artifacts(folder / "train", model=dsl.Model, metrics=dsl.Metrics)
    words = {"recipe": sections["recipe"], "num_devices": 1.0}
    train.python_func(**words, **ON_CPU, **everywhere, **trained)
    everywhere["model"] = trained["model"]

    evaluated = make_artifacts(
        folder / "evaluate",
        evaluation=dsl.Artifact,
        metrics=dsl.Metrics,
        confusion=dsl.ClassificationMetrics,
    )
    evaluate.python_func(config=sections["evaluate"], **ON_CPU, **everywhere, **evaluated)

    measured = make_artifacts(folder / "benchmark", speed=dsl.Artifact, metrics=dsl.Metrics)
    benchmark.python_func(
        config=sections["benchmark"], series="", **ON_CPU, **everywhere, **measured
    )

    reported = make_artifacts(folder / "report", page=dsl.HTML, summary=dsl.Markdown)
    found = {"evaluation": evaluated["evaluation"], "speed": measured["speed"]}
    report.python_func(config=sections["report"], **found, **everywhere, **reported)

    published = make_artifacts(folder / "publish", published=dsl.Artifact)
    del everywhere["dataset"]
    publish.python_func(
        config=sections["publish"], name="cells", version="1", **found, **everywhere, **published
    )
    return {
        "convert": converted,
        "train": trained,
        "evaluate": evaluated,
        "benchmark": measured,
        "report": reported,
        "publish": published,
    }


def make_artifacts(folder: Path, **kinds: type[dsl.Artifact]) -> dict[str, Any]:
    """Return output artifacts in a folder, as the launcher gives them to a component."""
    folder.mkdir(parents=True)
    return {
        name: kind(name=name, uri=str(folder / name), metadata={}) for name, kind in kinds.items()
    }


def read_results(folder: Path) -> dict[str, Any]:
    return json.loads((folder / "results.json").read_text())  # type: ignore[no-any-return]


def test_a_dataset_artifact_only_says_where_the_shards_are(outputs: Outputs, root: Path) -> None:
    dataset = outputs["convert"]["dataset"]
    shards = Path(dataset.metadata["uri"])
    assert shards.parent == root / "datasets"
    assert dataset.metadata["digest"] == read_manifest(LocalDirectory(shards)).digest
    assert json.loads(Path(dataset.path).read_text()) == dataset.metadata
    splits = read_manifest(LocalDirectory(shards)).splits
    assert (splits["train"].images, splits["val"].images) == (8, 4)


def test_a_model_artifact_holds_all_but_the_checkpoints(outputs: Outputs, root: Path) -> None:
    folder = Path(outputs["train"]["model"].path)
    assert read_model(LocalDirectory(folder)).description.step == 3
    assert (folder / "train_log.jsonl").is_file()
    assert not (folder / "checkpoints").exists()
    (place,) = (root / "training").iterdir()
    assert (place / "checkpoints").is_dir()


@pytest.mark.parametrize(
    ("step", "name"), [("train", "model"), ("evaluate", "evaluation"), ("benchmark", "speed")]
)
def test_metrics_are_those_of_the_results(outputs: Outputs, step: str, name: str) -> None:
    results = read_results(Path(outputs[step][name].path))["metrics"]
    measured = {metric: value for metric, value in results.items() if value is not None}
    assert measured
    assert outputs[step]["metrics"].metadata == measured


@pytest.mark.parametrize(("step", "name"), [("evaluate", "evaluation"), ("benchmark", "speed")])
def test_results_also_lie_under_the_root(
    outputs: Outputs, root: Path, step: str, name: str
) -> None:
    place = Places(str(root)).run("run-1", step)
    assert place.local is not None
    assert read_results(place.local) == read_results(Path(outputs[step][name].path))


def test_the_report_joins_them(outputs: Outputs, root: Path) -> None:
    page = Path(outputs["report"]["page"].path).read_text()
    assert page.encode() == Places(str(root)).run("run-1", "report").get("report.html")
    assert "<html" in page
    assert Path(outputs["report"]["summary"].path).stat().st_size


def test_train_leaves_its_record_with_the_run(outputs: Outputs, root: Path) -> None:
    place, model = Places(str(root)).run("run-1", "train"), Path(outputs["train"]["model"].path)
    assert isinstance(place, Path)
    assert sorted(path.name for path in place.iterdir()) == ["invocation.json", "results.json"]
    for path in place.iterdir():
        assert path.read_bytes() == (model / path.name).read_bytes()


def test_a_confusion_matrix_for_the_dashboard(outputs: Outputs) -> None:
    matrix = outputs["evaluate"]["confusion"].metadata["confusionMatrix"]
    names = [entry["displayName"] for entry in matrix["annotationSpecs"]]
    assert names == ["Platelets", "RBC", "WBC", "background"]
    assert [len(row["row"]) for row in matrix["rows"]] == [4] * 4


def test_a_confusion_matrix_that_nobody_could_read_is_left_out(
    sections: dict[str, Any], few_photographs: Path, tmp_path: Path
) -> None:
    """The dashboard draws a wall of cells; here the cells in the photographs are of 51 classes."""
    source = tmp_path / "many"
    shutil.copytree(few_photographs, source)
    numbers = itertools.count()
    for path in sorted(source.glob("Annotations/*.xml")):
        many = re.sub("<name>[^<]*", lambda _: f"<name>kind-{next(numbers) % 51}", path.read_text())
        path.write_text(many)
    words: dict[str, Any] = {"data_root": str(tmp_path / "root")}
    made = make_artifacts(tmp_path / "convert", dataset=dsl.Dataset, metrics=dsl.Metrics)
    convert.python_func(config=sections["convert"], source=str(source), **words, **made)
    assert made["dataset"].metadata["classes"] == 51
    words |= {"dataset": made["dataset"], "run": "run", **ON_CPU}
    learned = make_artifacts(tmp_path / "train", model=dsl.Model, metrics=dsl.Metrics)
    recipe = sections["recipe"] | {"train": sections["recipe"]["train"] | {"steps": 1}}
    train.python_func(recipe=recipe, num_devices=1, **words, **learned)
    found = make_artifacts(
        tmp_path / "evaluate",
        evaluation=dsl.Artifact,
        metrics=dsl.Metrics,
        confusion=dsl.ClassificationMetrics,
    )
    words["model"] = learned["model"]
    evaluate.python_func(config=sections["evaluate"], **words, **found)
    assert found["metrics"].metadata
    assert found["confusion"].metadata == {}


def test_a_published_model_can_be_fetched_again(
    outputs: Outputs, root: Path, tmp_path: Path
) -> None:
    place = root / "models" / "cells" / "1"
    assert outputs["publish"]["published"].metadata["uri"] == str(place)
    model = dsl.Model(uri=str(tmp_path / "model"), metadata={})
    fetch_model.python_func(uri=str(place), model=model)
    assert model.metadata["recipe"] == "demo"
    assert (
        read_model(LocalDirectory(Path(model.path))).description
        == read_model(LocalDirectory(place)).description
    )


def test_a_benchmark_of_a_series_on_generated_photographs(
    sections: dict[str, Any], outputs: Outputs, root: Path, tmp_path: Path
) -> None:
    verdicts = []
    for run in ("one", "two"):
        measured = make_artifacts(tmp_path / run, speed=dsl.Artifact, metrics=dsl.Metrics)
        benchmark.python_func(
            config=sections["benchmark"] | {"batch_sizes": [1.0], "tolerance": 1.0},
            data_root=str(root),
            run=run,
            series="nightly",
            model=outputs["train"]["model"],
            **ON_CPU,
            **measured,
        )
        verdicts.append(measured["speed"].metadata["verdict"])
    assert verdicts[0] == "first"
    assert verdicts[1] in {"same", "faster"}
    assert len(list((root / "benchmarks" / "nightly").iterdir())) == 2


def test_a_slower_benchmark_fails_when_all_is_written(
    sections: dict[str, Any],
    outputs: Outputs,
    root: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """The earlier record is made a million times faster than it was."""
    config = sections["benchmark"] | {"batch_sizes": [1.0], "fail_if_slower": True}
    words = {"config": config, "series": "fast", "data_root": str(root), **ON_CPU}
    words["model"] = outputs["train"]["model"]
    first = make_artifacts(tmp_path / "first", speed=dsl.Artifact, metrics=dsl.Metrics)
    benchmark.python_func(run="first", **words, **first)
    record_path = root / "benchmarks" / "fast" / "000001.json"
    record = json.loads(record_path.read_text())
    record["metrics"]["images_per_second"] *= 1e6
    record_path.write_text(json.dumps(record))
    second = make_artifacts(tmp_path / "second", speed=dsl.Artifact, metrics=dsl.Metrics)
    with pytest.raises(SystemExit) as end:
        benchmark.python_func(run="second", **words, **second)
    assert end.value.code == 3
    assert " images/s is slower: -100.0 % from " in capsys.readouterr().err.splitlines()[-1]
    results = Places(str(root)).run("second", "benchmark")
    assert isinstance(results, Path)
    assert read_results(results)["verdict"]["word"] == "slower"
    assert (root / "benchmarks" / "fast" / "000002.json").is_file()


def test_metadata_is_flat(outputs: Outputs) -> None:
    """Kubeflow Pipelines turns booleans, lists and dicts into something else."""
    artifacts = [
        artifact
        for step in outputs.values()
        for artifact in step.values()
        if not isinstance(artifact, dsl.ClassificationMetrics)  # whose form is the dashboard's own
    ]
    kinds = {type(value) for artifact in artifacts for value in artifact.metadata.values()}
    assert kinds <= {str, int, float}


@pytest.mark.parametrize(
    ("recipe", "overrides", "message"),
    [
        ("dmo", {}, "unknown recipe 'dmo'; did you mean 'demo'?"),
        ("demo", {"train.step": 3}, "unknown key 'train.step'; did you mean 'train.steps'?"),
    ],
)
def test_wrong_words_end_a_step_with_one_line(
    recipe: str, overrides: dict[str, Any], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as end:
        resolve_config.python_func(recipe=recipe, overrides=overrides)
    assert end.value.code == 2
    assert capsys.readouterr().err.splitlines()[1:] == [f"error: {message} (exit 2)"]


@pytest.mark.parametrize(("lost", "code"), [("model", 2), ("dataset", 3)])
def test_an_input_that_is_not_there_is_named(
    lost: str,
    code: int,
    sections: dict[str, Any],
    outputs: Outputs,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    nowhere = str(tmp_path / "nowhere")
    inputs = {"model": outputs["train"]["model"], "dataset": outputs["convert"]["dataset"]}
    inputs[lost] = type(inputs[lost])(uri=nowhere, metadata={"uri": nowhere})
    with pytest.raises(SystemExit) as end:
        evaluate.python_func(
            config=sections["evaluate"],
            data_root=str(tmp_path),
            run="run-2",
            **ON_CPU,
            **inputs,
            **make_artifacts(
                tmp_path / "out",
                evaluation=dsl.Artifact,
                metrics=dsl.Metrics,
                confusion=dsl.ClassificationMetrics,
            ),
        )
    assert end.value.code == code
    assert nowhere in capsys.readouterr().err.splitlines()[-1]


def test_a_source_that_is_not_there_is_named(
    sections: dict[str, Any], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    nowhere = str(tmp_path / "nowhere")
    with pytest.raises(SystemExit) as end:
        convert.python_func(
            config=sections["convert"],
            source=nowhere,
            data_root=str(tmp_path / "root"),
            **make_artifacts(tmp_path / "out", dataset=dsl.Dataset, metrics=dsl.Metrics),
        )
    assert end.value.code == 2
    assert nowhere in capsys.readouterr().err.splitlines()[-1]
    assert not (tmp_path / "root").exists()
