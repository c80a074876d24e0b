"""The evaluate stage on the bundled images."""

import json
import re
import shutil
from pathlib import Path

import pytest

from ssd_core.config import EvaluateConfig, parse_section
from ssd_core.data.shards.reader import open_split
from ssd_core.errors import DataError, UsageError
from ssd_core.evaluation.check import run_pycocotools
from ssd_core.evaluation.coco import COCO_METRICS
from ssd_core.evaluation.voc import VOC_METRICS
from ssd_core.stages import evaluate
from ssd_core.stages.detector import check_classes
from ssd_core.store import LocalDirectory
from ssd_core.structures import ClassInfo
from tests.commands import call_ssd
from tests.datasets import convert_into
from tests.evaluation.oracle import make_ground_truth

NAMES = ["Platelets", "RBC", "WBC"]
FEW = {"postprocess": {"score_threshold": 0.3}}
"""Few detections, for tests of anything but accuracy."""


def read(path):
    return json.loads(path.read_text())


def run(model_dir, data_dir, out_dir, config=None):
    locations = (LocalDirectory(model_dir), LocalDirectory(data_dir))
    section = parse_section(EvaluateConfig, config or {}, "evaluate")
    return evaluate.run(section, *locations, LocalDirectory(out_dir), device="cpu")


@pytest.fixture(scope="module")
def ground_truth(bccd_shards, tmp_path_factory):
    """Return the val split as a COCO file."""
    reader = open_split(LocalDirectory(bccd_shards), "val")
    records = list(reader.read(range(reader.num_images)))
    image_ids = [record.image_id for record in records]
    truths = [record.annotations for record in records]
    path = tmp_path_factory.mktemp("truth") / "val.json"
    path.write_text(json.dumps(make_ground_truth(image_ids, truths, reader.classes)))
    return path


def test_pycocotools_computes_the_same_metrics_from_the_written_detections(
    evaluation_dir, ground_truth
):
    evaluator, _ = run_pycocotools(read(ground_truth), str(evaluation_dir / "detections.json"))
    metrics = read(evaluation_dir / "results.json")["metrics"]
    assert list(metrics)[:12] == list(COCO_METRICS)
    ours = [-1 if (value := metrics[name]) is None else value for name in COCO_METRICS]
    assert ours == pytest.approx(evaluator.stats.tolist(), abs=1e-9)
    assert metrics["ap50"] > 0


def test_files_without_a_model_have_the_same_figures(evaluation_dir, ground_truth, tmp_path):
    written = evaluation_dir / "ground_truth.json"
    for image in (content := read(written))["images"]:
        assert image.pop("file_name").endswith(".jpg")
    assert content == read(ground_truth)
    files = ["--detections", evaluation_dir / "detections.json", "--ground-truth", written]
    options = ["--check", "--set", "evaluate.voc_ap=true"]
    done = call_ssd("evaluate", *files, *options, "--out", tmp_path / "out")
    assert done.returncode == 0, done.stderr
    *_, checked, path = done.stdout.splitlines()
    assert checked == "pycocotools computes the same twelve figures"
    results, ours = read(Path(path)), read(evaluation_dir / "results.json")
    assert {name: results["metrics"][name] for name in ours["metrics"]} == pytest.approx(
        ours["metrics"], abs=1e-9
    )
    for name in ("images", "skipped_images", "objects", "sizes", "detections", "confusion"):
        assert results[name] == ours[name]


def test_file_names_identify_the_images_of_a_prediction(evaluation_dir, tmp_path):
    """`ssd predict` numbers images in the order in which it gets them."""
    images = read(evaluation_dir / "ground_truth.json")["images"]
    numbers = {image["id"]: len(images) - row for row, image in enumerate(images)}
    listed = [
        {"id": numbers[image["id"]], "file_name": f"photos/{image['file_name']}"}
        for image in images
    ]
    rows = [
        row | {"image_id": numbers[row["image_id"]]}
        for row in read(evaluation_dir / "detections.json")
    ]
    found = tmp_path / "detections.json"
    found.write_text(json.dumps(rows))
    (tmp_path / "images.json").write_text(json.dumps({"images": listed, "categories": []}))
    truth = evaluation_dir / "ground_truth.json"
    words = ["--detections", found, "--ground-truth", truth, "--out", tmp_path / "out"]
    assert (done := call_ssd("evaluate", *words)).returncode == 0, done.stderr
    metrics = [
        read(folder / "results.json")["metrics"] for folder in (tmp_path / "out", evaluation_dir)
    ]
    assert metrics[0]["ap"] == pytest.approx(metrics[1]["ap"], abs=1e-9)
    assert set(read(tmp_path / "out/invocation.json")["inputs"]) > {"images"}


def test_results_and_invocation_describe_model_and_data(evaluation_dir, trained_dir, bccd_shards):
    results = read(evaluation_dir / "results.json")
    invocation = read(evaluation_dir / "invocation.json")
    assert results["images"] == 40
    assert results["model"]["recipe"] == "demo"
    assert results["data"] == {"name": "bccd", "split": "val"}
    assert {row["name"] for row in results["classes"]} == {"RBC", "WBC", "Platelets"}
    assert all(len(row["precision_at_recall"]) == 101 for row in results["classes"])
    assert invocation["inputs"]["dataset"]["uri"] == str(bccd_shards)
    assert invocation["inputs"]["model"]["uri"] == str(trained_dir)
    assert len(invocation["inputs"]["model"]["digest"]) == 64
    assert invocation["config"]["split"] == "val"


