"""Every stage ignores the EXIF orientation and uses the stored pixels."""

import io
import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from ssd_core.config import (
    AugmentConfig,
    EvaluateConfig,
    PhotometricSpec,
    PostprocessOverrides,
    PredictConfig,
)
from ssd_core.data.batches.loader import Loader
from ssd_core.stages import evaluate, predict
from ssd_core.store import LocalDirectory
from tests.datasets import convert_into, split_of
from tests.small_model import describe_input

SIZE = (96, 64)
ALL = PostprocessOverrides(score_threshold=0.01)


@pytest.fixture(scope="module")
def turned_dir(few_images: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return one image nine times: without a tag, and with each of the orientations 1 to 8."""
    folder = tmp_path_factory.mktemp("orientation") / "source"
    folder.mkdir()
    first = sorted((few_images / "JPEGImages").iterdir())[0]
    image = Image.open(first).resize(SIZE)
    for orientation in range(9):
        exif = Image.Exif()
        if orientation:
            exif[0x0112] = orientation
        buffer = io.BytesIO()
        image.save(buffer, "JPEG", exif=exif)
        (folder / f"{orientation}.jpg").write_bytes(buffer.getvalue())
    lines = [f"{orientation}.jpg 6,8,70,40,1\n" for orientation in range(9)]
    (folder / "train.txt").write_text("".join(lines))
    return folder


@pytest.fixture(scope="module")
def turned_shards(turned_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    data_dir = tmp_path_factory.mktemp("orientation") / "shards"
    config = {"val": "train.txt", "classes": ["Platelets", "RBC", "WBC"]}
    convert_into(data_dir, config, turned_dir)
    return data_dir


def test_conversion(turned_shards: Path) -> None:
    reader = split_of(turned_shards, "train")
    for record in reader.read(range(9)):
        assert (record.width, record.height) == SIZE
        assert record.annotations.boxes.tolist() == [[6, 8, 70, 40]]


def test_training(turned_shards: Path) -> None:
    plain = AugmentConfig(
        zoom_out_probability=0,
        crop_min_ious=(),
        flip_probability=0,
        colours=PhotometricSpec(probability=0),
    )
    loader = Loader(
        split_of(turned_shards, "train"),
        model=describe_input(32),
        augment=plain,
        batch_size=9,
        seed=1,
        num_threads=1,
    )
    (batch,) = loader.batches(0, 1)
    assert (batch.images == batch.images[0]).all()
    assert batch.images[0].std() > 5
    np.testing.assert_allclose(batch.boxes[:, 0], [[6 / 96, 8 / 64, 70 / 96, 40 / 64]] * 9)


def test_evaluation(turned_shards: Path, trained_dir: Path, tmp_path: Path) -> None:
    config = EvaluateConfig(postprocess=ALL, batch_size=3)
    locations = map(LocalDirectory, (trained_dir, turned_shards, tmp_path))
    evaluate.run(config, *locations, device="cpu")
    found: dict[int, list[object]] = {}
    for row in json.loads((tmp_path / "detections.json").read_text()):
        found.setdefault(row["image_id"], []).append([row["bbox"], row["score"]])
    assert len(found) == 9
    assert len({json.dumps(rows) for rows in found.values()}) == 1


def test_prediction(turned_dir: Path, trained_dir: Path, tmp_path: Path) -> None:
    model_dir, out_dir = LocalDirectory(trained_dir), LocalDirectory(tmp_path)
    config = PredictConfig(score=0.01, batch_size=3)  # the size of a batch may change rounding
    predict.run(config, model_dir, [LocalDirectory(turned_dir)], out_dir, device="cpu")
    lines = [json.loads(line) for line in (tmp_path / "predictions.jsonl").read_text().splitlines()]
    assert [(line["width"], line["height"]) for line in lines] == [SIZE] * 9
    assert lines[0]["detections"]
    assert all(line["detections"] == lines[0]["detections"] for line in lines)
    for line in lines:
        with Image.open(tmp_path / line["picture"]) as picture:
            assert picture.size == SIZE
            assert picture.getexif().get(0x0112, 1) == 1
