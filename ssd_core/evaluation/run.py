"""The detections of a whole split."""

from typing import NamedTuple

import numpy as np

from ssd_core.backends.base import Detector
from ssd_core.config import EvaluateConfig, ImageSet
from ssd_core.data.ahead import map_batches_ahead
from ssd_core.data.batches.resize import load_image
from ssd_core.data.shards.manifest import Manifest
from ssd_core.data.shards.reader import SplitReader
from ssd_core.errors import DataError, located
from ssd_core.logs import Progress
from ssd_core.structures import Annotations, Detections, ImageArray, Record


class EvaluatedImage(NamedTuple):
    """The objects and the detections of one image."""

    image_id: int
    truth: Annotations
    found: Detections


def check_image_set(images: ImageSet, manifest: Manifest) -> None:
    """Check that a data set has what `evaluate.images` needs to leave images out.

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
    detector: Detector, reader: SplitReader, config: EvaluateConfig
) -> list[EvaluatedImage]:
    """Return the images of a split that count, with their detections, in the order of their ids.

    Images are decoded on threads ahead of the device. pycocotools scores them in the order of their
    ids, so the order of the shards does not matter.
    """

    def load(record: Record) -> tuple[Record, ImageArray, tuple[int, int]]:
        with located(record.image_path):
            return record, *load_image(record.image, detector.image_size)

    counted = (r for r in reader.read_in_order() if is_counted(r.annotations, config.images))
    batches = map_batches_ahead(load, counted, batch_size=config.batch_size)
    images: list[EvaluatedImage] = []
    with Progress("evaluate: image", reader.num_images) as progress:
        for batch in batches:
            records, pixels, sizes = zip(*batch, strict=True)
            found = detector.detect(np.stack(pixels), sizes)
            images += [
                EvaluatedImage(record.image_id, record.annotations, detections)
                for record, detections in zip(records, found, strict=True)
            ]
            progress.update(len(images))
    images.sort(key=lambda image: image.image_id)
    return images


def is_counted(truth: Annotations, images: ImageSet) -> bool:
    """Return whether an image with these objects belongs to the set; see `evaluate.images`."""
    return images == "all" or (len(truth) > 0 and not truth.is_crowd.any())
