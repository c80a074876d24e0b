"""Boxes and labels drawn into the pixels of an image."""

import numpy as np
import pytest

from ssd_core.report.charts import NUM_COLOURS, class_colour
from ssd_core.report.drawing import draw_detections, place_labels
from ssd_core.structures import ClassInfo
from tests.detections import make_detections

CLASSES = (ClassInfo(label=1, name="猫", category_id=1),)  # not in Pillow's built-in font
GRAY = np.full((200, 300, 3), 90, np.uint8)


def drawn(pixels, boxes):
    """Return the pixels after drawing, and how much redder than blue each of them is."""
    found = make_detections(boxes, [0.75] * len(boxes), [1] * len(boxes))
    image = np.asarray(draw_detections(pixels, found, CLASSES)).astype(int)
    return image, image[..., 0] - image[..., 2]


def test_the_border_has_the_colour_of_the_class_and_the_label_is_outside():
    image, redness = drawn(GRAY, [[50, 60, 150, 160]])
    assert redness[110, 50] > 50
    assert (redness[50:58, 52:90] > 50).mean() > 0.5
    assert (image[63:157, 53:147] == 90).all()


def test_boxes_at_the_edge_and_no_boxes_can_be_drawn():
    assert (drawn(GRAY, [])[0] == 90).all()
    _, redness = drawn(GRAY, [[290, 60, 300, 160]])
    assert (redness[50:58, 240:280] > 50).any()  # the label ends where the image does
    assert (drawn(GRAY, [[0, 0, 300, 200]])[1] > 50).any()


def overlap(one, other):
    width, height = (min(one[k + 2], other[k + 2]) - max(one[k], other[k]) for k in (0, 1))
    return max(width, 0) * max(height, 0)


def test_labels_hide_neither_small_boxes_nor_one_another():
    rng = np.random.default_rng(3)
    corners = rng.uniform(0, (600, 420), (60, 2))
    boxes = np.hstack([corners, corners + rng.uniform(12, 90, (60, 2))]).astype(np.float32)
    sizes = np.tile(np.float32([60, 14]), (60, 1))
    places = place_labels(boxes, sizes, (640, 480))
    placed = [place for place in places if place is not None]
    assert len(placed) > 45
    for row, place in enumerate(placed):
        assert min(place) >= 0
        assert (place[2] <= 640) & (place[3] <= 480)
        assert all(overlap(place, other) == 0 for other in placed[:row])
        for box in boxes:
            assert overlap(place, box) <= 0.31 * (box[2:] - box[:2]).prod()


def test_a_label_without_a_place_is_left_out():
    boxes = np.float32([[0, 0, 20, 20]] * 9)
    places = place_labels(boxes, np.tile(np.float32([18, 18]), (9, 1)), (20, 20))
    assert places == [None] * 9  # it would hide the box


@pytest.mark.parametrize("label", range(1, NUM_COLOURS + 1))
def test_text_is_readable_on_every_colour(label):
    classes = tuple(ClassInfo(label=k, name="iiii", category_id=k) for k in range(1, label + 1))
    found = make_detections([[20, 100, 280, 190]], [0.11], [label])
    image = np.asarray(draw_detections(GRAY, found, classes))[84:99, 24:60].reshape(-1, 3)
    linear = (image / 255) ** 2.2 @ (0.2126, 0.7152, 0.0722)
    assert (linear.max() + 0.05) / (linear.min() + 0.05) > 4.3, class_colour(label)
