"""Non-maximum suppression, by hand and against torchvision."""

import numpy as np
import pytest
import torch
from torchvision.ops import nms

from ssd_core.detection.nms import suppress


def test_a_box_falls_to_a_better_one_but_not_to_a_fallen_one():
    boxes = np.array([[0, 0, 10, 1], [4, 0, 14, 1], [8, 0, 18, 1], [50, 0, 60, 1]], np.float32)
    # IoU of neighbours 6/14, of the first and the third 2/18: the second falls, the third stays.
    assert suppress(boxes, 0.4).tolist() == [0, 2, 3]


def test_an_overlap_equal_to_the_threshold_stays():
    boxes = np.array([[0, 0, 1, 1], [0, 0, 1, 0.5]], np.float32)
    assert suppress(boxes, 0.5).tolist() == [0, 1]
    assert suppress(boxes, 0.49).tolist() == [0]


def test_no_boxes():
    assert suppress(np.zeros((0, 4), np.float32), 0.5).tolist() == []


@pytest.mark.parametrize("seed", range(5))
def test_equals_torchvision(seed):
    rng = np.random.default_rng(seed)
    corner, sides = rng.random((2, 200, 2), np.float32)
    boxes = np.concatenate([corner, corner + sides * 0.3], axis=1)
    scores = torch.linspace(1, 0, len(boxes))
    expected = nms(torch.from_numpy(boxes), scores, 0.45)
    assert suppress(boxes, 0.45).tolist() == expected.tolist()
