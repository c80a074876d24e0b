"""Evaluation of a detector on a whole split."""

from typing import NamedTuple

import numpy as np

from ssd_core.backends.base import Detector
from ssd_core.data.ahead import map_batches_ahead
from ssd_core.data.decode import load_image
from ssd_core.data.shards.reader import SplitReader
from ssd_core.errors import located
from ssd_core.evaluation.coco import CocoScores, evaluate_coco
from ssd_core.logs import Progress
from ssd_core.structures import Annotations, Detections, ImageArray, Record


class EvaluatedImage(NamedTuple):
    """The objects and the detections of one image."""

    image_id: int
    truth: Annotations
    found: Detections


def evaluate_detector(
    detector: Detector, reader: SplitReader, *, batch_size: int
) -> tuple[CocoScores, list[EvaluatedImage]]:
    """Return the accuracy on a split, and the detections of its images in the order of their ids.

    Images are decoded on threads ahead of the device, and scored in the order of their ids, as
    pycocotools does, so the order of the shards does not matter.
    """

    def load(record: Record) -> tuple[Record, ImageArray, tuple[int, int]]:
        with located(record.image_path):
            return record, *load_image(record.image, detector.image_size)

    batches = map_batches_ahead(load, reader.read_in_order(), batch_size=batch_size)
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
    truths, detections = [image.truth for image in images], [image.found for image in images]
    return evaluate_coco(truths, detections, reader.classes), images
