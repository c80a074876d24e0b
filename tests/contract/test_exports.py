"""Exported files compute what the model computes, and the page about them is true."""

import json
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from ssd_core import load_detector
from ssd_core.backends import find_framework
from ssd_core.backends.formats import FORMATS
from ssd_core.data.batches.resize import load_image
from ssd_core.errors import GateError, OwnershipError, UsageError
from ssd_core.layouts.ckpt import read_ckpt
from ssd_core.model_dir import read_model
from ssd_core.stages import export
from ssd_core.store import LocalDirectory
from ssd_core.store.known_file import KnownFile
from tests.requirements import INSTALLED_FRAMEWORKS
from tests.small_model import describe_input

ROOT = Path(__file__).parents[2]
PHOTOGRAPHS = sorted((ROOT / "examples/bccd/JPEGImages").glob("*.jpg"))[:9]
PAGE = (ROOT / "docs" / "export.md").read_text()
RUN = [
    (framework, name)
    for framework in INSTALLED_FRAMEWORKS
    for name, exporter in find_framework(framework).exporters.items()
    if exporter.run is not None
]


def export_model(model_dir, out, format_name, **options):
    model = LocalDirectory(model_dir)
    return export.run(model, LocalDirectory(out), format_name=format_name, **options)


@pytest.fixture(scope="module", params=RUN, ids="-".join)
def exported(request, sure_model, tmp_path_factory):
    """Framework, format, and the file that was written."""
    framework, name = request.param
    path = tmp_path_factory.mktemp("exported") / "out" / f"cells{FORMATS[name].suffix}"
    images = [LocalDirectory(each) for each in PHOTOGRAPHS]
    result = export_model(sure_model, path, name, images=images, framework=framework)
    assert result.metadata["file"] == str(path)
    return framework, name, path


def test_the_file_detects_what_the_model_detects(exported, sure_model):
    framework, name, path = exported
    images = [load_image(each.read_bytes(), describe_input(128))[0] for each in PHOTOGRAPHS[:3]]
    run = find_framework(framework).exporters[name].run
    boxes, scores = run(path, np.stack(images))  # of a batch as large as none before
    alone, _ = run(path, images[0][None])
    np.testing.assert_allclose(alone[0], boxes[0], atol=1e-5)
    detector = load_detector(sure_model, framework=framework, device="cpu")
    for photograph, of_image, score in zip(PHOTOGRAPHS, boxes, scores, strict=False):
        found = detector(photograph)
        assert 0 < len(found.scores) < len(score)
        nearest = np.abs(found.boxes[:, None] / [640, 480, 640, 480] - of_image).sum(axis=-1)
        assert (nearest.min(axis=1) < 1e-4).all()
        np.testing.assert_allclose(score[nearest.argmin(axis=1), 0], found.scores, atol=1e-4)


def test_the_certificate_lists_source_interface_and_differences(exported, sure_model):
    framework, name, path = exported
    certificate = json.loads(path.with_name(f"{path.name}.json").read_text())
    assert certificate["format"] == name
    assert KnownFile(**certificate["file"]) == KnownFile.of(path.name, path)
    weights = KnownFile.of("", sure_model / "weights.safetensors")
    assert certificate["model"]["sha256"] == weights.sha256
    assert set(certificate["versions"]) == {
        "ssd-core", framework, *FORMATS[name].packages[framework]
    }  # fmt: skip
    assert certificate["compared_on"] == [str(each) for each in PHOTOGRAPHS[:8]]
    assert 0 <= certificate["max_box_difference"] < 1e-2
    assert 0 <= certificate["max_score_difference"] < 1e-4
    assert certificate["classes"] == ["cell"]
    num_anchors = certificate["outputs"][0]["shape"][1]
    run = find_framework(framework).exporters[name].run
    outputs = run(path, np.zeros((1, 128, 128, 3), np.uint8))
    assert [list(each.shape) for each in outputs] == [[1, num_anchors, 4], [1, num_anchors, 1]]
    documented = set(re.findall(r"`(\w+)`", "".join(re.findall(r"^\| `.*?\|", PAGE, re.M))))
    assert certificate.keys() <= documented
    results = json.loads(path.with_name("results.json").read_text())
    assert [file["name"] for file in results["files"]] == [path.name, f"{path.name}.json"]


