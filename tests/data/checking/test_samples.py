"""The checks between reader and writer, on tiny images."""

import io
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image, ImageOps

from ssd_core.config import ConvertConfig, Policy
from ssd_core.data.checking.samples import check_sample
from ssd_core.data.findings import Findings
from ssd_core.structures import Sample, make_annotations
from tests.data.image_corpus import JPEG, exif_of, save


def make_sample(
    boxes: list[list[float]], size: tuple[int, int] = (20, 10), areas: list[float] | None = None
) -> Sample:
    return Sample(
        image_id=1,
        image_path="a.jpg",
        width=size[0],
        height=size[1],
        annotations=make_annotations(boxes, [1] * len(boxes), areas=areas),
        place="a.xml",
    )


def check(
    sample: Sample, image: bytes, policy: Policy = "repair"
) -> tuple[Sample | None, Findings]:
    config, findings = ConvertConfig(policy=policy), Findings(policy)
    return check_sample(sample, memoryview(image), config, findings), findings


@pytest.mark.parametrize("policy", ["strict", "repair", "skip"])
def test_a_bad_image_drops_the_sample_under_every_policy(policy: Policy) -> None:
    checked, findings = check(make_sample([[1, 1, 5, 5]]), JPEG[:-60], policy)
    assert checked is None
    assert findings.counts == {"image_truncated": 1}
    assert findings.listed[0].place == "a.xml"
    assert findings.listed[0].detail.startswith("a.jpg is truncated")


def exif_jpeg(orientation: int) -> bytes:
    """Return a stored image of 40x20 that is dark but for the pixels [2, 4, 10, 8]."""
    pixels = np.zeros((20, 40, 3), np.uint8)
    pixels[4:8, 2:10] = 255
    return save(Image.fromarray(pixels), "JPEG", quality=100, exif=exif_of(orientation))


def bright_box(image: Image.Image) -> list[float]:
    y, x = np.nonzero(np.asarray(image.convert("L")) > 128)
    return [float(x.min()), float(y.min()), x.max() + 1.0, y.max() + 1.0]


@pytest.mark.parametrize("scale", [1, 0.5, 3])
@pytest.mark.parametrize("orientation", [5, 6, 7, 8])
def test_boxes_of_the_upright_image_are_turned(orientation: int, scale: float) -> None:
    image = exif_jpeg(orientation)
    upright = ImageOps.exif_transpose(Image.open(io.BytesIO(image)))
    assert upright is not None
    box = (np.array(bright_box(upright)) * scale).tolist()
    size = (int(upright.width * scale), int(upright.height * scale))
    checked, findings = check(make_sample([box], size=size), image)
    assert checked is not None
    assert findings.counts == {"image_size_turned": 1}
    assert f"its EXIF orientation is {orientation}" in findings.listed[0].detail
    assert checked.annotations.boxes.tolist() == [bright_box(Image.open(io.BytesIO(image)))]
    assert checked.annotations.areas.tolist() == [32]
    assert check(make_sample([box], size=size), image, "skip")[0] is None


@pytest.mark.parametrize(
    ("size", "orientation", "code", "box"),
    [
        ((40, 20), 1, None, [2, 4, 10, 8]),
        ((0, 0), 1, None, [2, 4, 10, 8]),
        ((0, 20), 1, None, [2, 4, 10, 8]),
        ((80, 40), 1, "image_size_scaled", [1, 2, 5, 4]),
        ((20, 10), 1, "image_size_scaled", [4, 8, 20, 16]),
        ((41, 20), 1, "image_size_scaled", None),
        ((20, 40), 1, "image_size_differs", None),
        ((60, 20), 1, "image_size_differs", None),
        ((60, 20), 6, "image_size_differs", None),
        # sides that are not exchanged prove that the boxes are those of the stored image
        ((40, 20), 6, None, [2, 4, 10, 8]),
        ((40, 20), 3, "image_orientation", [2, 4, 10, 8]),
        ((0, 0), 6, "image_orientation", [2, 4, 10, 8]),
    ],
)
def test_sizes_of_the_annotations(
    size: tuple[int, int], orientation: int, code: str | None, box: list[float] | None
) -> None:
    checked, findings = check(make_sample([[2, 4, 10, 8]], size), exif_jpeg(orientation))
    assert findings.counts == ({code: 1} if code else {})
    assert not [item for item in findings.listed if "EXIF" in item.detail and orientation == 1]
    if code == "image_size_differs":
        assert checked is None
        return
    assert checked is not None
    assert (checked.width, checked.height) == (40, 20)
    assert box is None or checked.annotations.boxes.tolist() == [box]


