"""Checks of one image: its file, then the boxes against its true size."""

import math
from collections.abc import Callable
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from ssd_core.config import ConvertConfig
from ssd_core.data.checking.images import inspect_image
from ssd_core.data.checking.raster import fit_raster
from ssd_core.data.decode import ImageFaultError
from ssd_core.data.findings import CLIP, KEEP, RULES, Findings
from ssd_core.errors import DataError
from ssd_core.structures import Annotations, BoolArray, FloatArray, Sample

ROUNDING_PIXELS = 1.0
"""A box that leaves the image by at most this was rounded, not misplaced."""
_TINY_PIXELS = 1.0


def check_image(
    sample: Sample,
    load: Callable[[str], memoryview],
    config: ConvertConfig,
    findings: Findings,
) -> tuple[Sample, memoryview] | None:
    """Load an image by its name; return it after the checked sample, or None if it is dropped."""
    try:
        image = load(sample.image_path)
    except DataError as error:
        findings.add("image_unreadable", sample.place, str(error), image=sample.image_path)
        return None
    checked = check_sample(sample, image, config, findings)
    return None if checked is None else (checked, image)


def check_sample(
    sample: Sample, image: memoryview, config: ConvertConfig, findings: Findings
) -> Sample | None:
    """Return a sample with its true size and sound boxes, or None if it is dropped."""
    path = sample.image_path
    try:
        facts = inspect_image(image, max_pixels=config.max_pixels, is_decoded=config.decode_check)
    except ImageFaultError as fault:
        findings.add(fault.code, sample.place, f"{path} {fault.detail}", image=path)
        return None
    for code, remark in facts.remarks.items():
        findings.add(code, sample.place, f"{path} {remark}", image=path)
    fitted = fit_raster(sample, facts, findings)
    return None if fitted is None else _check_boxes(fitted, findings)


_SOUND = -1
_FAULTS = (
    ("box_not_finite", "has a coordinate that is not a finite number"),
    ("box_without_area", "has no area"),
    ("box_outside", "is outside the image of {}x{}"),
    ("box_partly_outside", "is partly outside the image of {}x{}"),
    ("box_beyond_edge", "is up to a pixel outside the image of {}x{}"),
    ("box_tiny", "has a side of less than a pixel"),
)
"""Codes and descriptions; the first that applies counts."""
_EXCHANGED = ("box_corners_exchanged", "has its right or lower edge first")
_INVISIBLE = [i for i, (code, _) in enumerate(_FAULTS) if code == "box_outside"]
_KEPT = [i for i, (code, _) in enumerate(_FAULTS) if RULES[code].repair in {CLIP, KEEP}]


def _check_boxes(sample: Sample, findings: Findings) -> Sample | None:
    """Return the sample with its sound boxes, or None if it is dropped."""
    annotations, size = sample.annotations, (sample.width, sample.height)
    with np.errstate(over="ignore", invalid="ignore"):  # of boxes that are not finite
        if _all_sound(annotations.boxes, size):
            return sample
        ordered, is_exchanged = _order_corners(annotations.boxes)
        faults = _find_faults(ordered, size)
    is_dropped = False
    for index in np.flatnonzero((faults != _SOUND) | is_exchanged).tolist():
        x0, y0, x1, y1 = annotations.boxes[index].tolist()
        drawn = (x0, y0, x1, y1) if math.isfinite(x0 + y0 + x1 + y1) else None
        found = [_EXCHANGED] * bool(is_exchanged[index])
        found += [_FAULTS[faults[index]]] * bool(faults[index] != _SOUND)
        for code, description in found:
            corners = f"[{x0:g}, {y0:g}, {x1:g}, {y1:g}]"
            detail = f"{_describe(sample, index)} {corners} {description.format(*size)}"
            is_dropped |= findings.add(
                code, sample.place, detail, image=sample.image_path, box=drawn
            )
    kept = replace(annotations, boxes=ordered).select(np.isin(faults, [_SOUND, *_KEPT]))
    if not len(kept) and np.isin(faults, _INVISIBLE, invert=True).any() and not is_dropped:
        is_dropped = findings.drop_emptied(sample.place, sample.image_path)
    return None if is_dropped else replace(sample, annotations=_clip(kept, size))


def _order_corners(boxes: FloatArray) -> tuple[FloatArray, BoolArray]:
    """Return boxes whose first corner is the upper left one, and which of them were not so."""
    x0, y0, x1, y1 = boxes.T
    ordered = np.stack(
        [np.minimum(x0, x1), np.minimum(y0, y1), np.maximum(x0, x1), np.maximum(y0, y1)], axis=1
    )
    return ordered, np.asarray((x1 < x0) | (y1 < y0))


def _describe(sample: Sample, index: int) -> str:
    """Return the number and the class of an object, as the annotations have them."""
    number, label = sample.annotations.box_ids[index], sample.annotations.labels[index]
    name = f" '{sample.class_names[label - 1]}'" if sample.class_names else ""
    return f"{sample.object_word} {number}{name}"


def _all_sound(boxes: FloatArray, size: tuple[int, int]) -> bool:
    """Return whether no box has a fault: the quick answer for nearly every image."""
    width, height = size
    return all(
        (0 <= x0 <= x1 - _TINY_PIXELS and x1 <= width)
        and (0 <= y0 <= y1 - _TINY_PIXELS and y1 <= height)
        for x0, y0, x1, y1 in boxes.tolist()
    )


def _find_faults(boxes: FloatArray, size: tuple[int, int]) -> NDArray[np.int64]:
    """Return for each box the position of its first fault in _FAULTS, or _SOUND."""
    x0, y0, x1, y1 = boxes.T
    width, height = size
    excess = np.max([-x0, -y0, x1 - width, y1 - height], axis=0)
    conditions = [
        ~np.isfinite(boxes).all(axis=1),
        (x1 <= x0) | (y1 <= y0),
        (x0 >= width) | (y0 >= height) | (x1 <= 0) | (y1 <= 0),
        excess > ROUNDING_PIXELS,
        excess > 0,
        np.minimum(x1 - x0, y1 - y0) < _TINY_PIXELS,
    ]
    return np.select(conditions, range(len(_FAULTS)), _SOUND)


def _clip(annotations: Annotations, size: tuple[int, int]) -> Annotations:
    """Clip boxes to the image; an object is never larger than its box."""
    boxes = np.clip(annotations.boxes, 0, np.array([*size, *size], np.float32))
    sides = (boxes[:, 2:] - boxes[:, :2]).astype(np.float64)
    is_changed = (boxes != annotations.boxes).any(axis=1)
    areas = np.where(
        is_changed, np.minimum(annotations.areas, sides.prod(axis=1)), annotations.areas
    )
    return replace(annotations, boxes=boxes, areas=areas)
