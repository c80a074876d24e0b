"""The predict stage on single images and folders."""

import json
import os
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
from PIL import Image

from ssd_core.config import PredictConfig
from ssd_core.data.decode import read_size
from ssd_core.errors import DataError, UsageError
from ssd_core.model_dir import read_model, write_model
from ssd_core.recipes.overrides import override
from ssd_core.stages import predict
from ssd_core.stages.prediction.images import (
    StoredImage,
    find_images,
    list_places,
    name_outputs,
    read_image,
)
from ssd_core.store import LocalDirectory
from tests.data.image_corpus import BAD, GOOD, REMARKABLE

IMAGES = Path(__file__).parents[2] / "examples" / "bccd" / "JPEGImages"


def run(model_dir, images, out_dir, **values):
    """Return the result of the stage and the lines of `predictions.jsonl`."""
    config, model = PredictConfig(**values), LocalDirectory(model_dir)
    places = [LocalDirectory(image) for image in images]
    result = predict.run(config, model, places, LocalDirectory(out_dir), device="cpu")
    lines = (out_dir / "predictions.jsonl").read_text().splitlines()
    return result, list(map(json.loads, lines))


def test_each_image_gets_a_line_and_a_copy(trained_dir, tmp_path, caplog):
    caplog.set_level("INFO")
    images = sorted(IMAGES.glob("*.jpg"))[:3]
    result, lines = run(trained_dir, images, tmp_path, score=0.2)
    assert [line["image"] for line in lines] == [str(image) for image in images]
    for line in lines:
        with Image.open(tmp_path / line["picture"]) as copy:
            assert copy.size == (line["width"], line["height"]) == (640, 480)
        for found in line["detections"]:
            x0, y0, x1, y1 = found["box"]
            assert 0 <= x0 < x1 <= 640
            assert 0 <= y0 < y1 <= 480
            assert found["score"] >= 0.2
            assert found["class"] in {"RBC", "WBC", "Platelets"}
    assert f"objects of score ≥ 0.2 in 3 images: {tmp_path / 'pictures'}" in caplog.text
    assert result.metadata["images"] == 3
    assert result.metadata["detections"] == sum(len(line["detections"]) for line in lines) > 0


def test_the_recipe_decides_on_all_but_the_score(trained_dir, tmp_path):
    trained = read_model(LocalDirectory(trained_dir))
    own = "train.model.postprocess.score_threshold=0.9"
    for limit in (2, 3):
        changes = [own, f"evaluate.postprocess.max_detections_per_image={limit}"]
        recipe = override(trained.description.recipe, changes)
        changed = trained.description.model_copy(update={"recipe": recipe})
        folder = tmp_path / f"model{limit}"
        write_model(LocalDirectory(folder), changed, trained.classes, trained.weights)
        image = next(IMAGES.glob("*.jpg"))
        _, [line] = run(folder, [image], tmp_path / f"{limit}", score=0.01)
        assert len(line["detections"]) == limit


def test_a_folder_is_searched_and_other_files_are_skipped(trained_dir, tmp_path):
    folder = tmp_path / "in" / "deep"
    folder.mkdir(parents=True)
    Image.new("L", (50, 40)).save(folder / "gray.png")
    Image.new("RGBA", (30, 20)).save(folder.parent / "b.webp")
    (folder / "notes.txt").write_text("not an image")
    (folder / "album.jpg").mkdir()
    for _ in range(2):  # the second run finds the images that the first one wrote
        _, lines = run(trained_dir, [tmp_path / "in"], tmp_path / "in" / "out")
        assert [Path(line["image"]).name for line in lines] == ["b.webp", "gray.png"]
        assert [(line["width"], line["height"]) for line in lines] == [(30, 20), (50, 40)]


def test_every_kind_of_image_is_read(trained_dir, tmp_path):
    images = [make() for make in GOOD.values()] + [make() for make, _ in REMARKABLE.values()]
    for number, image in enumerate(images):
        (tmp_path / f"{number:02}.png").write_bytes(image)
    _, lines = run(trained_dir, [tmp_path], tmp_path / "out")
    assert [(line["width"], line["height"]) for line in lines] == list(map(read_size, images))
    for line in lines:
        with Image.open(tmp_path / "out" / line["picture"]) as copy:
            assert (copy.mode, copy.size) == ("RGB", (line["width"], line["height"]))


