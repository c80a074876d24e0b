"""Boxes drawn into pictures."""

import numpy as np

from ssd_core.data.decode import decode_image
from ssd_core.report.drawing import draw_detections
from ssd_core.structures import ClassInfo, Detections

CLASSES = [ClassInfo(label=1, name="猫", category_id=1)]


def detections(boxes):
    return Detections(
        boxes=np.array(boxes, np.float32).reshape(-1, 4),
        scores=np.full(len(boxes), 0.9, np.float32),
        labels=np.ones(len(boxes), np.int64),
    )


def test_the_border_is_drawn_in_the_colour_of_the_class():
    picture = decode_image(
        draw_detections(
            np.zeros((200, 300, 3), np.uint8), detections([[50, 60, 150, 160]]), CLASSES
        )
    )
    assert picture.shape == (200, 300, 3)
    red, _, blue = picture[110, 50].astype(int)
    assert red > blue + 50
    assert picture[110, 100].max() < 30


def test_boxes_at_the_edge_and_no_boxes_are_fine():
    gray = np.full((40, 60, 3), 90, np.uint8)
    assert decode_image(draw_detections(gray, detections([[0, 0, 60, 40]]), CLASSES)).shape
    untouched = decode_image(draw_detections(gray, detections([]), CLASSES))
    assert abs(untouched.astype(int) - 90).max() <= 2


def test_a_caption_at_the_right_edge_stays_in_the_picture():
    boxes = detections([[290, 60, 300, 160]])
    picture = decode_image(draw_detections(np.zeros((200, 300, 3), np.uint8), boxes, CLASSES))
    red, _, blue = picture[62, 240:280].astype(int).T
    assert (red > blue + 50).any()  # its ground begins left of the box
