"""From the raster of the annotations to stored pixels: fractions, EXIF orientation, other sizes."""

from dataclasses import replace

import numpy as np

from ssd_core.data.checking.images import ImageFacts
from ssd_core.data.findings import Findings
from ssd_core.structures import Annotations, FloatArray, Sample

_SIDEWAYS = {5: (False, False), 6: (False, True), 7: (True, True), 8: (True, False)}
"""By EXIF orientation with exchanged sides: whether x and y run backwards in the stored image."""

_Size = tuple[int, int]


def fit_raster(sample: Sample, facts: ImageFacts, findings: Findings) -> Sample | None:
    """Return the sample with boxes in pixels of the stored image, or None if it is dropped."""
    size = (facts.width, facts.height)
    written = (sample.width, sample.height)
    raster = size if 0 in written else written
    annotations, is_dropped = sample.annotations, False
    is_normalised = sample.is_normalised
    if not is_normalised and _are_fractions(annotations.boxes):
        detail = "all boxes are in 0..1: fractions of the image, not pixels?"
        is_dropped = findings.add(
            "boxes_in_fractions", sample.place, detail, image=sample.image_path
        )
        sides = annotations.boxes[:, 2:].astype(np.float64) - annotations.boxes[:, :2]
        annotations, is_normalised = replace(annotations, areas=sides.prod(axis=1)), True
    if is_normalised:
        annotations = _scale(annotations, raster)
    remark = _compare(raster, facts, is_known=0 not in written)
    if remark is not None:
        code, detail = remark
        place, path = sample.place, sample.image_path
        is_dropped |= findings.add(code, place, f"{path} {detail}", image=path)
        if code == "image_size_differs":
            return None
        is_turned = code == "image_size_turned"
        target = size[::-1] if is_turned else size
        if target != raster:
            annotations = _scale(annotations, (target[0] / raster[0], target[1] / raster[1]))
        if is_turned:
            annotations = replace(
                annotations, boxes=_turn(annotations.boxes, facts.orientation, size)
            )
    if is_dropped:
        return None
    if annotations is sample.annotations and written == size:
        return sample
    width, height = size
    return replace(sample, width=width, height=height, annotations=annotations, is_normalised=False)


def _compare(raster: _Size, facts: ImageFacts, *, is_known: bool) -> tuple[str, str] | None:
    """Return code and detail if the annotations are, or may be, those of another raster."""
    size = (facts.width, facts.height)
    tag = f"its EXIF orientation is {facts.orientation}"
    if raster == size:
        # sides that are not exchanged prove that the annotations are those of the stored image
        is_proven = is_known and facts.orientation in _SIDEWAYS and size != size[::-1]
        if facts.orientation == 1 or is_proven:
            return None
        return "image_orientation", f"may have been labelled upright: {tag}, which is ignored"
    detail = "is {}x{}, but {}x{} in the annotations".format(*size, *raster)
    if _have_one_shape(raster, size):
        return "image_size_scaled", f"{detail}, which has the same shape"
    if facts.orientation in _SIDEWAYS and _have_one_shape(raster, size[::-1]):
        return "image_size_turned", f"{detail}: upright, since {tag}"
    return "image_size_differs", detail


def _have_one_shape(one: _Size, other: _Size) -> bool:
    """Return whether one size is the other scaled, but for rounding."""
    return abs(one[0] * other[1] - one[1] * other[0]) <= max(sum(one), sum(other)) / 2


def _are_fractions(boxes: FloatArray) -> bool:
    """Return whether all boxes are in [0, 1]; whole numbers alone may be pixels."""
    return bool(len(boxes) and boxes.max() <= 1 and boxes.min() >= 0 and (boxes % 1).any())


def _scale(annotations: Annotations, factors: tuple[float, float]) -> Annotations:
    width, height = factors
    return replace(
        annotations,
        boxes=annotations.boxes * np.array([width, height] * 2, np.float32),
        areas=annotations.areas * width * height,
    )


def _turn(boxes: FloatArray, orientation: int, size: _Size) -> FloatArray:
    """Return boxes of the upright image as boxes of the stored one, which has `size`."""
    y0, x0, y1, x1 = boxes.T
    is_x_backwards, is_y_backwards = _SIDEWAYS[orientation]
    if is_x_backwards:
        x0, x1 = size[0] - x1, size[0] - x0
    if is_y_backwards:
        y0, y1 = size[1] - y1, size[1] - y0
    return np.stack([x0, y0, x1, y1], axis=1)
