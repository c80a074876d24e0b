"""Evaluation of a whole split, with a detector that finds white blood cells."""

from dataclasses import replace

import cv2
import numpy as np
import pytest

from ssd_core.config import EvaluateConfig
from ssd_core.data.shards.reader import open_split
from ssd_core.errors import DataError
from ssd_core.evaluation.accuracy import measure_accuracy
from ssd_core.evaluation.run import detect_split
from ssd_core.store import LocalDirectory
from ssd_core.structures import Detections
from tests.small_model import describe_input

SIDE = 160


class NucleusFinder:
    """White cells have a purple nucleus: a threshold and connected components find most of them."""

    config = describe_input(SIDE)

    def __init__(self, label):
        self.label = label
        self.batch_sizes = []

    def preprocess(self, images):
        self.batch_sizes.append(len(images))
        return images.astype(np.float32)

    def forward(self, inputs):
        purple = (inputs[..., 2] - inputs[..., 1] > 45).astype(np.uint8)
        return [cv2.morphologyEx(mask, cv2.MORPH_CLOSE, np.ones((9, 9))) for mask in purple]

    def postprocess(self, outputs, sizes):
        return [self._boxes(*each) for each in zip(outputs, sizes, strict=True)]

    def synchronize(self):
        pass

    def detect(self, images, sizes):
        return self.postprocess(self.forward(self.preprocess(images)), sizes)

    def _boxes(self, mask, size):
        x, y, width, height, area = cv2.connectedComponentsWithStats(mask)[2][1:].T
        corners = np.stack([x - 4, y - 4, x + width + 4, y + height + 4], axis=1)
        boxes = corners.clip(0, SIDE) / SIDE * [*size, *size]
        order = np.argsort(-area)[: np.count_nonzero(area > 150)]
        return Detections(
            boxes=boxes[order].astype(np.float32),
            scores=(area[order] / SIDE**2).astype(np.float32),
            labels=np.full(len(order), self.label),
        )


@pytest.fixture
def reader(bccd_shards):
    return open_split(LocalDirectory(bccd_shards), "val")


@pytest.fixture
def detector(reader):
    [label] = [info.label for info in reader.classes if info.name == "WBC"]
    return NucleusFinder(label)


def test_every_image_is_evaluated_whatever_the_batch_size(reader, detector):
    images = detect_split(detector, reader, EvaluateConfig(batch_size=16))
    assert detector.batch_sizes == [16, 16, 8]
    in_batches = measure_accuracy(images, reader.classes, EvaluateConfig())
    singles = detect_split(detector, reader, EvaluateConfig(batch_size=1))
    assert measure_accuracy(singles, reader.classes, EvaluateConfig()) == in_batches
    assert in_batches["images"] == len(images) == reader.num_images == 40
    ids = [image.image_id for image in images]
    assert ids == sorted(ids)
    by_name = {row["name"]: row["ap50"] for row in in_batches["classes"]}
    assert by_name["WBC"] > 0.9
    assert by_name["RBC"] == 0
    assert in_batches["metrics"]["ap50"] == pytest.approx(by_name["WBC"] / 3)


def test_images_that_are_left_out_count_as_done(reader, detector, monkeypatch, capsys):
    monkeypatch.setattr("ssd_core.logs.Progress.line_seconds", 0)
    first, *others = reader.read(range(4))
    empty = replace(first, annotations=first.annotations.select(slice(0, 0)))
    split = Split([empty, *others], reader.classes)
    assert len(detect_split(detector, split, EvaluateConfig(images="mindspore"))) == 3
    assert "evaluate: image 4/4" in capsys.readouterr().err


class Split:
    """Some records of a split."""

    def __init__(self, records, classes):
        self.records, self.num_images, self.classes = records, len(records), classes

    def read_in_order(self):
        return iter(self.records)


def test_a_damaged_image_is_named(reader, detector):
    first, second, third = reader.read(range(3))
    damaged = Split([first, replace(second, image=second.image[:2]), third], reader.classes)
    with pytest.raises(DataError, match=second.image_path):
        detect_split(detector, damaged, EvaluateConfig(batch_size=2))


def test_a_split_without_images_measures_nothing(reader, detector):
    images = detect_split(detector, Split([], reader.classes), EvaluateConfig())
    assert images == []
    assert set(measure_accuracy([], reader.classes, EvaluateConfig())["metrics"].values()) == {None}
