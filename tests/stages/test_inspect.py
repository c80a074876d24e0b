"""The inspect stage on real images."""

import html
import json
import re
import shlex
import shutil

import pytest
from PIL import Image

from ssd_core.config import ConvertConfig
from ssd_core.data.inspection.proposal import propose_anchors, to_assignment
from ssd_core.data.inspection.table import join_objects, read_table
from ssd_core.metrics import METRICS
from ssd_core.recipes import RECIPES, load_recipe
from ssd_core.recipes.overrides import override
from ssd_core.stages import convert, inspect
from ssd_core.store import LocalDirectory
from tests.datasets import split_of
from tests.report.outline import Outline, assert_self_contained, parts_of

PARTS = ["Images and objects", "Classes", "Sizes", "Anchors", "Sample images"]
LAST_PARTS = ["The same image twice", "Findings of the conversion", "Origin"]
HOSTILE = "<script>alert(1)</script>&\"'"


def run(data_dir, out_dir, **options):
    """Return result, page and numbers."""
    result = inspect.run(LocalDirectory(data_dir), LocalDirectory(out_dir), **options)
    page = (out_dir / "inspect.html").read_text()
    return result, page, json.loads((out_dir / "results.json").read_text())


def convert_coco(
    folder, images, *, classes=("cell",), objects=((1, (9, 9, 59, 79)),), size=(640, 480)
):
    """Convert a COCO set: `images` are paths by split, each with the same objects."""
    source = folder / "source"
    (source / "annotations").mkdir(parents=True)
    for split, paths in images.items():
        (source / f"{split}2017").mkdir()
        names = {k: f"{split}{k}.jpg" for k in range(1, len(paths) + 1)}
        for name, path in zip(names.values(), paths, strict=True):
            shutil.copy(path, source / f"{split}2017" / name)
        content = {
            "categories": [{"id": k, "name": name} for k, name in enumerate(classes, 1)],
            "images": [
                {"id": k, "file_name": name, "width": size[0], "height": size[1]}
                for k, name in names.items()
            ],
            "annotations": [
                {"id": len(objects) * k + row, "image_id": k, "category_id": category_id}
                | {"bbox": [x0, y0, x1 - x0, y1 - y0], "area": (x1 - x0) * (y1 - y0), "iscrowd": 0}
                for k in names
                for row, (category_id, (x0, y0, x1, y1)) in enumerate(objects)
            ],
        }
        (source / f"annotations/instances_{split}2017.json").write_text(json.dumps(content))
    convert.run(ConvertConfig(), str(source), LocalDirectory(folder / "shards"))
    return folder / "shards"


@pytest.fixture(scope="module")
def image_paths(bccd_dir):
    return sorted((bccd_dir / "JPEGImages").glob("*.jpg"))[:4]


def test_the_page_describes_the_data_set(bccd_shards, tmp_path):
    result, page, results = run(bccd_shards, tmp_path, recipe="ssd300_vgg16")
    assert parts_of(page) == PARTS + LAST_PARTS  # nothing stands out
    assert len(page) < 2_000_000
    assert page.count("<image ") == 15 + 6  # samples, and the beginning of a training
    assert_self_contained(page)
    assert result.metrics == {"images": 140, "objects": 1878, "images_in_both_splits": 0}
    assert set(result.metrics) <= set(METRICS)
    assert result.metadata == {"title": "bccd"}
    assert {row["name"]: row["objects"] for row in results["classes"]} == {
        "Platelets": {"train": 104, "val": 41},
        "RBC": {"train": 1148, "val": 440},
        "WBC": {"train": 106, "val": 39},
    }
    assert list(results["anchors"]) == list(RECIPES)
    assert results["anchors"]["ssd300_vgg16"]["unreached"] == 7
    assert "<dd>0.4 %</dd>" in page
    assert json.loads((tmp_path / "invocation.json").read_text())["stage"] == "inspect"


def test_without_a_recipe_all_are_compared_on_a_reproducible_page(bccd_shards, tmp_path):
    _, page, results = run(bccd_shards, tmp_path / "a")
    assert (page, results) == run(bccd_shards, tmp_path / "b")[1:]
    assert parts_of(page) == PARTS + LAST_PARTS
    assert all(f'<th scope="row">{name}</th>' in page for name in RECIPES)
    assert "<circle" not in page
    assert results["recipe"] is None


def test_a_recipe_may_be_changed(bccd_shards, tmp_path):
    change = "train.matching.iou_threshold=0.7"
    _, page, results = run(bccd_shards, tmp_path, recipe="demo", assignments=[change])
    assert f"demo with {change}" in page
    assert results["anchors"]["demo"]["iou_threshold"] == 0.7
    assert results["anchors"]["ssd300_vgg16"]["iou_threshold"] == 0.5
    assert "Worth a look" in parts_of(page)


