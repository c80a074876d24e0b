"""The third split, from the source in every format to the evaluation."""

import json
import shutil

import pytest
from PIL import Image

from ssd_core.config import ConvertConfig
from ssd_core.errors import DataError
from ssd_core.stages import check, inspect
from ssd_core.store import LocalDirectory
from tests.commands import call_ssd
from tests.data.formats.small_sources import put
from tests.datasets import convert_into, manifest_of, names_in, split_of

SPLITS = ("train", "val", "test")
BOX = (10, 20, 40, 60)
FEW = "evaluate.postprocess.score_threshold=0.3"


def image_names(split):
    """Every split has one image more than the one before."""
    return [f"{split}{number}" for number in range(2 + SPLITS.index(split))]


def coco(split, *, is_labelled=True):
    names = image_names(split)
    rows = [
        {"id": n, "image_id": n, "category_id": 1, "bbox": [10, 20, 30, 40]}
        for n in range(len(names))
    ]
    content = {
        "images": [{"id": n, "file_name": f"{name}.png"} for n, name in enumerate(names)],
        "annotations": rows if is_labelled else [],
        "categories": [{"id": 1, "name": "cell"}],
    }
    return {f"annotations/instances_{split}2017.json": json.dumps(content)}


def voc(split, *, is_labelled=True):
    corners = zip(("xmin", "ymin", "xmax", "ymax"), BOX, strict=True)
    box = "".join(f"<{key}>{value}</{key}>" for key, value in corners)
    labelled = f"<object><name>cell</name><bndbox>{box}</bndbox></object>" * is_labelled
    names = image_names(split)
    xmls = {f"Annotations/{name}.xml": f"<annotation>{labelled}</annotation>" for name in names}
    return {f"ImageSets/Main/{split}.txt": "\n".join(names)} | xmls


def yolo(split, *, is_labelled=True):
    row = "0 0.25 0.4 0.3 0.4" * is_labelled
    labels = {f"labels/{split}/{name}.txt": row for name in image_names(split)}
    places = "".join(f"{name}: images/{name}\n" for name in SPLITS)
    return {"data.yaml": f"{places}names: [cell]"} | labels


def txt(split, *, is_labelled=True):
    objects = f" {','.join(map(str, BOX))},1" * is_labelled
    return {f"{split}.txt": "\n".join(f"{name}.png{objects}" for name in image_names(split))}


FORMATS = {
    "coco": (coco, ""),
    "voc": (voc, "JPEGImages/"),
    "yolo": (yolo, "images/{}/"),
    "txt": (txt, ""),
}


def write_source(folder, name, *, is_labelled=True, splits=SPLITS):
    """Write a source with one object per image, whose test images may have none."""
    write, images = FORMATS[name]
    for number, split in enumerate(splits):
        put(folder, write(split, is_labelled=is_labelled or split != "test"))
        for index, image in enumerate(image_names(split)):
            path = folder / images.format(split) / f"{image}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.new("RGB", (100, 100), (80 * number, 9 * index, 0)).save(path)
    return folder


@pytest.mark.parametrize("name", FORMATS)
def test_every_format_has_a_test_split(tmp_path, name):
    source, shards = write_source(tmp_path / "source", name), tmp_path / "shards"
    checked = check.run(ConvertConfig(), str(source))
    assert checked.format == name
    assert not checked.findings.counts
    assert {key: split.objects for key, split in checked.splits.items()} == {
        "train": 2,
        "val": 3,
        "test": 4,
    }
    convert_into(shards, {}, source)
    reader = split_of(shards, "test")
    records = list(reader.read(range(reader.num_images)))
    assert sorted(record.image_path.split("/")[-1] for record in records) == [
        f"{image}.png" for image in image_names("test")
    ]
    assert all(record.annotations.boxes.round().tolist() == [list(BOX)] for record in records)


@pytest.mark.parametrize("name", FORMATS)
def test_a_test_split_without_objects_is_left_out_unless_it_is_chosen(tmp_path, name):
    source = write_source(tmp_path / "source", name, is_labelled=False)
    convert_into(tmp_path / "shards", {}, source)
    assert list(manifest_of(tmp_path / "shards").splits) == ["train", "val"]
    places = {
        "coco": "annotations/instances_test2017.json",
        "voc": "ImageSets/Main/test.txt",
        "yolo": "data.yaml:test",
        "txt": "test.txt",
    }
    with pytest.raises(DataError, match="the test split has no objects in 4 images"):
        convert_into(tmp_path / "other", {"test": places[name]}, source)


def test_a_test_split_that_was_not_copied_does_not_stop_a_conversion(tmp_path):
    source = write_source(tmp_path / "source", "yolo", splits=("train", "val"))
    convert_into(tmp_path / "shards", {}, source)
    assert list(manifest_of(tmp_path / "shards").splits) == ["train", "val"]


def test_evaluation_and_inspection_read_the_test_split(
    trained_dir, bccd_shards, few_images, tmp_path
):
    source, shards = shutil.copytree(few_images, tmp_path / "source"), tmp_path / "shards"
    names = names_in(source, "train") + names_in(source, "val")
    for split, chosen in {"test": names[:10], "train": names[10:11], "val": names[11:]}.items():
        (source / f"ImageSets/Main/{split}.txt").write_text("\n".join(chosen))
    convert_into(shards, {}, source)

    def evaluate(data_dir):
        words = ("--model", trained_dir, "--data", data_dir, "--out", tmp_path / "out")
        return call_ssd("evaluate", "--split", "test", *words, "--set", FEW)

    done = evaluate(shards)
    assert done.returncode == 0, done.stderr
    results = json.loads((tmp_path / "out/results.json").read_text())
    assert (results["images"], results["data"]["split"]) == (10, "test")
    assert "] on 10 images of the test split: 95 %" in done.stdout
    inspect.run(LocalDirectory(shards), LocalDirectory(tmp_path / "inspection"))
    page = (tmp_path / "inspection/inspect.html").read_text()
    assert "1 train, 1 val, 10 test" in page
    lacking = evaluate(bccd_shards)
    assert lacking.returncode == 3
    assert "has no split 'test'; it has: train, val; a conversion with --test" in lacking.stderr
