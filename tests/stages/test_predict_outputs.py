"""The formats of a prediction, videos, and large images in tiles."""

import json
import re
import shutil
import tracemalloc
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from ssd_core import load_detector
from ssd_core.cli.app import app
from ssd_core.data.decode import decode_image
from ssd_core.data.shards.reader import open_split
from ssd_core.detection.boxes import compute_iou
from ssd_core.errors import UsageError
from ssd_core.model_dir import read_model
from ssd_core.stages.prediction.images import find_images
from ssd_core.store import LocalDirectory
from tests.datasets import split_of
from tests.detections import NOTHING_FOUND

IMAGES = Path(__file__).parents[2] / "examples" / "bccd" / "JPEGImages"


def predict(model, *words, **options):
    arguments = ["predict", "--model", model, "--device", "cpu", "--score", "0.2", *words]
    return CliRunner().invoke(app, [str(each) for each in arguments], **options)


@pytest.fixture(scope="module")
def clip(tmp_path_factory):
    """Return a video of five frames: four photographs, and the first one again."""
    path = tmp_path_factory.mktemp("video") / "clip.mp4"
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"mp4v"), 10, (640, 480))
    photographs = sorted(IMAGES.glob("*.jpg"))[:4]
    for photograph in [*photographs, photographs[0]]:
        writer.write(cv2.imread(str(photograph)))
    writer.release()
    return path


def test_a_video_gives_a_line_per_frame_and_a_video(trained_dir, clip, tmp_path):
    photograph = next(IMAGES.glob("*.jpg"))
    done = predict(trained_dir, photograph, clip, "--out", tmp_path / "out", "--batch-size", 2)
    assert done.exit_code == 0, done.stderr
    lines = (tmp_path / "out/predictions.jsonl").read_text().splitlines()
    image, *frames = map(json.loads, lines)
    assert "frame" not in image
    assert [frame["frame"] for frame in frames] == [0, 1, 2, 3, 4]
    assert {(frame["image"], frame["picture"]) for frame in frames} == {
        (str(clip), "pictures/clip.mp4")
    }
    assert sum(len(frame["detections"]) for frame in frames) > 5
    drawn = cv2.VideoCapture(str(tmp_path / "out/pictures/clip.mp4"))
    assert drawn.get(cv2.CAP_PROP_FPS) == 10
    assert drawn.get(cv2.CAP_PROP_FRAME_COUNT) == 5
    assert drawn.read()[1].shape == (480, 640, 3)
    pictures = {path.name for path in (tmp_path / "out/pictures").iterdir()}
    assert pictures == {"clip.mp4", f"{photograph.stem}.jpg"}


def test_a_video_that_cannot_be_decoded_does_not_stop_the_rest(trained_dir, tmp_path):
    (tmp_path / "bad.mp4").write_bytes(b"not a video")
    words = [tmp_path / "bad.mp4", next(IMAGES.glob("*.jpg")), "--out", tmp_path / "out"]
    done = predict(trained_dir, *words)
    assert "bad.mp4: the video cannot be decoded; convert it to MP4" in str(done.exception)
    assert "the results of the other 1 image are complete" in str(done.exception)


def write_video(path, frames, size):
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"MJPG"), 10, size)
    rng = np.random.default_rng(0)
    for _ in range(frames):
        writer.write(rng.integers(0, 255, (*size[::-1], 3), np.uint8))
    writer.release()


def test_a_video_that_cannot_be_drawn_keeps_its_detections(trained_dir, tmp_path):
    write_video(tmp_path / "wide.avi", 3, (8200, 16))  # MPEG-4 ends at 8191
    words = [tmp_path / "wide.avi", next(IMAGES.glob("*.jpg")), "--out", tmp_path / "out"]
    message = str(predict(trained_dir, *words).exception)
    assert "wide.avi: OpenCV cannot write a video of 8200 x 16 px; add --no-pictures" in message
    lines = (tmp_path / "out/predictions.jsonl").read_text().splitlines()
    *frames, error, image = map(json.loads, lines)
    assert [frame["frame"] for frame in frames] == [0, 1, 2]
    assert all("detections" in frame and "picture" not in frame for frame in frames)
    assert error["error"] in message
    assert (tmp_path / "out" / image["picture"]).exists()
    done = predict(trained_dir, *words, "--no-pictures")
    assert done.exit_code == 0, done.exception