@pytest.mark.parametrize("recipe", ["ssd300_vgg16", "ssd300_mobilenet_v2"])
def test_proposed_anchors_can_be_pasted_and_reach_more_objects(bccd_shards, tmp_path, recipe):
    _, page, results = run(bccd_shards, tmp_path / "a", recipe=recipe)
    [words] = re.findall(r'<pre class="words"><code>(.*)</code>', page)
    command = shlex.split(html.unescape(words))
    assert command[:5] == ["ssd", "train", "--data", str(bccd_shards), "--recipe"]
    assert command[5:7] + command[8:] == [recipe, "--set", "--out", "trained"]
    assignment = command[7]
    own = load_recipe(recipe).train.model.anchors
    proposed = override(load_recipe(recipe), [assignment]).train.model.anchors
    assert [(each.stride, len(each.shapes)) for each in proposed] == [
        (each.stride, len(each.shapes)) for each in own
    ]
    _, page, pasted = run(bccd_shards, tmp_path / "b", recipe=recipe, assignments=[assignment])
    before, after = (each["anchors"][recipe]["unreached"] for each in (results, pasted))
    assert after == results["proposal"]["unreached"] < before
    assert assignment[:40] in html.unescape(page)
    assert assignment[:80] not in html.unescape(page)  # not in the subtitle, once it is applied


def test_anchors_are_proposed_for_the_training_split_alone(bccd_shards, tmp_path):
    tables = [read_table(split_of(bccd_shards, split)) for split in ("train", "val")]
    _, _, results = run(bccd_shards, tmp_path, recipe="ssd300_vgg16")
    section = load_recipe("ssd300_vgg16").train
    both = join_objects(tables).boxes
    for_train, for_both = (
        to_assignment(propose_anchors(boxes, section.model, section.matching))
        for boxes in (tables[0].objects.boxes, both)
    )
    assert results["proposal"]["assignment"] == for_train != for_both


BOTH = {"train": ["train2017/train1.jpg"], "val": ["val2017/val2.jpg"]}
BOTH_ON_PAGE = "<td>train2017/train1.jpg</td><td>val2017/val2.jpg</td>"


def test_an_image_in_both_splits_is_reported(image_paths, tmp_path):
    first, second, third, _ = image_paths
    data_dir = convert_coco(tmp_path, {"train": [first, second, second], "val": [third, first]})
    result, page, results = run(data_dir, tmp_path / "out")
    assert result.metrics["images_in_both_splits"] == 1
    assert results["repeated"]["copies"] == {"train": 1, "val": 0}
    assert results["repeated"]["images"][0] == BOTH
    assert "Images in several splits: 1." in page
    assert BOTH_ON_PAGE in page


def test_an_image_saved_again_is_reported(image_paths, tmp_path):
    first, second, third, _ = image_paths
    again = tmp_path / "again.jpg"
    Image.open(first).resize((320, 240)).save(again, quality=60)
    images = {"train": [first, second], "val": [third, again]}
    data_dir = convert_coco(tmp_path, images, size=(0, 0))
    result, page, results = run(data_dir, tmp_path / "out")
    assert result.metrics["images_in_both_splits"] == 0
    assert results["near"] == {"in_both_splits": 1, "images": [BOTH]}
    assert "Images in several splits, saved again or scaled: 1." in page
    assert BOTH_ON_PAGE in page


def test_findings_of_the_conversion_are_shown(image_paths, tmp_path):
    images = {"train": image_paths[:1], "val": image_paths[1:2]}
    data_dir = convert_coco(tmp_path, images, classes=("cell", "ghost"))
    _, page, results = run(data_dir, tmp_path / "out")
    [finding] = results["findings"]
    assert (finding["code"], finding["severity"]) == ("class_without_objects", "warning")
    assert "<code>class_without_objects</code>" in page
    assert "Classes without objects: ghost (1 of 2)." in results["remarks"]


def test_many_classes_with_hostile_names_stay_text(image_paths, tmp_path):
    names = [HOSTILE, *(f"class {k}" for k in range(2, 81))]
    objects = [(k, (k, k, k + 9, k + 9)) for k in (1, 2, 80)]
    images = {"train": image_paths[:1], "val": image_paths[1:2]}
    data_dir = convert_coco(tmp_path, images, classes=names, objects=objects)
    _, page, _ = run(data_dir, tmp_path / "out", recipe="demo")
    assert "script" not in Outline(page).tags
    assert page.count("&lt;script&gt;alert(1)") > 3
    assert page.count('class="meter"') >= 80
    assert ">class 80</text>" in page  # colours would repeat, so the boxes have names