@pytest.mark.parametrize("exported", [each for each in RUN if "onnx" in each], indirect=True)
def test_the_code_of_the_page_needs_nothing_else(exported, sure_model):
    framework, _, path = exported
    [block] = re.findall(r"^```python\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)
    show = "import sys; print(json.dumps([*detect(*sys.argv[1:])]))"
    show += "; assert not [name for name in sys.modules if name.startswith('ssd_core')]"
    command = [sys.executable, "-c", block + show, path, PHOTOGRAPHS[0]]
    done = subprocess.run(command, cwd=path.parent, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    theirs = sorted(json.loads(done.stdout), key=lambda each: each[2])
    found = load_detector(sure_model, framework=framework, device="cpu")(PHOTOGRAPHS[0])
    ours = found.boxes[np.lexsort(found.boxes.T[::-1])]
    np.testing.assert_allclose([box for _, _, box in theirs], ours, atol=0.5)


@pytest.mark.parametrize("framework", INSTALLED_FRAMEWORKS)
def test_every_listed_format_is_written(framework):
    listed = {name for name, known in FORMATS.items() if framework in known.packages}
    assert listed == find_framework(framework).exporters.keys()


@pytest.mark.parametrize("framework", INSTALLED_FRAMEWORKS)
def test_weights_alone_are_written_by_either_framework(framework, sure_model, tmp_path):
    export_model(sure_model, tmp_path / "out", "ckpt", framework=framework)
    expected = read_model(LocalDirectory(sure_model)).weights
    written = read_ckpt((tmp_path / "out" / "model.ckpt").read_bytes())
    assert len(written) == len(expected)
    certificate = json.loads((tmp_path / "out" / "model.ckpt.json").read_text())
    assert (certificate["arrays"], "outputs" in certificate) == (len(expected), False)
    assert certificate["names"] == "ssd-core"


@pytest.mark.mindspore
def test_air_is_refused_without_an_ascend(sure_model, tmp_path):
    with pytest.raises(UsageError, match="on Ascend only, .*; use --format mindir"):
        export_model(sure_model, tmp_path / "out", "air")
    assert not list((tmp_path / "out").glob("*.air"))


@pytest.mark.parametrize("difference", [0.1, np.nan])
def test_a_file_that_computes_something_else_is_refused(difference):
    same = np.zeros((1, 5, 4), np.float32), np.zeros((1, 5, 2), np.float32)
    with pytest.raises(GateError, match="computes something else than the model: boxes differ by"):
        export._compare((same[0], same[1] + np.float32(difference)), same, 300)


def test_differences_are_printed_without_an_exponent(caplog):
    same = np.zeros((1, 5, 4), np.float32), np.zeros((1, 5, 2), np.float32)
    caplog.set_level("INFO", "ssd")
    export._compare((same[0], same[1] + np.float32(2e-5)), same, 300)
    assert caplog.messages == [
        "compared with the model on 1 images: boxes differ by up to 0 pixels and scores by up to "
        "0.00002"
    ]


def test_a_file_that_overflows_is_refused():
    boxes, scores = np.zeros((1, 5, 4), np.float32), np.zeros((1, 5, 2), np.float32)
    with pytest.raises(GateError, match="overflows: boxes differ by up to inf"):
        export._compare((boxes + np.inf, scores), (boxes, scores), 300, is_exact=False)


def test_files_of_others_are_not_overwritten(sure_model, tmp_path):
    (tmp_path / "notes.txt").write_text("mine")
    for out in (tmp_path, tmp_path / "cells.onnx"):
        with pytest.raises(OwnershipError, match="holds files, but no invocation.json"):
            export_model(sure_model, out, "onnx")
