"""Images with boxes: overlays on small copies."""

import base64

import numpy as np
import pytest

from ssd_core.data.decode import decode_image
from ssd_core.report import images
from ssd_core.report.images import annotate_image, take_while_small
from ssd_core.structures import ClassInfo, make_annotations
from tests.detections import make_detections

CLASSES = [ClassInfo(label=1, name="cat", category_id=17)]
MANY_CLASSES = [ClassInfo(label=k, name=f"c{k}", category_id=k) for k in range(1, 12)]


def found(boxes):
    return make_detections(boxes, [0.75] * len(boxes), [1] * len(boxes))


def annotated(width, height, *, truth=(), num_found=None, classes=MANY_CLASSES):
    return annotate_image(
        "a",
        np.zeros((height, width, 3), np.uint8),
        truth=make_annotations([[1, 1, 9, 9]] * len(truth), truth),
        found=None if num_found is None else found([[10, 10, 30, 30]] * num_found),
        classes=classes,
        note="",
    )


def test_pixels_and_boxes_are_scaled_alike_but_never_enlarged():
    pixels = np.zeros((520, 1040, 3), np.uint8)
    pixels[:, 520:] = 200
    truth = make_annotations([[0, 0, 1040, 520], [9, 9, 99, 99]], [1, 1], is_crowd=[False, True])
    detections = found([[100, 50, 300, 150]])
    image = annotate_image("a", pixels, truth=truth, found=detections, classes=CLASSES)
    small = decode_image(base64.b64decode(image.data))
    assert (image.width, image.height) == (520, 260) == small.shape[1::-1]
    assert small[130, 100].max() < 10
    assert small[130, 400].min() > 190
    false_box, missed_box = image.boxes
    assert (missed_box.x, missed_box.y, missed_box.width, missed_box.height) == (0, 0, 520, 260)
    assert (false_box.x, false_box.y, false_box.width, false_box.height) == (50, 25, 100, 50)
    assert (false_box.caption, missed_box.caption) == ("cat 0.75", "cat")
    assert (false_box.kind, missed_box.kind) == ("false", "missed")
    assert image.note == "1 of 1 missed, 1 false"
    small_image = annotated(20, 30)
    assert (small_image.width, small_image.height) == (20, 30)


@pytest.mark.parametrize(
    ("count", "note"), [(12, ""), (13, ", 1 name not drawn"), (15, ", 3 names not drawn")]
)
def test_captions_need_room(count, note):
    counts = f"0 of 0 missed, {count} false"
    for image, start in (
        (annotated(400, 300, num_found=count), counts),
        (annotated(400, 300, truth=[1] * count), ""),
    ):
        assert image.captioned == image.boxes[:12]
        assert image.note == start + note


def test_a_box_is_right_false_or_missed():
    truth = make_annotations([[10, 10, 30, 30], [50, 50, 70, 70]], [1, 1])
    boxes = found([[80, 10, 99, 30], [10, 10, 30, 31]])
    pixels = np.zeros((100, 100, 3), np.uint8)
    image = annotate_image("a", pixels, truth=truth, found=boxes, classes=CLASSES)
    assert [(box.kind, box.x) for box in image.boxes] == [
        ("false", 80.0),
        ("missed", 50.0),
        ("right", 10.0),
    ]
    assert image.note == "1 of 2 missed, 1 false"
    assert [box.kind for box in image.captioned] == ["false", "missed"]
    many = annotate_image("a", pixels, truth=truth, found=boxes, classes=MANY_CLASSES)
    assert len(many.captioned) == 3  # their colours are not distinct


def test_true_boxes_have_captions_without_distinct_colours():
    assert [box.caption for box in annotated(400, 300, truth=[1]).captioned] == ["c1"]
    assert annotated(400, 300, truth=[1], classes=CLASSES).captioned == ()


def test_of_many_classes_each_is_named_before_one_is_named_twice():
    image = annotated(400, 300, truth=[1] * 12 + [11, 2])
    assert [box.caption for box in image.captioned] == ["c1", "c11", "c2", *["c1"] * 9]
    assert image.note == ", 2 names not drawn"


def test_images_end_before_the_page_grows_too_large(monkeypatch):
    many = [annotated(500, 400) for _ in range(5)]
    monkeypatch.setattr(images, "_MAX_BYTES", int(2.5 * len(many[0].data)))
    assert take_while_small(iter(many)) == many[:2]
