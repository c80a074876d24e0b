"""Exported files work wherever a model does, in the runtimes that servers use."""

import json
import re
import shutil
from pathlib import Path

import numpy as np
import onnxruntime
import pytest

from ssd_core import load_detector
from ssd_core.config import BenchmarkConfig, EvaluateConfig
from ssd_core.data.batches.resize import load_image
from ssd_core.detection.boxes import compute_iou
from ssd_core.errors import DataError, UsageError
from ssd_core.stages import benchmark, evaluate, export
from ssd_core.stages.serving import kserve_manifest
from ssd_core.store import LocalDirectory
from tests.processes import run_ssd

PHOTOGRAPHS = sorted((Path(__file__).parents[2] / "examples/bccd/JPEGImages").glob("*.jpg"))[:16]
RUNTIMES = ("onnxruntime", "openvino")
PRECISIONS = ("fp32", "fp16", "int8")
FEW = EvaluateConfig.model_validate({"postprocess": {"score_threshold": 0.2}})


@pytest.fixture(scope="module")
def exported(trained_dir, tmp_path_factory):
    """Return the file in each precision."""
    folder = tmp_path_factory.mktemp("exported")
    images = [LocalDirectory(each) for each in PHOTOGRAPHS]
    for precision in PRECISIONS:
        export.run(
            LocalDirectory(trained_dir),
            LocalDirectory(folder / precision),
            format_name="onnx",
            precision=precision,
            images=images,
        )
    return {precision: folder / precision / "model.onnx" for precision in PRECISIONS}


def read_ap50(model, shards, out, framework):
    locations = map(LocalDirectory, (model, shards, out))
    return evaluate.run(FEW, *locations, framework=framework, device="cpu").metrics["ap50"]


@pytest.mark.parametrize("runtime", RUNTIMES)
def test_a_file_detects_what_its_model_detects(runtime, exported, trained_dir):
    expected = load_detector(trained_dir, score=0.3, device="cpu")
    detector = load_detector(exported["fp32"], score=0.3, framework=runtime, device="cpu")
    for photograph in PHOTOGRAPHS[:6]:
        ours, theirs = detector(photograph), expected(photograph)
        sure = np.flatnonzero(theirs.scores > 0.35)  # rounding moves scores across the threshold
        assert len(sure) > 0
        overlaps = compute_iou(theirs.boxes[sure], ours.boxes)
        twins = overlaps.argmax(axis=1)
        assert overlaps.max(axis=1).min() > 0.999
        np.testing.assert_allclose(ours.scores[twins], theirs.scores[sure], atol=1e-3)
        assert [ours.names[twin] for twin in twins] == [theirs.names[row] for row in sure]
    assert detector.model.classes == expected.model.classes  # with the ids of their source


@pytest.mark.parametrize(
    ("runtime", "precision", "tolerance"),
    [
        ("onnxruntime", "fp32", 1e-4),
        ("onnxruntime", "fp16", 0.02),
        ("onnxruntime", "int8", 0.05),
        ("openvino", "fp32", 1e-4),
        ("openvino", "int8", 0.05),
    ],
)
def test_a_file_is_as_accurate_as_its_model(
    runtime, precision, tolerance, exported, trained_dir, bccd_shards, tmp_path
):
    expected = read_ap50(trained_dir, bccd_shards, tmp_path / "model", "torch")
    found = read_ap50(exported[precision], bccd_shards, tmp_path / "file", runtime)
    assert found == pytest.approx(expected, abs=tolerance)
    results = json.loads((tmp_path / "file" / "results.json").read_text())
    assert results["environment"]["framework"].startswith(runtime)
    assert results["environment"]["precision"] == precision


def test_int8_takes_a_quarter_of_the_bytes(exported):
    sizes = {name: path.stat().st_size for name, path in exported.items()}
    assert sizes["int8"] < 0.4 * sizes["fp32"]
    assert sizes["fp16"] < 0.6 * sizes["fp32"]


@pytest.mark.parametrize("runtime", RUNTIMES)
def test_a_benchmark_measures_a_file(runtime, exported, tmp_path):
    section = BenchmarkConfig(batch_sizes=(1,), seconds=0.01)
    file, out = LocalDirectory(exported["fp32"]), LocalDirectory(tmp_path)
    assert benchmark.run(section, file, out, framework=runtime).metrics["images_per_second"] > 0
    conditions = json.loads((tmp_path / "results.json").read_text())["environment"]
    assert conditions["framework"].partition(" ")[0] == runtime


