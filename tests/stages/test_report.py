"""The report stage on the outputs of real stages."""

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ssd_core.config import ConvertConfig, ReportConfig, parse_section
from ssd_core.data.shards.manifest import read_manifest
from ssd_core.errors import DataError, UsageError
from ssd_core.report import images
from ssd_core.stages import convert, report
from ssd_core.stages.outputs import read_output
from ssd_core.store import LocalDirectory
from ssd_core.store.local import file_sha256
from tests.report.browser import in_frame, take_screenshot
from tests.report.outline import parts_of
from tests.report.test_page import PARTS
from tests.stage_outputs import change_output

IMAGES, LAST = "Images with most errors", ["How to repeat it", "Environment and inputs"]


@pytest.fixture
def outputs(trained_dir, evaluation_dir, speed_dir):
    """Output directories of train, evaluate and benchmark."""
    return [trained_dir, evaluation_dir, speed_dir]


def write(inputs, out_dir, config=None, **options):
    """Return the result of the stage and the page."""
    section = parse_section(ReportConfig, config or {}, "report")
    directories = map(LocalDirectory, inputs)
    result = report.run(section, list(directories), LocalDirectory(out_dir), **options)
    return result, (out_dir / "report.html").read_text()


def test_the_page_joins_all_outputs_in_any_order(outputs, bccd_shards, tmp_path):
    data_dir = LocalDirectory(bccd_shards)
    result, page = write(outputs[::-1], tmp_path, data_dir=data_dir)
    assert parts_of(page) == PARTS
    assert len(page) < 2_000_000
    assert page.count("<image ") == 9
    assert "RBC found as RBC: " in page
    assert result.metadata["title"] == "demo on bccd"
    assert set(result.metrics) == {"ap", "ap50", "images_per_second", "latency_ms_p50"}
    assert f"ssd predict --model {outputs[0]} photos" in page
    assert f"{result.metrics['ap50']:.3f}" in page
    markdown = (tmp_path / "report.md").read_text()
    assert markdown.startswith("# demo on bccd\n")
    assert f"| AP50 | {result.metrics['ap50']:.3f} |" in markdown
    values = json.loads((tmp_path / "report.json").read_text())
    assert values["evaluate"]["results"]["metrics"]["ap50"] == result.metrics["ap50"]
    inputs = read_output(LocalDirectory(tmp_path)).invocation["inputs"]
    assert set(inputs) == {"train", "evaluate", "benchmark", "dataset"}
    digest = file_sha256(outputs[1] / "results.json")
    assert inputs["evaluate"] == {"uri": str(outputs[1]), "digest": digest}
    assert inputs["dataset"]["digest"] == read_manifest(data_dir).digest


def test_it_is_reproducible_and_looks_the_same_in_the_frame_of_kubeflow(outputs, tmp_path):
    """Kubeflow shows a page in a frame without an origin; here without a network too."""
    _, page = write(outputs, tmp_path)
    assert write(outputs, tmp_path / "again")[1] == page
    (tmp_path / "frame.html").write_text(in_frame(page))
    alone, framed = (take_screenshot(tmp_path / name) for name in ("report.html", "frame.html"))
    assert len(np.unique(alone)) > 100
    assert np.array_equal(alone, framed)


@pytest.mark.parametrize(
    ("which", "parts"),
    [
        ([0], ["What to do next", "Training", *LAST]),
        ([1], ["What to do next", "Accuracy", IMAGES, *LAST]),
        ([2], ["What to do next", "Speed", *LAST]),
    ],
)
def test_parts_without_input_are_left_out(outputs, tmp_path, which, parts):
    result, page = write([outputs[i] for i in which], tmp_path, {"title": "Mine"})
    assert parts_of(page) == parts
    assert "<title>Mine</title>" in page
    assert ("images_per_second" in result.metrics) == ("Speed" in parts)
    assert ("ap" in result.metrics) == ("Accuracy" in parts)


def test_imported_weights_have_no_curves(outputs, imported_dir, tmp_path):
    _, page = write([imported_dir, outputs[1]], tmp_path)
    assert parts_of(page) == ["What to do next", "Accuracy", IMAGES, *LAST]
    assert f"{imported_dir.parent}/a.ckpt" in page.replace("<wbr>", "")


