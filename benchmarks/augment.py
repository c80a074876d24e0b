"""Decode and augment for SSD on one thread; the peers are mmdetection 3.x and MindSpore's SSD300.

They draw different random numbers, so the check compares distributions: of the number and area of
the boxes, and of the pixel levels. Ours returns uint8 and leaves the rest to the device, as
mmdetection does with float32; MindSpore's chain also finds the targets of the anchors and
normalises.
"""

from collections.abc import Callable, Iterator, Sequence

import numpy as np

from benchmarks.images import make_images
from benchmarks.interleaved import compare
from benchmarks.peers import PEERS, Peer
from benchmarks.script import Measurement, Size, main, ratio
from ssd_core.config import AugmentConfig, ConvertConfig
from ssd_core.data.batches.augment import sample
from ssd_core.data.findings import Findings
from ssd_core.data.formats import read_dataset
from ssd_core.data.sources.folder import FolderSource
from ssd_core.recipes import load_recipe
from ssd_core.structures import Annotations, Array, FloatArray

Augment = Callable[[bytes, Annotations], tuple[Array, FloatArray]]
"""From an image file and its objects to pixels and boxes."""


def measure(size: Size) -> Iterator[Measurement]:
    """Yield a row per peer; a fifth of the images is enough."""
    source = FolderSource(make_images(size.work_dir, size.images))
    split = read_dataset(source, ConvertConfig(), Findings("strict")).splits["train"]
    samples = [split.sample(index) for index in range(max(30, size.images // 5))]
    images = [(source.read(item.image_path), item.annotations) for item in samples]
    for peer in PEERS:
        yield measure_peer(peer, images, size.rounds)


def measure_peer(
    peer: Peer, images: Sequence[tuple[bytes, Annotations]], rounds: int
) -> Measurement:
    """Compare our augmentation with that of a peer."""
    rng = np.random.default_rng(1)
    ours, theirs = make_ours(peer.ours, rng), make_theirs(peer, rng)
    comparison = compare(
        lambda: [ours(*image)[1] for image in images],
        lambda: [theirs(*image)[1] for image in images],
        check=lambda *_: check_distributions(peer, ours, theirs, images),
        rounds=rounds,
    )
    return ratio(f"augment-{peer.key}", comparison)


def make_ours(config: AugmentConfig, rng: np.random.Generator) -> Augment:
    """Return our augmentation, which writes to a reused array."""
    model = load_recipe("ssd300_vgg16").train.model
    out = np.empty((model.image_size, model.image_size, 3), np.uint8)

    def ours(image: bytes, annotations: Annotations) -> tuple[Array, FloatArray]:
        boxes, _ = sample(image, annotations, rng, config=config, model=model, out=out)
        return out, boxes

    return ours


def make_theirs(peer: Peer, rng: np.random.Generator) -> Augment:
    """Return the augmentation of a peer."""

    def theirs(image: bytes, annotations: Annotations) -> tuple[Array, FloatArray]:
        pixels, boxes, _ = peer.augment(image, annotations.boxes, annotations.labels, rng)
        return pixels, boxes

    return theirs


def check_distributions(
    peer: Peer, ours: Augment, theirs: Augment, images: Sequence[tuple[bytes, Annotations]]
) -> None:
    """Compare two draws of each image."""
    twice = [image for image in images for _ in range(2)]
    found = [describe(*ours(*image)) for image in twice]
    pixels_and_boxes = (theirs(*image) for image in twice)
    expected = [describe(peer.to_levels(pixels), boxes) for pixels, boxes in pixels_and_boxes]
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
