"""Photographs of the page."""

import base64

import numpy as np
import pytest

from ssd_core.data.decode import decode_image
from ssd_core.report import photos
from ssd_core.report.photos import make_photo
from ssd_core.structures import ClassInfo, Detections, make_annotations

CLASSES = [ClassInfo(label=1, name="cat", category_id=17)]
MANY_CLASSES = [ClassInfo(label=k, name=f"c{k}", category_id=k) for k in range(1, 12)]


def found(count):
    boxes = np.tile(np.array([[100, 50, 300, 150]], np.float32), (count, 1))
    return Detections(
        boxes=boxes, scores=np.full(count, 0.75, np.float32), labels=np.ones(count, np.int64)
    )


def test_picture_and_boxes_are_scaled_alike():
    pixels = np.zeros((520, 1040, 3), np.uint8)
    pixels[:, 520:] = 200
    truth = make_annotations([[0, 0, 1040, 520], [9, 9, 99, 99]], [1, 1], is_crowd=[False, True])
    photo = make_photo(
        "a.jpg", pixels, truth=truth, found=found(1), classes=CLASSES, note="1 found"
    )
    small = decode_image(base64.b64decode(photo.data))
    assert (photo.width, photo.height) == (520, 260) == small.shape[1::-1]
    assert small[130, 100].max() < 10
    assert small[130, 400].min() > 190
    [true_box] = photo.true
    assert (true_box.x, true_box.y, true_box.width, true_box.height) == (0, 0, 520, 260)
    [found_box] = photo.found
    assert (found_box.x, found_box.y, found_box.width, found_box.height) == (50, 25, 100, 50)
    assert (found_box.caption, true_box.caption) == ("cat 0.75", "cat")


def plain_photo(width, height, *, truth=(), found=None, classes=MANY_CLASSES):
    return make_photo(
        "a",
        np.zeros((height, width, 3), np.uint8),
        truth=make_annotations([[1, 1, 9, 9]] * len(truth), truth),
        found=found,
        classes=classes,
        note="",
    )


def test_small_pictures_are_not_enlarged():
    photo = plain_photo(20, 30)
    assert (photo.width, photo.height) == (20, 30)


@pytest.mark.parametrize(("count", "num_captioned"), [(12, 12), (13, 0)])
def test_captions_only_where_there_is_room(count, num_captioned):
    assert len(plain_photo(400, 300, found=found(count)).captioned) == num_captioned
    assert len(plain_photo(400, 300, truth=[1] * count).captioned) == num_captioned


def test_true_boxes_have_captions_only_where_none_were_looked_for():
    photo = plain_photo(400, 300, truth=[1], found=found(2))
    assert [box.caption for box in photo.captioned] == ["c1 0.75"] * 2
    photo = plain_photo(400, 300, truth=[1])
    assert [box.caption for box in photo.captioned] == ["c1"]


def test_true_boxes_have_no_captions_where_the_colour_tells_the_class():
    assert plain_photo(400, 300, truth=[1], classes=CLASSES).captioned == ()


def test_pictures_stop_where_the_page_would_grow_too_large(monkeypatch):
    pictures = [plain_photo(500, 400) for _ in range(5)]
    monkeypatch.setattr(photos, "_MAX_BYTES", int(2.5 * len(pictures[0].data)))
    assert photos.take_while_small(iter(pictures)) == pictures[:2]
