"""What a reader takes for granted of the rows of a shard, whichever program wrote it."""

from dataclasses import dataclass

import numpy as np

from ssd_core.structures import Annotations, IntArray


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """The numbers of a manifest that the rows of a split must keep to."""

    num_classes: int
    max_boxes: int
    """Largest number of objects in one image."""

    def find_fault(self, objects: Annotations, counts: IntArray, sizes: IntArray) -> str | None:
        """Return the first fault of R rows, or None.

        Args:
            objects: [N], of all rows in sequence.
            counts: [R] objects of each row.
            sizes: [R, 2] width and height of each image in pixels.
        """
        if sizes.min(initial=1) < 1:
            return "an image without width or height"
        if counts.max(initial=0) > self.max_boxes:
            return (
                f"{counts.max()} objects in one image, the manifest says at most {self.max_boxes}"
            )
        if objects.labels.min(initial=1) < 1 or objects.labels.max(initial=1) > self.num_classes:
            return f"a class outside 1..{self.num_classes}"
        low, high = objects.boxes[:, :2], objects.boxes[:, 2:]
        is_sound = (low >= 0) & (low < high) & (high <= np.repeat(sizes, counts, axis=0))
        if not is_sound.all():  # also where a coordinate is not a number
            return "a box without area, or outside its image"
        return None
