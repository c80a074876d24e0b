"""The detections of a whole split."""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from ssd_core.backends.base import Detector
from ssd_core.backends.ranks import ALONE, Ranks
from ssd_core.config import EvaluateConfig, ImageSet
from ssd_core.data.ahead import batched, map_batches_ahead
from ssd_core.data.batches.resize import load_image
from ssd_core.data.shards.manifest import Manifest
from ssd_core.data.shards.reader import SplitReader
from ssd_core.errors import DataError, located
from ssd_core.logs import Progress
from ssd_core.structures import Annotations, Detections, ImageArray, Record


class EvaluatedImage(NamedTuple):
    """The objects and the detections of one image."""

    row: int
    """Position in the split, from 0."""
    image_id: int
    truth: Annotations
    found: Detections
    path: str = ""
    """Path of the image within its source, if that names it."""


def check_image_set(images: ImageSet, manifest: Manifest) -> None:
    """Check that a data set has the objects that `evaluate.images` depends on.

    Raises:
        DataError: it lacks objects of its source, which could be crowds.
    """
    num_left_out = manifest.findings.get("class_left_out", 0)
    if images == "mindspore" and num_left_out and manifest.source["format"] == "coco":
        raise DataError(
            f"evaluate.images=mindspore needs all crowds of {manifest.source['uri']}, but "
            f"{num_left_out} objects of other classes were left out by --classes; evaluate all "
            "images, or convert all classes"
        )


def detect_split(
    detector: Detector, reader: SplitReader, config: EvaluateConfig, ranks: Ranks = ALONE
) -> list[EvaluatedImage]:
    """Return the images of a split that count, with their detections, in the order of their ids.

    Images are decoded on threads ahead of the device. pycocotools scores them in the order of their
    ids, so the order of the shards does not matter. Ranks take the same batches that a single one
    would, in turn; only rank 0 returns images, those of all.
    """
    places: dict[int, tuple[int, str, Annotations]] = {}
    found: list[tuple[int, Detections]] = []

    def load(record: Record) -> tuple[Record, ImageArray, tuple[int, int]]:
        with located(record.image_path):
            return record, *load_image(record.image, detector.config)

    def choose() -> Iterator[Record]:
        counted = (r for r in reader.read_in_order() if is_counted(r.annotations, config.images))
        for number, batch in enumerate(batched(counted, config.batch_size)):
            places.update(
                {each.image_id: (each.index, each.image_path, each.annotations) for each in batch}
            )
            if number % ranks.world_size == ranks.rank:
                yield from batch

    batches = map_batches_ahead(load, choose(), batch_size=config.batch_size)
    with Progress("evaluate: image", reader.num_images) as progress:
        for batch in batches:
            records, pixels, sizes = zip(*batch, strict=True)
            detected = detector.detect(np.stack(pixels), sizes)
            found += zip((record.image_id for record in records), detected, strict=True)
            progress.update(records[-1].index + 1)  # those left out count as done
    if ranks.world_size > 1:
        found = _gather(found, ranks)
    found.sort(key=lambda each: each[0])
    return [
        EvaluatedImage(row, image_id, truth, each, path)
        for image_id, each in found
        for row, path, truth in [places[image_id]]
    ]


def _gather(found: list[tuple[int, Detections]], ranks: Ranks) -> list[tuple[int, Detections]]:
    """Return the detections of all ranks on rank 0, nothing on the others."""
    rows = [
        (image_id, each.boxes.tolist(), each.scores.tolist(), each.labels.tolist())
        for image_id, each in found
    ]
    return [
        (
            image_id,
            Detections(
                boxes=np.array(boxes, np.float32).reshape(-1, 4),
                scores=np.array(scores, np.float32),
                labels=np.array(labels, np.int64),
            ),
        )
        for part in ranks.gather(rows)
        for image_id, boxes, scores, labels in part
    ]


def is_counted(truth: Annotations, images: ImageSet) -> bool:
    """Return whether an image with these objects belongs to the set; see `evaluate.images`."""
    return images == "all" or (len(truth) > 0 and not truth.is_crowd.any())
