"""Measuring a detector: every part is called, synchronised, and on the right batches."""

import numpy as np
import pytest

from ssd_core.benchmark.speed import (
    END_TO_END,
    PARTS,
    BatchSpeed,
    generate_images,
    measure_speed,
)
from ssd_core.data.decode import decode_image
from ssd_core.errors import DataError
from ssd_core.structures import Detections


class BrightestSpot:
    """A real, tiny detector: a box around the brightest cell of a coarse grid."""

    image_size = 64

    def __init__(self):
        self.calls = []

    def preprocess(self, images):
        self.calls.append(("preprocess", images.shape))
        return images.astype(np.float32).mean(axis=3)

    def forward(self, inputs):
        self.calls.append(("forward", inputs.shape))
        return inputs.reshape(len(inputs), 8, 8, 8, 8).mean(axis=(2, 4)).reshape(len(inputs), 64)

    def postprocess(self, outputs, sizes):
        self.calls.append(("postprocess", outputs.shape))
        return [self._spot(*each) for each in zip(outputs, sizes, strict=True)]

    def synchronize(self):
        self.calls.append(("synchronize", None))

    def detect(self, images, sizes):
        return self.postprocess(self.forward(self.preprocess(images)), sizes)

    def _spot(self, cells, size):
        row, column = divmod(int(cells.argmax()), 8)
        box = np.array([column, row, column + 1, row + 1]) / 8 * [*size, *size]
        return Detections(
            boxes=box[None].astype(np.float32),
            scores=np.array([cells.max() / 255], np.float32),
            labels=np.array([1]),
        )


@pytest.fixture(scope="module")
def images():
    return generate_images(3)


@pytest.mark.parametrize("batch_size", [1, 5])
def test_every_part_is_timed_for_batches_of_the_asked_size(images, batch_size):
    detector = BrightestSpot()
    speed = measure_speed(detector, images, batch_size=batch_size, seconds=0.05)
    assert set(speed.seconds) == {*PARTS, END_TO_END}
    assert all((times > 0).all() for times in speed.seconds.values())
    assert speed.images_per_second > 0
    assert {shape[0] for name, shape in detector.calls if name == "preprocess"} == {batch_size}


def test_the_device_is_synchronised_after_each_part(images):
    detector = BrightestSpot()
    measure_speed(detector, images, batch_size=1, seconds=0.01)
    names = [name for name, _ in detector.calls]
    first = "synchronize preprocess synchronize forward synchronize postprocess synchronize"
    assert first in " ".join(names)


def test_at_least_a_few_batches_are_timed_when_time_is_short(images):
    speed = measure_speed(BrightestSpot(), images, batch_size=2, seconds=1e-9)
    assert {len(times) for times in speed.seconds.values()} == {3}
    assert speed.warm_up_batches >= 3


def test_percentiles_are_in_milliseconds():
    speed = BatchSpeed(
        batch_size=1,
        images_per_second=1.0,
        seconds={END_TO_END: np.arange(101) / 1000},
        warm_up_batches=3,
        is_stable=True,
    )
    percentiles = [speed.milliseconds(END_TO_END, p) for p in (50, 90, 99)]
    assert percentiles == pytest.approx([50, 90, 99])


def test_a_broken_image_is_a_data_error():
    with pytest.raises(DataError):
        measure_speed(BrightestSpot(), [b"not an image"], batch_size=1, seconds=0.01)


def test_generated_images_are_the_same_every_time_and_differ_from_each_other(images):
    assert generate_images(3) == images
    assert images[0] != images[1]


def test_generated_images_resemble_photographs_to_a_decoder(images):
    pixels = decode_image(images[0])
    assert pixels.shape == (480, 640, 3)
    assert 50_000 < len(images[0]) < 200_000
    assert pixels.std() > 30
