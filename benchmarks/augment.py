"""Decode and augment for SSD on one thread; the peer has the order of mmdetection 3.x.

The two draw different random numbers, so the check compares distributions: of the number and area
of the boxes, and of the pixel levels. Ours returns uint8 and the peer float32; both leave the
normalisation to the device.
"""

from collections.abc import Callable, Iterator, Sequence

import numpy as np

from benchmarks import mmdet_order
from benchmarks.images import make_images
from benchmarks.interleaved import compare
from benchmarks.row import Row, Size, main, ratio_row
from ssd_core.config import AugmentConfig, ConvertConfig
from ssd_core.data.batches.augment import sample
from ssd_core.data.findings import Findings
from ssd_core.data.formats import read_dataset
from ssd_core.data.sources.folder import FolderSource
from ssd_core.structures import Annotations, Array, FloatArray

Augment = Callable[[bytes, Annotations], tuple[Array, FloatArray]]
"""From an image file and its objects to pixels and boxes."""


def measure(size: Size) -> Iterator[Row]:
    """Yield a single row; a fifth of the images is enough."""
    source = FolderSource(make_images(size.work_dir, size.images))
    split = read_dataset(source, ConvertConfig(), Findings("strict")).splits["train"]
    samples = [split.sample(index) for index in range(max(30, size.images // 5))]
    images = [(source.read(item.image_path), item.annotations) for item in samples]
    rng = np.random.default_rng(1)
    ours, peer = make_ours(rng), make_peer(rng)
    comparison = compare(
        lambda: [ours(*image)[1] for image in images],
        lambda: [peer(*image)[1] for image in images],
        check=lambda *_: check_distributions(ours, peer, images),
        rounds=size.rounds,
    )
    yield ratio_row(
        "decode + SSD augmentation", "mmdet 3.x order", comparison, target=0.37, clock="CPU"
    )


def make_ours(rng: np.random.Generator) -> Augment:
    """Return our augmentation, which writes to a reused array."""
    out = np.empty((mmdet_order.SIDE, mmdet_order.SIDE, 3), np.uint8)

    def ours(image: bytes, annotations: Annotations) -> tuple[Array, FloatArray]:
        boxes, _ = sample(
            image, annotations, rng, config=AugmentConfig(), fill=mmdet_order.FILL, out=out
        )
        return out, boxes

    return ours


def make_peer(rng: np.random.Generator) -> Augment:
    """Return the augmentation of the peer."""

    def peer(image: bytes, annotations: Annotations) -> tuple[Array, FloatArray]:
        pixels, boxes, _ = mmdet_order.augment(image, annotations.boxes, annotations.labels, rng)
        return pixels, boxes

    return peer


def check_distributions(
    ours: Augment, peer: Augment, images: list[tuple[bytes, Annotations]]
) -> None:
    """Compare two draws of each image."""
    found, expected = (
        [describe(*augment(*image)) for image in images for _ in range(2)]
        for augment in (ours, peer)
    )
    check_means(found, expected)


def describe(pixels: Array, boxes: FloatArray) -> list[float]:
    """Return number and area of the boxes, mean and standard deviation of the pixel levels."""
    levels = np.clip(pixels, 0, 255)
    area = (boxes[:, 2:] - boxes[:, :2]).prod(axis=1).sum()
    return [len(boxes), area, levels.mean(), levels.std()]


def check_means(found: Sequence[Sequence[float]], expected: Sequence[Sequence[float]]) -> None:
    """Compare two lists of samples: no mean differs by more than 4 standard errors."""
    errors = np.hypot(*(np.std(each, axis=0) / len(each) ** 0.5 for each in (found, expected)))
    differences = np.abs(np.mean(found, axis=0) - np.mean(expected, axis=0))
    assert (differences <= 4 * errors).all(), f"differences {differences}, errors {errors}"


if __name__ == "__main__":
    main(measure)