def test_the_accuracy_of_the_same_file_stands_beside_its_speed(exported, bccd_shards, tmp_path):
    read_ap50(exported["int8"], bccd_shards, tmp_path / "evaluation", "onnxruntime")
    ap = json.loads((tmp_path / "evaluation" / "results.json").read_text())["metrics"]["ap"]

    def measure(precision, runtime):
        section = BenchmarkConfig(batch_sizes=(1,), seconds=0.01)
        file, out = LocalDirectory(exported[precision]), LocalDirectory(tmp_path / "speed")
        evaluation = LocalDirectory(tmp_path / "evaluation")
        return benchmark.run(section, file, out, evaluation=evaluation, framework=runtime)

    assert measure("int8", "onnxruntime").metrics["ap"] == ap
    with pytest.raises(UsageError, match="is not an evaluation of .*model.onnx"):
        measure("fp32", "onnxruntime")
    with pytest.raises(UsageError, match="was computed by onnxruntime .* would be by openvino"):
        measure("int8", "openvino")


@pytest.mark.parametrize("runtime", RUNTIMES)
def test_predict_takes_a_file(runtime, exported, tmp_path, monkeypatch):
    source = ("--model", exported["fp32"], "--framework", runtime, PHOTOGRAPHS[0])
    options = ("--score", "0.3", "--out", tmp_path)
    monkeypatch.setenv("ONEDNN_MAX_CPU_ISA", "AVX2")  # where OpenVINO crashes in bf16
    done = run_ssd("predict", *source, *options)
    assert done.returncode == 0, done.stderr
    [line] = (tmp_path / "predictions.jsonl").read_text().splitlines()
    assert "error" not in json.loads(line)


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        ({"format_name": "torchscript", "precision": "fp16"}, "has no precision 'fp16'"),
        ({"format_name": "onnx", "precision": "int8"}, "int8 is calibrated on photographs"),
        ({"format_name": "onnx", "triton": "Cells"}, "not a name for a served model"),
        ({"format_name": "torchscript", "triton": "cells"}, "--triton expects --format onnx"),
    ],
)
def test_an_export_that_cannot_be_is_refused(options, problem, trained_dir, tmp_path):
    with pytest.raises(UsageError, match=problem):
        export.run(LocalDirectory(trained_dir), LocalDirectory(tmp_path / "out"), **options)
    assert not (tmp_path / "out").exists()


def _flip(path):
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


@pytest.mark.parametrize(
    ("damage", "problem"),
    [
        (lambda file: file.with_name("model.onnx.json").unlink(), "json is missing; write both"),
        (lambda file: file.with_name("model.onnx.json").write_text("{}"), "json: .*; write both"),
        (_flip, "is damaged"),
        (lambda file: file.unlink(), "is missing"),
    ],
)
def test_a_damaged_file_is_refused(damage, problem, exported, tmp_path):
    shutil.copytree(exported["fp32"].parent, tmp_path / "copy")
    damage(tmp_path / "copy" / "model.onnx")
    with pytest.raises(DataError, match=problem):
        load_detector(tmp_path / "copy" / "model.onnx")


def test_a_model_that_cannot_be_computed_is_refused(exported, trained_dir):
    with pytest.raises(UsageError, match="nowhere.onnx does not exist; expected a file of"):
        load_detector("nowhere.onnx")
    with pytest.raises(UsageError, match="an exported file .*; use --framework onnxruntime or"):
        load_detector(exported["fp32"], framework="torch")
    with pytest.raises(UsageError, match="a model .*; use --framework torch or mindspore"):
        load_detector(trained_dir, framework="openvino")
    with pytest.raises(UsageError, match="device 'cuda' is not available"):
        load_detector(exported["fp32"], device="cuda")


def test_a_repository_of_triton_describes_its_file(trained_dir, tmp_path):
    options = {"format_name": "onnx", "triton": "cells"}
    result = export.run(LocalDirectory(trained_dir), LocalDirectory(tmp_path), **options)
    file = tmp_path / "cells" / "1" / "model.onnx"
    assert result.metadata["file"] == str(file)
    config = load_detector(file).model.detector.config
    images, _ = load_image(PHOTOGRAPHS[0].read_bytes(), config)
    session = onnxruntime.InferenceSession(file)
    found = session.run(None, {session.get_inputs()[0].name: images[None]})
    text = (tmp_path / "cells" / "config.pbtxt").read_text()
    tensors = re.findall(r'(\w+) { name: "(\w+)" data_type: (\w+) dims: (\[.*?\]) }', text)
    assert tensors == [
        ("input", "images", "TYPE_UINT8", str([*images.shape])),
        *(
            ("output", output.name, "TYPE_FP32", str([*array.shape[1:]]))
            for output, array in zip(session.get_outputs(), found, strict=True)
        ),
    ]
    assert not (tmp_path / "inference-service.json").exists()  # KServe reads a store


def test_kserve_reads_the_repository_of_the_store():
    predictor = json.loads(kserve_manifest("cells", "s3://bucket/served"))["spec"]["predictor"]
    assert predictor["model"]["storageUri"] == "s3://bucket/served"