@pytest.fixture
def crowded_source(few_images, tmp_path):
    """Return COCO data whose four val images have a crowd of RBC, a Platelets crowd, none, WBC."""
    source = Path(shutil.copytree(few_images / "JPEGImages", tmp_path / "source"))
    names = sorted(path.name for path in source.iterdir())
    objects = [(0, 2, 0), (0, 2, 1), (1, 1, 1), (1, 3, 0), (3, 3, 0)]
    for split, first in (("train", 0), ("val", 4)):
        content = {
            "images": [{"id": k, "file_name": names[first + k]} for k in range(4)],
            "annotations": [
                {"id": number, "image_id": image, "category_id": label, "iscrowd": is_crowd}
                | {"bbox": [9, 9, 60 + number, 60], "area": 999}
                for number, (image, label, is_crowd) in enumerate(objects, start=1)
            ],
            "categories": [{"id": k + 1, "name": name} for k, name in enumerate(NAMES)],
        }
        (source / f"{split}.json").write_text(json.dumps(content))
    return source


@pytest.mark.parametrize("crowd", ["keep", "object"])
def test_images_with_a_crowd_or_without_objects_are_left_out_on_request(
    trained_dir, crowded_source, tmp_path, caplog, crowd
):
    caplog.set_level("INFO", logger="ssd")
    convert_into(tmp_path / "shards", {"crowd": crowd}, crowded_source)
    config = FEW | {"images": "mindspore", "closing_line": True}
    result = run(trained_dir, tmp_path / "shards", tmp_path / "out", config)
    results = read(tmp_path / "out" / "results.json")
    assert (results["images"], results["skipped_images"], results["objects"]) == (1, 3, 1)
    assert result.metadata["skipped_images"] == 3
    assert result.metadata["image_set"] == results["image_set"] == "mindspore"
    assert {row["image_id"] for row in read(tmp_path / "out" / "detections.json")} <= {3}
    [*_, note, _, _, last] = caplog.messages[-1].splitlines()
    assert note.startswith("not COCO's figures: mindspore's reduced set, 1 of 4 images, without")
    assert last == f"mAP: {results['metrics']['ap']}"


def test_data_without_all_their_crowds_are_not_reduced(trained_dir, crowded_source, tmp_path):
    convert_into(tmp_path / "shards", {"classes": NAMES[1:]}, crowded_source)
    with pytest.raises(DataError, match="2 objects of other classes were left out by --classes"):
        run(trained_dir, tmp_path / "shards", tmp_path / "out", {"images": "mindspore"})


def test_the_twelve_lines_and_a_table_of_classes_are_printed(
    trained_dir, bccd_shards, tmp_path, caplog
):
    caplog.set_level("INFO", logger="ssd")
    result = run(trained_dir, bccd_shards, tmp_path, FEW)
    *twelve, blank, intervals, _, titles, platelets, _, _, total = caplog.messages[-1].splitlines()
    assert len(twelve) == 12
    assert twelve[0].startswith(
        " Average Precision  (AP) @[ IoU=0.50:0.95 | area=   all | maxDets=100"
    )
    assert twelve[0].endswith(f"{result.metrics['ap']:.3f}")
    assert re.split(" {2,}", titles) == [
        *("class", "objects", "AP", "AP50", "AP small", "AP medium", "AP large"),
        *("F1", "F1 at score"),
    ]
    low, high = read(tmp_path / "results.json")["intervals"]["ap"]
    assert intervals.startswith(f"AP {result.metrics['ap']:.3f} [{low:.3f}, {high:.3f}], AP50 ")
    assert blank == ""
    row = read(tmp_path / "results.json")["classes"][0]
    values = [row["name"], str(row["objects"]), f"{row['ap']:.3f}", f"{row['ap50']:.3f}"]
    assert platelets.split()[:4] == values
    assert total.split()[:3] == ["all", "520", f"{result.metrics['ap']:.3f}"]


def test_voc_figures_are_added_on_request(trained_dir, bccd_shards, tmp_path):
    result = run(trained_dir, bccd_shards, tmp_path, FEW | {"voc_ap": True})
    results = read(tmp_path / "results.json")
    for name in VOC_METRICS:
        values = [row[name] for row in results["classes"]]
        assert results["metrics"][name] == pytest.approx(sum(values) / 3)
    assert 0 < result.metrics["voc_ap_12"] == pytest.approx(result.metrics["ap50"], abs=0.03)


def test_classes_other_than_those_of_the_model_are_refused():
    def classes(*names):
        return [ClassInfo(label=k, name=n, category_id=k) for k, n in enumerate(names, start=1)]

    check_classes(classes("a", "b"), classes("a", "b"))
    with pytest.raises(DataError, match="label 2 is 'b' in the model and 'c' in the data set"):
        check_classes(classes("a", "b"), classes("a", "c"))
    with pytest.raises(DataError, match="--classes 1,2, or name .* with ssd import-weights"):
        check_classes(classes("1", "2"), classes("a", "b"))
    with pytest.raises(DataError, match="the model has 1 and the data set 2"):
        check_classes(classes("a"), classes("a", "b"))


def test_wrong_arguments_keep_earlier_results_and_a_failing_run_removes_them(
    trained_dir, evaluation_dir, undecodable_shards, tmp_path
):
    out_dir = Path(shutil.copytree(evaluation_dir, tmp_path / "out"))
    with pytest.raises(UsageError, match="nothing does not exist; create or complete"):
        run(trained_dir, tmp_path / "nothing", out_dir)
    assert read(out_dir / "results.json") == read(evaluation_dir / "results.json")
    with pytest.raises(DataError, match=r"\.jpg: the file cannot be decoded"):
        run(trained_dir, undecodable_shards, out_dir)
    assert not (out_dir / "results.json").exists()