def test_bad_files_do_not_lose_the_others(trained_dir, tmp_path, caplog):
    names = ["empty", "text", "jpeg, half", "jpeg, bomb", "png, half", "png, bomb", "webp, cut"]
    folder = tmp_path / "in"
    folder.mkdir()
    for number, name in enumerate(names):
        (folder / f"{number}.png").write_bytes(BAD[name][0]())
    (folder / "nowhere.png").symlink_to("removed.png")
    (folder / "loop.png").symlink_to("loop.png")
    os.mkfifo(folder / "pipe.png")  # is not a file
    images = sorted(IMAGES.glob("*.jpg"))[:2]
    for image, name in zip(images, ("0b.jpg", "y.jfif"), strict=True):
        shutil.copy(image, folder / name)
    with pytest.raises(DataError) as caught:
        run(trained_dir, [folder], tmp_path / "out")
    message = str(caught.value)
    assert message.startswith(f"{folder}/0.png: the file is empty; ")
    assert not [record for record in caplog.records if record.levelname == "WARNING"]
    assert message.endswith(
        f"(error 1 of 9, all in {tmp_path}/out/results.json); the results of the other 2 "
        "images are complete"
    )
    with pytest.raises(DataError, match="error 1 of 1, .*; no image is left"):
        run(trained_dir, [folder / "0.png"], tmp_path / "none")
    lines = map(json.loads, (tmp_path / "out" / "predictions.jsonl").read_text().splitlines())
    by_name = {Path(line["image"]).name: line for line in lines}
    assert len(by_name) == 11
    assert {name for name, line in by_name.items() if "detections" in line} == {"0b.jpg", "y.jfif"}
    assert all(line["error"] for name, line in by_name.items() if name.endswith(".png"))
    results = json.loads((tmp_path / "out" / "results.json").read_text())
    assert (results["images"], len(results["errors"])) == (2, 9)


def test_the_output_may_contain_the_images(trained_dir, tmp_path):
    shutil.copy(next(IMAGES.glob("*.jpg")), tmp_path / "a.jpg")
    for _ in range(2):  # the second run skips the picture of the first one
        _, lines = run(trained_dir, [tmp_path], tmp_path)
        assert [line["image"] for line in lines] == [f"{tmp_path}/a.jpg"]
    with pytest.raises(UsageError, match=r"a\.jpg would be overwritten; choose another --out"):
        run(trained_dir, [tmp_path / "pictures/a.jpg"], tmp_path)


def test_pictures_of_others_are_not_overwritten(trained_dir, tmp_path):
    (tmp_path / "pictures").mkdir()
    mine = shutil.copy(next(IMAGES.glob("*.jpg")), tmp_path / "pictures/a.jpg")
    before = mine.read_bytes()
    with pytest.raises(UsageError, match="pictures exists already, with files of others; choose"):
        run(trained_dir, [tmp_path], tmp_path)
    assert mine.read_bytes() == before


def test_names_of_images_and_classes_may_contain_anything(trained_dir, tmp_path):
    trained = read_model(LocalDirectory(trained_dir))
    names = ("a\nb", "z\u2028\t", "\x1b[31m" + "long " * 60)
    classes = [replace(each, name=name) for each, name in zip(trained.classes, names, strict=True)]
    write_model(LocalDirectory(tmp_path / "model"), trained.description, classes, trained.weights)
    image = tmp_path / ("two\nlines " + "x" * 240 + ".jpg")
    shutil.copy(next(IMAGES.glob("*.jpg")), image)
    _, [line] = run(tmp_path / "model", [image], tmp_path / "out", score=0.05)
    assert {found["class"] for found in line["detections"]} <= set(names)
    with Image.open(tmp_path / "out" / line["picture"]) as picture:
        assert picture.size == (640, 480)


def test_equal_names_stay_apart():
    paths = [Path("a/x.jpg"), Path("b/x.png"), Path("c/X.jpg"), Path("x-2.jpg"), Path("y.jpg")]
    assert name_outputs(paths) == ["x", "x-2", "X-3", "x-2-2", "y"]
    assert len(set(name_outputs([Path("0.jpg")] * 100_000))) == 100_000  # not quadratic


def test_a_stored_image_that_was_removed_since_its_listing_is_a_data_error(tmp_path):
    with pytest.raises(DataError, match="the image does not exist"):
        read_image(StoredImage(LocalDirectory(tmp_path), "removed.jpg"))


def test_an_image_that_is_given_twice_is_read_once(tmp_path):
    path = tmp_path / "a.png"
    Image.new("L", (4, 4)).save(path)
    places = [LocalDirectory(each) for each in (path, tmp_path, path)]
    assert find_images(places, LocalDirectory(tmp_path / "out")) == [path]


def test_globs_and_lists_name_places(tmp_path, monkeypatch):
    for name in ("a.jpg", "deep/b.jpg", "[c].jpg"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    monkeypatch.chdir(tmp_path)

    def names(*words):
        return [str(place) for place in list_places(words, [" a.jpg\n", "\n", "s3://photos/c d\n"])]

    assert names("**/*.jpg", "a.jpg") == ["[c].jpg", "a.jpg", "deep/b.jpg", "a.jpg"]
    assert names("-") == ["a.jpg", "s3://photos/c d"]
    assert names("[c].jpg", "s3://photos/*") == ["[c].jpg", "s3://photos/*"]  # names, not globs
    with pytest.raises(UsageError, match=r"\*\.png: no file matches; expected paths of images"):
        names("*.png")
    with pytest.raises(UsageError, match="-: no lines on standard input; expected"):
        list(list_places(["-"], ["\n"]))