@pytest.mark.parametrize(
    ("boxes", "is_fraction"),
    [
        ([[0.25, 0.5, 1, 1]], True),
        ([[0, 0, 1, 1], [0, 0.5, 1, 1]], True),
        ([[0, 0, 1, 1]], False),
        ([[0.25, 0.5, 1, 1], [1, 2, 3, 4]], False),
        ([], False),
    ],
)
def test_fractions_are_not_pixels(boxes: list[list[float]], is_fraction: bool) -> None:
    checked, findings = check(make_sample(boxes, areas=[9.0] * len(boxes)), JPEG)
    assert checked is not None
    assert ("boxes_in_fractions" in findings.counts) is is_fraction
    if is_fraction:
        assert checked.annotations.boxes[-1].tolist()[2:] == [20, 10]
        assert checked.annotations.areas.tolist()[-1] in {75, 100}
        assert list(findings.counts) == ["boxes_in_fractions"]


@pytest.mark.parametrize(
    ("boxes", "is_kept"),
    [
        ([[5, 5, 5, 8]], False),
        ([[30, 2, 35, 5]], True),
        ([], True),
        ([[5, 5, 5, 8], [1, 1, 2, 2]], True),
    ],
)
def test_an_image_that_lost_its_visible_objects_is_no_background(
    boxes: list[list[float]], is_kept: bool
) -> None:
    checked, findings = check(make_sample(boxes), JPEG)
    assert (checked is not None) is is_kept
    assert ("image_emptied" in findings.counts) is not is_kept
    assert "image_emptied" not in check(make_sample(boxes), JPEG, "strict")[1].counts


NAN, INF = float("nan"), float("inf")


@pytest.mark.parametrize(
    ("box", "code", "kept"),
    [
        ([0, 0, 20, 10], None, [0, 0, 20, 10]),
        ([NAN, 0, 5, 5], "box_not_finite", None),
        ([0, 0, INF, 5], "box_not_finite", None),
        ([5, 5, 5, 8], "box_without_area", None),
        ([8, 5, 5, 8], "box_corners_exchanged", [5, 5, 8, 8]),
        ([5, 8, 8, 5], "box_corners_exchanged", [5, 5, 8, 8]),
        ([20, 0, 25, 5], "box_outside", None),
        ([0, -5, 5, 0], "box_outside", None),
        ([10, 5, 30, 8], "box_partly_outside", [10, 5, 20, 8]),
        ([-9, -9, 99, 99], "box_partly_outside", [0, 0, 20, 10]),
        ([-0.5, 0, 20.75, 10], "box_beyond_edge", [0, 0, 20, 10]),
        ([5, 5, 5.5, 9], "box_tiny", [5, 5, 5.5, 9]),
        ([5, 5, 6, 6], None, [5, 5, 6, 6]),
        ([0, 0, 1e38, 1e38], "box_partly_outside", [0, 0, 20, 10]),
    ],
)
def test_boxes_under_repair(box: list[float], code: str | None, kept: list[float] | None) -> None:
    sound = [1.0, 2.0, 3.0, 4.0]
    with np.errstate(all="ignore"):
        sample = make_sample([sound, box])
    checked, findings = check(sample, JPEG)
    assert checked is not None
    assert checked.annotations.boxes.tolist() == [sound] + ([kept] if kept else [])
    assert findings.counts == ({code: 1} if code else {})


def test_a_bad_box_drops_the_image_under_skip() -> None:
    checked, findings = check(make_sample([[1, 2, 3, 4], [5, 5, 5, 5]]), JPEG, "skip")
    assert checked is None
    assert findings.listed[0].detail == "object 1 [5, 5, 5, 5] has no area"


def test_boxes_in_units_of_the_image_become_pixels() -> None:
    sample = replace(make_sample([[0.25, 0.5, 1, 1]], size=(0, 0)), is_normalised=True)
    checked, findings = check(sample, JPEG)
    assert checked is not None
    assert not findings.counts
    assert checked.annotations.boxes.tolist() == [[5, 5, 20, 10]]
    assert checked.annotations.areas.tolist() == [75]
    assert not checked.is_normalised


def test_clipping_changes_the_area_of_clipped_boxes_only() -> None:
    sample = make_sample([[0, 0, 4, 4], [10, 0, 30, 10], [10, 0, 30, 10]], areas=[3, 200, 7])
    checked, _ = check(sample, JPEG)
    assert checked is not None
    assert checked.annotations.areas.tolist() == [3, 100, 7]
