"""Measuring a detector: every part is called, synchronised, and on the right batches."""

from dataclasses import replace

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
from tests.detections import make_detections
from tests.small_model import describe_input


class BrightestSpot:
    """A real, tiny detector: a box around the brightest cell of a coarse grid."""

    config = describe_input(64)

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
        return replace(make_detections(box, [cells.max() / 255], [1]), candidates=64)


@pytest.fixture(scope="module")
def images():
    return generate_images(3)


@pytest.mark.parametrize(("batch_size", "seconds"), [(1, 0.05), (2, 1e-9)])
def test_every_part_is_timed_a_few_times_and_synchronised(images, batch_size, seconds):
    detector = BrightestSpot()
    speed = measure_speed(detector, images, batch_size=batch_size, seconds=seconds)
    assert set(speed.seconds) == {*PARTS, END_TO_END}
    assert all(len(times) >= 3 and (times > 0).all() for times in speed.seconds.values())
    assert speed.warm_up_batches >= 3
    assert speed.images_per_second > 0
    assert {shape[0] for name, shape in detector.calls if name == "preprocess"} == {batch_size}
    assert speed.candidates_per_image == 64
    names = " ".join(name for name, _ in detector.calls)
    parts = "synchronize preprocess synchronize forward synchronize postprocess synchronize"
    whole = "preprocess forward postprocess synchronize"
    assert f"{parts} {whole} {parts} {whole}" in names
    assert len({len(times) for times in speed.seconds.values()}) == 1


def test_percentiles_are_in_milliseconds():
    speed = BatchSpeed(
        batch_size=1,
        images_per_second=1.0,
        seconds={END_TO_END: np.arange(101) / 1000},
        candidates_per_image=0.0,
        warm_up_batches=3,
        is_stable=True,
    )
    percentiles = [speed.milliseconds(END_TO_END, p) for p in (50, 90, 99)]
    assert percentiles == pytest.approx([50, 90, 99])


def test_a_damaged_image_is_a_data_error():
    with pytest.raises(DataError):
        measure_speed(BrightestSpot(), [b"not an image"], batch_size=1, seconds=0.01)


def test_generated_images_are_reproducible_and_resemble_photographs_to_a_decoder(images):
    assert generate_images(3) == images
    assert images[0] != images[1]
    pixels = decode_image(images[0])
    assert pixels.shape == (480, 640, 3)
    assert 50_000 < len(images[0]) < 200_000
    assert pixels.std() > 30