def test_images_come_only_from_the_data_set_that_was_evaluated(
    outputs, bccd_shards, few_images, tmp_path
):
    shards = Path(shutil.copytree(bccd_shards, tmp_path / "shards"))
    evaluation = Path(shutil.copytree(outputs[1], tmp_path / "evaluation"))
    change_output(
        evaluation, invocation=lambda content: content["inputs"]["dataset"].update(uri=str(shards))
    )

    def has_images():
        return IMAGES in write([evaluation], tmp_path / "out")[1]

    assert has_images()
    shutil.rmtree(shards)
    assert not has_images()
    with pytest.raises(UsageError, match="shards does not exist"):
        write([evaluation], tmp_path / "out", data_dir=LocalDirectory(shards))
    convert.run(ConvertConfig(), str(few_images), LocalDirectory(shards))
    assert not has_images()
    with pytest.raises(UsageError, match="is not the evaluated data set, /.*/shards"):
        write(outputs, tmp_path / "out", data_dir=LocalDirectory(shards))


def test_the_number_of_images_is_limited_by_request_and_by_size(outputs, tmp_path, monkeypatch):
    assert IMAGES not in write(outputs, tmp_path, {"images": 0})[1]
    monkeypatch.setattr(images, "_MAX_BYTES", 100_000)
    assert 1 <= write(outputs, tmp_path, {"images": 40})[1].count("<image ") < 10


@pytest.mark.parametrize("first", [0, 2])
@pytest.mark.parametrize("change", [{"step": 60}, {"training_id": "0" * 16}, {}], ids=str)
def test_only_an_exported_file_counts_as_the_same_model(outputs, tmp_path, first, change):
    """An exported file has another digest, and the training and step of its model."""
    copy = Path(shutil.copytree(outputs[1], tmp_path / "copy"))
    change_output(
        copy,
        invocation=lambda content: content["inputs"]["model"].update(digest="0" * 64),
        results=lambda content: content["model"].update(change),
    )
    if not change:
        assert "Accuracy" in parts_of(write([outputs[first], copy], tmp_path / "out")[1])
        return
    with pytest.raises(UsageError, match="is of another model than .*; expected the '"):
        write([copy, outputs[first]], tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("which", "name"), [(0, "train_log.jsonl"), (1, "detections.json"), (1, "results.json")]
)
def test_a_missing_file_is_named(outputs, tmp_path, which, name):
    copy = Path(shutil.copytree(outputs[which], tmp_path / "copy"))
    (copy / name).unlink()
    with pytest.raises(DataError, match=f"copy/{name} is missing.*; run .* again"):
        write([copy], tmp_path / "out")


STRANGE: dict[str, dict[str, Any]] = {
    "no metrics": {"results": lambda content: content.pop("metrics")},
    "no classes": {"results": lambda content: content.pop("classes")},
    "no class name": {"results": lambda content: content["classes"][0].pop("name")},
    "a text as AP": {"results": lambda content: content["metrics"].update(ap="high")},
    "a short curve": {"results": lambda c: c["classes"][0]["precision_at_recall"].pop()},
    "a cut matrix": {"results": lambda content: content["confusion"]["matrix"].pop()},
    "NaN": {"results": lambda content: content["classes"][0].update(ap=float("nan"))},
    "nothing": {"results": lambda content: [content.pop(key) for key in list(content)]},
    "no inputs": {"invocation": lambda content: content.pop("inputs")},
    "no data set": {"invocation": lambda content: content["inputs"].pop("dataset")},
    "no split": {"invocation": lambda content: content["config"].pop("split")},
}


@pytest.mark.parametrize("name", STRANGE)
def test_strange_content_is_named(outputs, tmp_path, name):
    copy = Path(shutil.copytree(outputs[1], tmp_path / "copy"))
    change_output(copy, **STRANGE[name])
    with pytest.raises(DataError, match=r"copy/(results|invocation)\.json.*; run the stage again"):
        write([copy], tmp_path / "out")


@pytest.mark.parametrize(
    "line",
    [
        '{"event": "step", "step": 1}',
        '{"event": "step", "step": 1, "samples": 2, "epoch": 1, "seconds": 0, "loss": 1, '
        '"learning_rate": 1}',
        '{"event": "evaluation", "step": 1, "ap": "high"}',
    ],
)
def test_a_strange_log_is_named(outputs, tmp_path, line):
    copy = Path(shutil.copytree(outputs[0], tmp_path / "copy"))
    with (copy / "train_log.jsonl").open("a") as log:
        log.write(f"{line}\n")
    with pytest.raises(DataError, match=r"copy/train_log\.jsonl: .*; train again"):
        write([copy], tmp_path / "out")
