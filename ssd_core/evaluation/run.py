"""Evaluation of a detector on a whole split."""

from dataclasses import dataclass

import numpy as np

from ssd_core.backends.base import Detector
from ssd_core.data.ahead import map_batches_ahead
from ssd_core.data.decode import load_image
from ssd_core.data.shards.reader import SplitReader
from ssd_core.errors import located
from ssd_core.evaluation.coco import CocoScores, evaluate_coco
from ssd_core.logs import Progress
from ssd_core.structures import Annotations, Detections, ImageArray, Record


@dataclass(frozen=True, slots=True, kw_only=True)
class EvaluationResult:
    """Accuracy on a split, with the truths and detections behind it."""

    scores: CocoScores
    image_ids: tuple[int, ...]
    """Of every image of the split, ascending."""
    truths: tuple[Annotations, ...]
    """Of the same images."""
    detections: tuple[Detections, ...]
    """Of the same images."""


def evaluate_detector(
    detector: Detector, reader: SplitReader, *, batch_size: int
) -> EvaluationResult:
    """Detect objects on every image of the split, and compare them with the truth.

    Images are decoded on threads ahead of the device, and scored in the order of their ids, as
    pycocotools does, so the order of the shards does not matter.
    """

    def load(record: Record) -> tuple[Record, ImageArray, tuple[int, int]]:
        with located(record.image_path):
            return record, *load_image(record.image, detector.image_size)

    batches = map_batches_ahead(load, reader.read_in_order(), batch_size=batch_size)
    rows: list[tuple[int, Annotations, Detections]] = []
    with Progress("evaluate: image", reader.num_images) as progress:
        for batch in batches:
            records, pixels, sizes = zip(*batch, strict=True)
            found = detector.detect(np.stack(pixels), sizes)
            rows += [
                (record.image_id, record.annotations, image)
                for record, image in zip(records, found, strict=True)
            ]
            progress.update(len(rows))
    rows.sort(key=lambda row: row[0])
    return EvaluationResult(
        scores=evaluate_coco([row[1] for row in rows], [row[2] for row in rows], reader.classes),
        image_ids=tuple(row[0] for row in rows),
        truths=tuple(row[1] for row in rows),
        detections=tuple(row[2] for row in rows),
    )
