"""`ssd compare` on evaluations of files, which need no model, and on pipeline runs."""

import json
import re
import shutil

import pytest

from ssd_core.store.known_file import KnownFile
from tests.commands import call_ssd
from tests.report.outline import assert_self_contained
from tests.stage_outputs import change_output

NUM_IMAGES = 12
TRUTH = {
    "images": [{"id": number, "file_name": f"{number}.jpg"} for number in range(NUM_IMAGES)],
    "categories": [{"id": 3, "name": "<cat>"}],
    "annotations": [
        {"id": number + 1, "image_id": number, "category_id": 3, "bbox": [9, 9, 50, 50]}
        for number in range(NUM_IMAGES)
    ],
}


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    """Return a folder with the evaluations `all` and `runs/night/evaluate`, which finds nothing."""
    root = tmp_path_factory.mktemp("evaluations")
    found = [
        {"image_id": row["image_id"], "category_id": 3, "bbox": row["bbox"], "score": 0.9}
        for row in TRUTH["annotations"]
    ]
    (root / "truth.json").write_text(json.dumps(TRUTH))
    for name, rows in (("all", found), ("runs/night/evaluate", [])):
        (root / "found.json").write_text(json.dumps(rows))
        files = ["--detections", root / "found.json", "--ground-truth", root / "truth.json"]
        done = call_ssd("evaluate", *files, "--out", root / name)
        assert done.returncode == 0, done.stderr
    return root


def test_a_run_is_compared_on_a_page_and_as_json(root, tmp_path):
    out = tmp_path / "comparison"
    inputs = (root / "all/results.json", root / "runs/night")
    words = ("compare", *inputs, "--out", out, "--fail-if-worse")
    done = call_ssd(*words)
    assert done.returncode == 3
    verdict = "B is worse: AP 1.000 → 0.000, -1.000 [-1.000, -1.000]"
    assert done.stderr == f"error: {verdict}\n"
    assert done.stdout.splitlines()[-3:-1] == [verdict, verdict.replace("AP", "AP50")]
    assert done.stdout.splitlines()[-1] == str(out / "compare.html")
    assert "  0.jpg: only A 1 <cat>" in done.stdout
    page = (out / "compare.html").read_text()
    assert "AP50 1.000 → 0.000" in page
    assert "&lt;cat&gt;" in page
    assert "<cat>" not in page
    printed = json.loads(call_ssd(*words[:-1], "--json").stdout)
    written = json.loads((out / "results.json").read_text())
    assert printed.pop("output") == str(out / "compare.html")
    assert {name: written[name] for name in printed} == printed
    assert len(printed["changed_images"]) == NUM_IMAGES


def find_everything(evaluation):
    """Replace the detections of an evaluation by its objects."""
    truth = json.loads((evaluation / "ground_truth.json").read_text())["annotations"]
    rows = [
        {name: row[name] for name in ("image_id", "category_id", "bbox")} | {"score": 0.9}
        for row in truth
    ]
    content = json.dumps(rows).encode()
    (evaluation / "detections.json").write_bytes(content)

    def rename(results):
        known = KnownFile.of("detections.json", content).model_dump()
        others = [row for row in results["files"] if row["name"] != "detections.json"]
        results["files"] = [*others, known]

    change_output(evaluation, results=rename)


def test_pipeline_runs_show_images_and_speeds(evaluation_dir, speed_dir, tmp_path):
    runs = [tmp_path / "a", tmp_path / "b"]
    for run in runs:
        shutil.copytree(evaluation_dir, run / "evaluate")
        shutil.copytree(speed_dir, run / "benchmark")
    find_everything(runs[0] / "evaluate")
    change_output(
        runs[1] / "benchmark",
        results=lambda content: content["metrics"].update(
            images_per_second=2 * content["metrics"]["images_per_second"]
        ),
    )
    done = call_ssd("compare", *runs, "--out", tmp_path / "out")
    assert done.returncode == 0, done.stderr
    assert re.search(
        r"^speed, measured once each: images/s .* → .*, \+100.0 %; lat", done.stdout, re.M
    )
    results = json.loads((tmp_path / "out/results.json").read_text())
    assert f"in 10 of {results['num_changed_images']} changed images" in done.stdout
    page = (tmp_path / "out/compare.html").read_text()
    assert page.count("data:image/jpeg") == 6
    drawn = len(re.findall("<rect [^>]*><title>missed: ", page))
    first = results["changed_images"][:6]
    assert drawn == sum(sum(row["only_a"].values()) for row in first) > 6
    assert "+100.0 %" in page
    assert page.count('<span class="swatch"') == 3, "the colours of the classes"
    assert_self_contained(page)


def test_an_evaluation_of_an_earlier_version_has_to_be_repeated(root, tmp_path):
    def drop(results):
        results["files"] = [row for row in results["files"] if row["name"] != "ground_truth.json"]

    earlier = shutil.copytree(root / "all", tmp_path / "earlier")
    (earlier / "ground_truth.json").unlink()
    change_output(earlier, results=drop)
    done = call_ssd("compare", root / "all", earlier)
    assert done.returncode == 3
    assert done.stderr.endswith(
        "has no ground_truth.json, since an earlier version of ssd-core wrote it; run the stage "
        "again\n"
    )
