"""The report stage on the outputs of real stages."""

import html
import json
import re
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from ssd_core.data.shards.manifest import read_manifest
from ssd_core.errors import DataError, UsageError
from ssd_core.report import images
from ssd_core.stages import benchmark, convert, report
from ssd_core.stages.invocation import read_output
from ssd_core.store import LocalDirectory
from ssd_core.store.local import file_sha256
from tests.requirements import missing

ALL_PARTS = ["Accuracy", "Sample images", "Speed", "Training", "Configuration", "Environment"]


@pytest.fixture(scope="module")
def outputs(trained_dir, bccd_shards, evaluation_dir, tmp_path_factory):
    """Output directories of train, evaluate and benchmark."""
    speed_dir = tmp_path_factory.mktemp("speed")
    few = {"postprocess": {"score_threshold": 0.3}}
    config = {"batch_sizes": [1], "seconds": 0.01, **few}
    benchmark.run(
        config,
        LocalDirectory(trained_dir),
        speed_dir,
        data_dir=LocalDirectory(bccd_shards),
        device="cpu",
    )
    return [trained_dir, evaluation_dir, speed_dir]


def parts_of(page):
    return re.findall(r"<h2[^>]*>([^<]*)</h2>", page)


def test_the_page_joins_all_outputs_in_any_order(outputs, tmp_path):
    result = report.run({}, outputs[::-1], tmp_path)
    page = (tmp_path / "report.html").read_text()
    assert parts_of(page) == ALL_PARTS
    assert len(page) < 2_000_000
    assert page.count("<image ") == 9
    assert "RBC found as RBC: " in page
    assert result.metadata["title"] == "demo on bccd"
    assert set(result.metrics) == {"ap", "ap50", "images_per_second", "latency_ms_p50"}
    assert f"{result.metrics['ap50']:.3f}" in page
    summary = (tmp_path / "summary.md").read_text()
    assert summary.startswith("# demo on bccd\n")
    assert f"| AP50 | {result.metrics['ap50']:.3f} |" in summary


def test_it_looks_the_same_in_the_frame_of_kubeflow(outputs, tmp_path):
    """Kubeflow shows the text of a page in a frame without an origin; here with no network too."""
    report.run({}, outputs, tmp_path)
    page = (tmp_path / "report.html").read_text()
    frame = f'<iframe sandbox="allow-scripts" srcdoc="{html.escape(page)}"></iframe>'
    style = "<style>body {margin: 0} iframe {border: 0; width: 100vw; height: 100vh}</style>"
    (tmp_path / "frame.html").write_text(f'<!doctype html><meta charset="utf-8">{style}{frame}')
    alone, framed = (take_picture(tmp_path, name) for name in ("report", "frame"))
    assert len(np.unique(alone)) > 100
    assert np.array_equal(alone, framed)


def take_picture(folder, name):
    """Return the pixels of a page as Chromium draws it."""
    browser = shutil.which("chromium-headless-shell") or shutil.which("chromium")
    if browser is None:
        missing("chromium", "no chromium here")
    picture = folder / f"{name}.png"
    words = ["--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars"]
    words += ["--disable-features=IsolateSandboxedIframes"]  # it draws only what is in one process
    words += ["--window-size=1000,8000", "--host-resolver-rules=MAP * ~NOTFOUND"]
    words += [f"--user-data-dir={folder / 'profile'}", f"--screenshot={picture}"]
    page = (folder / f"{name}.html").as_uri()
    subprocess.run([browser, *words, page], check=True, capture_output=True)
    return np.asarray(Image.open(picture).convert("RGB"))


def test_the_record_says_what_was_read(outputs, bccd_shards, tmp_path):
    report.run({}, outputs, tmp_path, data_dir=LocalDirectory(bccd_shards))
    inputs = read_output(tmp_path).invocation["inputs"]
    assert set(inputs) == {"train", "evaluate", "benchmark", "data_dir"}
    digest = file_sha256(outputs[1] / "results.json")
    assert inputs["evaluate"] == {"uri": str(outputs[1]), "digest": digest}
    assert inputs["data_dir"]["digest"] == read_manifest(LocalDirectory(bccd_shards)).digest


def test_the_same_input_gives_the_same_page(outputs, tmp_path):
    for name in ("a", "b"):
        report.run({}, outputs, tmp_path / name)
    assert (tmp_path / "a/report.html").read_bytes() == (tmp_path / "b/report.html").read_bytes()


