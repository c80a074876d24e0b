"""The evaluate stage on the bundled photographs."""

import contextlib
import io
import json
import shutil
from pathlib import Path

import pytest
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from ssd_core.data.shards.reader import open_split
from ssd_core.errors import DataError, UsageError
from ssd_core.evaluation.coco import COCO_METRICS
from ssd_core.stages import evaluate
from ssd_core.store import LocalDirectory
from ssd_core.structures import ClassInfo

FEW = {"postprocess": {"score_threshold": 0.3}}
"""Few detections, where only the course of the stage matters."""


def read(path):
    return json.loads(path.read_text())


def ground_truth(data_dir, split):
    """The split in the format of pycocotools."""
    reader = open_split(LocalDirectory(data_dir), split)
    categories = {info.label: info.category_id for info in reader.classes}
    images, rows = [], []
    for record in reader.read(range(reader.num_images)):
        images.append({"id": record.image_id})
        truth = record.annotations
        for box, label, area in zip(truth.boxes, truth.labels, truth.areas, strict=True):
            x0, y0, x1, y1 = (float(value) for value in box)
            row = {"id": len(rows) + 1, "image_id": record.image_id, "iscrowd": 0}
            row |= {"category_id": categories[int(label)], "area": float(area)}
            rows.append(row | {"bbox": [x0, y0, x1 - x0, y1 - y0]})
    names = [{"id": info.category_id, "name": info.name} for info in reader.classes]
    return {"info": {}, "images": images, "annotations": rows, "categories": names}


def test_pycocotools_finds_the_same_numbers_in_the_written_detections(evaluation_dir, bccd_shards):
    with contextlib.redirect_stdout(io.StringIO()):
        truth = COCO()
        truth.dataset = ground_truth(bccd_shards, "val")
        truth.createIndex()
        evaluator = COCOeval(truth, truth.loadRes(str(evaluation_dir / "detections.json")), "bbox")
        evaluator.evaluate()
        evaluator.accumulate()
        evaluator.summarize()
    metrics = read(evaluation_dir / "results.json")["metrics"]
    assert list(metrics) == list(COCO_METRICS)
    ours = [-1 if value is None else value for value in metrics.values()]
    assert ours == pytest.approx(evaluator.stats.tolist(), abs=1e-9)
    assert metrics["ap50"] > 0


def test_results_and_invocation_say_what_was_evaluated(evaluation_dir, trained_dir, bccd_shards):
    results, invocation = (
        read(evaluation_dir / "results.json"),
        read(evaluation_dir / "invocation.json"),
    )
    assert results["images"] == 40
    assert results["model"]["recipe"] == "demo"
    assert results["data"] == {"name": "bccd", "split": "val"}
    assert {row["name"] for row in results["classes"]} == {"RBC", "WBC", "Platelets"}
    assert all(len(row["precision_at_recall"]) == 101 for row in results["classes"])
    assert invocation["inputs"]["data_dir"]["uri"] == str(bccd_shards)
    assert invocation["inputs"]["model_dir"]["uri"] == str(trained_dir)
    assert len(invocation["inputs"]["model_dir"]["digest"]) == 64
    assert invocation["config"]["split"] == "val"


def test_the_twelve_lines_are_logged(trained_dir, bccd_shards, tmp_path, caplog):
    caplog.set_level("INFO", logger="ssd")
    result = evaluate.run(
        FEW, LocalDirectory(trained_dir), LocalDirectory(bccd_shards), tmp_path, device="cpu"
    )
    [text] = [record.getMessage() for record in caplog.records if "maxDets" in record.getMessage()]
    first = text.splitlines()[0]
    assert len(text.splitlines()) == 12
    assert first.startswith(" Average Precision  (AP) @[ IoU=0.50:0.95 | area=   all | maxDets=100")
    assert first.endswith(f"{result.metrics['ap']:.3f}")


def test_other_classes_than_the_models_are_refused():
    def classes(*names):
        return [ClassInfo(label=k, name=n, category_id=k) for k, n in enumerate(names, start=1)]

    evaluate.check_classes(classes("a", "b"), classes("a", "b"))
    with pytest.raises(DataError, match="label 2 is 'b' in the model and 'c' in the data set"):
        evaluate.check_classes(classes("a", "b"), classes("a", "c"))
    with pytest.raises(DataError, match="the model knows 1, the data set has 2"):
        evaluate.check_classes(classes("a"), classes("a", "b"))


def test_results_outlive_wrong_words_but_not_a_run_that_fails(
    trained_dir, evaluation_dir, undecodable_shards, tmp_path
):
    out_dir = Path(shutil.copytree(evaluation_dir, tmp_path / "out"))
    with pytest.raises(DataError, match="nothing holds no converted data set"):
        evaluate.run(
            {},
            LocalDirectory(trained_dir),
            LocalDirectory(tmp_path / "nothing"),
            out_dir,
            device="cpu",
        )
    assert read(out_dir / "results.json") == read(evaluation_dir / "results.json")
    with pytest.raises(DataError, match=r"\.jpg: the image cannot be decoded"):
        evaluate.run(
            {},
            LocalDirectory(trained_dir),
            LocalDirectory(undecodable_shards),
            out_dir,
            device="cpu",
        )
    assert not (out_dir / "results.json").exists()


def test_wrong_words_leave_nothing_behind(trained_dir, tmp_path):
    with pytest.raises(DataError):
        evaluate.run(
            {},
            LocalDirectory(trained_dir),
            LocalDirectory(tmp_path / "nothing"),
            tmp_path / "out",
            device="cpu",
        )
    assert not (tmp_path / "out").exists()


def test_bad_words_are_named(trained_dir, bccd_shards, tmp_path):
    with pytest.raises(UsageError, match=r"evaluate\.batch_sise.*evaluate\.batch_size"):
        evaluate.run(
            {"batch_sise": 3}, LocalDirectory(trained_dir), LocalDirectory(bccd_shards), tmp_path
        )
    with pytest.raises(UsageError, match="no such model directory"):
        evaluate.run(
            {}, LocalDirectory(tmp_path / "no"), LocalDirectory(bccd_shards), tmp_path, device="cpu"
        )
    blocked = tmp_path / "file"
    blocked.write_text("")
    with pytest.raises(UsageError, match="cannot write there"):
        evaluate.run(
            {}, LocalDirectory(trained_dir), LocalDirectory(bccd_shards), blocked, device="cpu"
        )
