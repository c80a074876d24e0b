"""Whole training batches from 2 threads; each peer is torch's DataLoader with 2 worker processes.

The DataLoader reads image files and augments them in cv2: in the order of mmdetection 3.x, as many
training scripts do, or as MindSpore's SSD300, whose input pipeline also finds the targets of the
anchors and normalises. Ours reads shards; the device does the rest. Each round is an epoch in
batches of 32; starting the workers is not measured.
"""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset

from benchmarks.augment import check_means
from benchmarks.images import make_images
from benchmarks.interleaved import Comparison, compare
from benchmarks.peers import PEERS, Peer
from benchmarks.script import Measurement, Size, main, ratio
from ssd_core.config import ConvertConfig
from ssd_core.data.batches.loader import Loader
from ssd_core.data.shards.reader import SplitReader, open_split
from ssd_core.recipes import load_recipe
from ssd_core.stages import convert
from ssd_core.store import LocalDirectory
from ssd_core.structures import Array

_BATCH = 32
_WORKERS = 2


def measure(size: Size) -> Iterator[Measurement]:
    """Yield a row per peer."""
    source = make_images(size.work_dir, size.images)
    shards = size.work_dir / f"shards-{size.images}"
    convert.run(ConvertConfig(), str(source), LocalDirectory(shards))
    reader = open_split(LocalDirectory(shards), "train")
    for peer in PEERS:
        comparison = compare_with(peer, reader, source, size.rounds)
        yield ratio(f"loader-{peer.key}", comparison)


def compare_with(peer: Peer, reader: SplitReader, source: Path, rounds: int) -> Comparison:
    """Compare epochs of both."""
    loader = Loader(
        reader,
        model=load_recipe("ssd300_vgg16").train.model,
        augment=peer.ours,
        batch_size=_BATCH,
        seed=1,
        num_threads=_WORKERS,
    )
    theirs = load_files(reader, source, peer)
    return compare(
        lambda: [
            describe(batch.images.transpose(0, 3, 1, 2), int((batch.labels > 0).sum()))
            for batch in loader.batches(0, reader.num_images // _BATCH)
        ],
        lambda: [
            describe(peer.to_levels(images.numpy()), sum(map(len, boxes)))
            for images, boxes, _ in theirs
        ],
        check=check,
        rounds=rounds,
    )


def load_files(reader: SplitReader, source: Path, peer: Peer) -> "DataLoader[Any]":
    """Return the DataLoader of a peer."""
    records = list(reader.read(range(reader.num_images)))
    return DataLoader(
        AugmentedImages(
            [source / record.image_path for record in records],
            [(r.annotations.boxes.copy(), r.annotations.labels.copy()) for r in records],
            peer.augment,
        ),
        batch_size=_BATCH,
        shuffle=True,
        drop_last=True,
        num_workers=_WORKERS,
        persistent_workers=True,
        collate_fn=collate,
        generator=torch.Generator().manual_seed(1),
    )


class AugmentedImages(Dataset[Any]):
    """Image files with boxes, augmented on access."""

    def __init__(self, paths: list[Path], objects: list[Any], augment: Callable[..., Any]) -> None:
        self._paths, self._objects, self._augment = paths, objects, augment

    def __len__(self) -> int:
        return len(self._paths)

    def __getitem__(self, index: int) -> Any:
        rng = np.random.default_rng(int(torch.randint(2**60, ())))
        boxes, labels = self._objects[index]
        return self._augment(self._paths[index].read_bytes(), boxes, labels, rng)


def collate(samples: list[Any]) -> Any:
    """Return one tensor of images, and lists of boxes and labels."""
    images, boxes, labels = zip(*samples, strict=True)
    return torch.stack([torch.from_numpy(image) for image in images]), boxes, labels


def describe(images: Array, num_boxes: int) -> list[float]:
    """Return number of images, boxes per image, and the mean of some pixel levels."""
    levels = np.clip(images[..., ::30, ::30], 0, 255)
    return [len(images), num_boxes / len(images), levels.mean()]


def check(ours: list[list[float]], peer: list[list[float]]) -> None:
    """Compare the number of batches and the distributions of their content."""
    assert len(ours) == len(peer)
    check_means(ours, peer)


if __name__ == "__main__":
    main(measure)
