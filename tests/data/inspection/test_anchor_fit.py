"""How anchors fit the objects of a data set."""

import numpy as np

from ssd_core.config import AnchorLevel
from ssd_core.data.inspection.statistics import describe_reach
from ssd_core.data.inspection.table import Objects

LEVELS = (
    AnchorLevel(stride=50, shapes=((20, 20), (30, 30))),
    AnchorLevel(stride=100, shapes=((60, 60), (77.5, 77.5), (120, 30), (30, 120))),
)
"""On 100 px: 2 x 2 cells of squares of 20 and 30, one cell of 60, 77.5, 120 x 30 and 30 x 120."""

BOXES = np.array(
    [
        [0.15, 0.15, 0.35, 0.35],  # the square of 20
        [0.20, 0.20, 0.80, 0.80],  # the square of 60
        [0.65, 0.15, 0.85, 0.25],  # half of a square of 20
        [0.50, 0.50, 0.51, 0.51],  # between the squares, inside the one of 60
    ],
    np.float32,
)


def reach(iou_threshold=0.49, boxes=BOXES):
    count = len(boxes)
    objects = Objects(
        image_rows=np.zeros(count, np.int64),
        boxes=boxes,
        labels=np.array([1, 1, 2, 2][:count], np.int64),
        areas=np.array([100, 9999, 2000, 1][:count], np.float64),
    )
    return describe_reach(objects, LEVELS, 100, iou_threshold=iou_threshold, num_classes=3)


def test_objects_below_the_threshold_are_unreached():
    found = reach(0.49)
    assert (found["objects"], found["unreached"]) == (4, 1)
    assert found["unreached_classes"] == [0, 1, 0]
    assert found["unreached_sizes"] == {"small": 1, "medium": 0, "large": 0}
    assert found["unreached_side_histogram"][2] == 1  # 1 % of the image is 1.4 octaves from 1/256
    assert reach(0.51)["unreached"] == 2
    assert reach(0.51)["unreached_classes"] == [0, 2, 0]


def test_the_distribution_of_the_best_overlap():
    found = reach()
    assert found["best_iou"]["max"] == 1
    assert found["best_iou_histogram"][-1] == 2
    assert sum(found["best_iou_histogram"]) == 4


def test_levels_have_their_shapes_and_objects():
    small, large = reach()["levels"]
    assert small == {"stride": 50, "shapes": [[20, 20], [30, 30]], "anchors": 8, "objects": 2}
    assert large["shapes"] == [[60, 60], [77.5, 77.5], [120, 30], [30, 120]]
    assert (large["anchors"], large["objects"]) == (4, 2)


def test_no_objects():
    found = reach(boxes=np.zeros((0, 4), np.float32))
    assert (found["objects"], found["unreached"], found["best_iou"]) == (0, 0, None)