def test_a_video_that_breaks_off_is_reported_after_its_frames(trained_dir, tmp_path):
    write_video(tmp_path / "clip.avi", 10, (640, 480))
    content = (tmp_path / "clip.avi").read_bytes()
    (tmp_path / "clip.avi").write_bytes(content[: len(content) // 2])
    done = predict(trained_dir, tmp_path / "clip.avi", "--out", tmp_path / "out")
    assert re.search(r"clip\.avi: the video breaks off after \d of 10 frames;", str(done.exception))
    *frames, _ = (tmp_path / "out/predictions.jsonl").read_text().splitlines()
    assert len(frames) == cv2.VideoCapture(str(tmp_path / "out/pictures/clip.mp4")).get(
        cv2.CAP_PROP_FRAME_COUNT
    )


@pytest.mark.parametrize("format", ["jsonl", "coco", "yolo"])
def test_another_run_removes_the_files_of_the_one_before(trained_dir, clip, tmp_path, format):
    first, second = sorted(IMAGES.glob("*.jpg"))[:2]
    out = tmp_path / "out"
    assert predict(trained_dir, first, clip, "--format", format, "--out", out).exit_code == 0
    mine = [out / "pictures/mine.jpg", out / "labels/mine.txt"]
    for path in mine:
        path.parent.mkdir(exist_ok=True)
        path.touch()
    assert predict(trained_dir, second, "--out", out).exit_code == 0
    names = ["invocation.json", "predictions.jsonl", "results.json", f"pictures/{second.stem}.jpg"]
    files = {path for path in out.rglob("*") if path.is_file()}
    assert files == {*mine, *(out / name for name in names)}


def test_a_stored_video_is_refused(tmp_path, monkeypatch):
    class Stored(LocalDirectory):
        local = None

    with pytest.raises(UsageError, match="a video must be on a local disk; copy it to one"):
        find_images([Stored(tmp_path / "a.mp4")], LocalDirectory(tmp_path / "out"))


def test_coco_results_are_those_of_evaluate(trained_dir, bccd_shards, evaluation_dir, tmp_path):
    """The images have their ids as names, as those of COCO do."""
    reader = open_split(LocalDirectory(bccd_shards), "val")
    for record in reader.read(range(reader.num_images)):
        (tmp_path / f"{record.image_id:012}.jpg").write_bytes(record.image)
    description = read_model(LocalDirectory(trained_dir)).description
    postprocess = description.recipe.evaluate.postprocess.apply(description.model.postprocess)
    words = ["--score", postprocess.score_threshold, "--format", "coco", "--no-pictures"]
    assert predict(trained_dir, tmp_path, *words, "--out", tmp_path / "out").exit_code == 0
    assert not (tmp_path / "out/pictures").exists()

    def read(folder):
        rows = json.loads((folder / "detections.json").read_text())
        rows.sort(key=lambda row: (row["image_id"], row["category_id"], -row["score"]))
        columns = [
            (row["image_id"], row["category_id"], row["score"], *row["bbox"]) for row in rows
        ]
        return np.array(columns)

    found = read(tmp_path / "out")
    assert len(found) > reader.num_images
    np.testing.assert_allclose(found, read(evaluation_dir), rtol=1e-4, atol=1e-3)
    listed = json.loads((tmp_path / "out/images.json").read_text())
    names = [info.name for info in reader.classes]
    assert [(each["id"], each["name"]) for each in listed["categories"]] == [*enumerate(names, 1)]


@pytest.mark.parametrize(
    ("names", "ids"),
    [
        (["000007.jpg", "12.jpg"], [7, 12]),
        (["1.jpg", "a.jpg", "x/1.jpg"], [1, 2, 3]),
        (["1.jpg", "x/01.jpg"], [1, 2]),
        (["2.jpg", f"{2**80}.jpg"], [1, 2]),
    ],
)
def test_every_image_of_coco_results_has_an_id_of_its_own(trained_dir, tmp_path, names, ids):
    for name in names:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        shutil.copy(next(IMAGES.glob("*.jpg")), tmp_path / name)
    places = [tmp_path / name for name in names]
    words = ["--format", "coco", "--no-pictures", "--out", tmp_path / "out"]
    assert predict(trained_dir, *places, *words).exit_code == 0
    listed = json.loads((tmp_path / "out/images.json").read_text())["images"]
    assert [(each["id"], each["file_name"]) for each in listed] == [
        *zip(ids, map(str, places), strict=True)
    ]
    rows = json.loads((tmp_path / "out/detections.json").read_text())
    assert {row["image_id"] for row in rows} == set(ids)


def test_a_list_on_standard_input_gives_yolo_labels(trained_dir, tmp_path):
    photographs = sorted(IMAGES.glob("*.jpg"))[:2]
    paths = "".join(f"{photograph}\n" for photograph in photographs)
    words = ["-", "--format", "yolo", "--out", tmp_path / "out"]
    done = predict(trained_dir, *words, input=paths)
    assert done.stdout.splitlines()[-1] == str(tmp_path / "out/labels")
    assert (tmp_path / "out/classes.txt").read_text() == "Platelets\nRBC\nWBC\n"
    detector = load_detector(trained_dir, score=0.2, device="cpu")
    for photograph, found in zip(photographs, detector(photographs), strict=True):
        rows = np.loadtxt(tmp_path / f"out/labels/{photograph.stem}.txt", ndmin=2)
        np.testing.assert_array_equal(rows[:, 0], found.found.labels - 1)
        np.testing.assert_allclose(rows[:, 5], found.scores, atol=1e-5)
        sides = (found.boxes[:, 2:] - found.boxes[:, :2]) / [640, 480]
        np.testing.assert_allclose(rows[:, 3:5], sides, atol=1e-4)


def test_tiles_find_what_is_too_small_in_the_whole_image(trained_dir, bccd_shards):
    """A mosaic of photographs: in the whole of it, a cell has a few pixels of the input."""
    columns, rows = 4, 4
    mosaic = Image.new("RGB", (640 * columns, 480 * rows))
    truths = []
    for number, record in enumerate(split_of(bccd_shards, "train").read(range(columns * rows))):
        corner = (640 * (number % columns), 480 * (number // columns))
        mosaic.paste(Image.fromarray(decode_image(record.image)), corner)
        truths.append(record.annotations.boxes + np.float32(corner * 2))
    truth = np.concatenate(truths)

    def count_found(tile):
        found = load_detector(trained_dir, score=0.3, tile=tile, device="cpu")(mosaic)
        return int((compute_iou(truth, found.boxes) >= 0.5).any(axis=1).sum())

    assert count_found(640) > 3 * count_found(None) + 20


def test_tiles_are_scaled_batch_by_batch(trained_dir):
    """A blind network, because only the memory in front of it counts."""

    class Blind:
        config = read_model(LocalDirectory(trained_dir)).description.model

        def detect(self, pixels, sizes):
            assert len(pixels) == len(sizes) <= 4
            return [NOTHING_FOUND] * len(sizes)

    opened = load_detector(trained_dir, tile=64, batch_size=4, device="cpu")
    blind = replace(opened, model=replace(opened.model, detector=Blind()))
    image = np.zeros((1500, 1500, 3), np.uint8)
    tracemalloc.start()
    blind(image)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 100 * 3 * Blind.config.image_size**2  # of 842 inputs