@pytest.mark.parametrize(
    ("which", "parts"),
    [
        ([0], ["Training", "Configuration", "Environment"]),
        ([1], ["Accuracy", "Sample images", "Configuration", "Environment"]),
        ([2], ["Speed", "Configuration", "Environment"]),
    ],
)
def test_parts_whose_input_is_missing_are_left_out(outputs, tmp_path, which, parts):
    result = report.run({"title": "Mine"}, [outputs[i] for i in which], tmp_path)
    page = (tmp_path / "report.html").read_text()
    assert parts_of(page) == parts
    assert "<title>Mine</title>" in page
    assert ("images_per_second" in result.metrics) == ("Speed" in parts)
    assert ("ap" in result.metrics) == ("Accuracy" in parts)


def test_images_that_are_gone_are_left_out_unless_requested(outputs, tmp_path):
    moved = tmp_path / "evaluation"
    moved.mkdir()
    for path in outputs[1].iterdir():
        (moved / path.name).write_bytes(path.read_bytes())
    invocation = json.loads((moved / "invocation.json").read_text())
    invocation["inputs"]["data_dir"]["uri"] = str(tmp_path / "gone")
    (moved / "invocation.json").write_text(json.dumps(invocation))
    report.run({}, [moved], tmp_path / "a")
    assert "Sample images" not in (tmp_path / "a/report.html").read_text()
    with pytest.raises(DataError, match="no converted data set"):
        report.run({}, [moved], tmp_path / "b", data_dir=LocalDirectory(tmp_path / "gone"))


def test_images_of_another_data_set_are_refused(outputs, few_photographs, tmp_path):
    convert.run({}, str(few_photographs), LocalDirectory(tmp_path / "few"))
    with pytest.raises(UsageError, match="few is not the data set that was evaluated, /.*/shards"):
        report.run({}, outputs, tmp_path / "out", data_dir=LocalDirectory(tmp_path / "few"))


def test_images_of_a_data_set_that_has_changed_are_left_out(
    outputs, bccd_shards, few_photographs, tmp_path
):
    place = tmp_path / "shards"
    shutil.copytree(bccd_shards, place)
    moved = Path(shutil.copytree(outputs[1], tmp_path / "evaluation"))
    invocation = json.loads((moved / "invocation.json").read_text())
    invocation["inputs"]["data_dir"]["uri"] = str(place)
    (moved / "invocation.json").write_text(json.dumps(invocation))
    report.run({}, [moved], tmp_path / "a")
    assert "Sample images" in (tmp_path / "a/report.html").read_text()
    shutil.rmtree(place)
    convert.run({}, str(few_photographs), LocalDirectory(place))
    report.run({}, [moved], tmp_path / "b")
    assert "Sample images" not in (tmp_path / "b/report.html").read_text()


def test_no_images_on_request(outputs, tmp_path):
    report.run({"images": 0}, outputs, tmp_path)
    assert "Sample images" not in (tmp_path / "report.html").read_text()


def test_images_end_before_the_page_grows_too_large(outputs, tmp_path, monkeypatch):
    monkeypatch.setattr(images, "_MAX_BYTES", 100_000)
    report.run({"images": 40}, outputs, tmp_path)
    page = (tmp_path / "report.html").read_text()
    assert 1 <= page.count("<image ") < 10


def test_inputs_that_are_no_outputs_are_named(outputs, bccd_shards, tmp_path):
    with pytest.raises(UsageError, match=r"no invocation\.json here"):
        report.run({}, [tmp_path], tmp_path / "out")
    with pytest.raises(UsageError, match="are both of stage 'train'"):
        report.run({}, [outputs[0], outputs[0]], tmp_path / "out")
    with pytest.raises(UsageError, match="nothing to report"):
        report.run({}, [], tmp_path / "out")
    with pytest.raises(UsageError, match="is of stage 'convert'; expected one of train, evaluate"):
        report.run({}, [bccd_shards], tmp_path / "out")


def test_unfinished_and_broken_outputs_are_named(outputs, tmp_path):
    (tmp_path / "invocation.json").write_text('{"stage": "evaluate"}')
    with pytest.raises(DataError, match=r"results\.json is missing"):
        report.run({}, [tmp_path], tmp_path / "out")
    (tmp_path / "results.json").write_text('{"metrics": ')
    with pytest.raises(DataError, match="is not JSON"):
        report.run({}, [tmp_path], tmp_path / "out")
