"""The checks between reader and writer, on tiny images."""

from dataclasses import replace

import numpy as np
import pytest

from ssd_core.config import ConvertConfig, Policy
from ssd_core.data.checking.samples import check_sample
from ssd_core.data.findings import Findings
from ssd_core.structures import Sample, make_annotations
from tests.data.image_corpus import JPEG


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


def test_size_is_that_of_the_image() -> None:
    checked, findings = check(make_sample([[1, 1, 5, 5]], size=(10, 20)), JPEG)
    assert checked is not None
    assert (checked.width, checked.height) == (20, 10)
    assert findings.counts == {"image_size_differs": 1}
    assert "a.jpg is 20x10, but 10x20 in the annotations (the" in findings.listed[0].detail
    _, findings = check(make_sample([], size=(10, 21)), JPEG)
    assert findings.listed[0].detail == "a.jpg is 20x10, but 10x21 in the annotations"
    assert check(make_sample([], size=(10, 20)), JPEG, "skip")[0] is None
    assert not check(make_sample([], size=(0, 0)), JPEG)[1].counts


NAN, INF = float("nan"), float("inf")


@pytest.mark.parametrize(
    ("box", "code", "kept"),
    [
        ([0, 0, 20, 10], None, [0, 0, 20, 10]),
        ([NAN, 0, 5, 5], "box_not_finite", None),
        ([0, 0, INF, 5], "box_not_finite", None),
        ([5, 5, 5, 8], "box_without_area", None),
        ([5, 5, 8, 4], "box_without_area", None),
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
