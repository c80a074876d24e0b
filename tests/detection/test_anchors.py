"""Anchors, against torchvision's and mmdetection's definitions."""

import math

import numpy as np
import pytest
import torch
from torchvision.models.detection.anchor_utils import DefaultBoxGenerator
from torchvision.models.detection.image_list import ImageList

from ssd_core.config import AnchorSpec
from ssd_core.detection.anchors import feature_sizes, generate_anchors
from ssd_core.detection.boxes import to_xyxy
from ssd_core.recipes import load_recipe
from ssd_core.recipes.ssd300_vgg16 import SSD300_COCO_ANCHORS

TORCHVISION_ANCHORS = SSD300_COCO_ANCHORS.model_copy(update={"clip_sizes": True})


def torchvision_anchors():
    """All anchors of torchvision's ssd300_vgg16, xyxy in pixels."""
    generator = DefaultBoxGenerator(
        [[2], [2, 3], [2, 3], [2, 3], [2], [2]],
        scales=[0.07, 0.15, 0.33, 0.51, 0.69, 0.87, 1.05],
        steps=[8, 16, 32, 64, 100, 300],
    )
    images = ImageList(torch.zeros(1, 3, 300, 300), [(300, 300)])
    levels = [torch.zeros(1, 1, cells, cells) for cells in (38, 19, 10, 5, 3, 1)]
    return generator(images, levels)[0].numpy()


def mmdetection_anchors():
    """All anchors of mmdetection's ssd300_coco, xyxy in pixels: written down cell by cell.

    Sizes by the rule of its SSDAnchorGenerator for basesize_ratio_range (.15, .9): 7 %, then 15 %
    to 87 % in steps of 18 %; heights are multiplied by sqrt(h / w), widths divided by it.
    """
    percents = [7, 15, 33, 51, 69, 87, 105]
    rows = []
    for level, (cells, stride, num_ratios) in enumerate(
        [(38, 8, 1), (19, 16, 2), (10, 32, 2), (5, 64, 2), (3, 100, 1), (1, 300, 1)]
    ):
        small, large = (300 * percents[level + step] // 100 for step in (0, 1))
        shapes = [(small, 1.0), (math.sqrt(small * large), 1.0)]
        for ratio in (2, 3)[:num_ratios]:
            shapes += [(small, 1 / ratio), (small, ratio)]
        for row in range(cells):
            for column in range(cells):
                x, y = (column + 0.5) * stride, (row + 0.5) * stride
                for side, height_to_width in shapes:
                    w, h = side / math.sqrt(height_to_width), side * math.sqrt(height_to_width)
                    rows.append((x - w / 2, y - h / 2, x + w / 2, y + h / 2))
    return np.array(rows)


def test_ssd300_clipped_equals_torchvision():
    ours = to_xyxy(generate_anchors(TORCHVISION_ANCHORS, 300)) * 300
    assert ours.shape == (8732, 4)
    np.testing.assert_allclose(ours, torchvision_anchors(), atol=1e-4)


def test_ssd300_unclipped_equals_mmdetection():
    ours = to_xyxy(generate_anchors(SSD300_COCO_ANCHORS, 300)) * 300
    assert ours.shape == (8732, 4)
    np.testing.assert_allclose(ours, mmdetection_anchors(), atol=1e-4)


def test_the_definitions_differ_in_boxes_wider_than_the_image_only():
    free = generate_anchors(SSD300_COCO_ANCHORS, 300)
    clipped = generate_anchors(TORCHVISION_ANCHORS, 300)
    assert (free != clipped).any(axis=1).sum() == 2
    np.testing.assert_array_equal(clipped, np.minimum(free, [9, 9, 1, 1]).astype(np.float32))


def test_first_and_last_anchors_of_ssd300_by_hand():
    anchors = to_xyxy(generate_anchors(SSD300_COCO_ANCHORS, 300)) * 300
    np.testing.assert_allclose(anchors[0], [-6.5, -6.5, 14.5, 14.5], atol=1e-4)
    wide, tall = 21 * math.sqrt(2), 21 / math.sqrt(2)
    np.testing.assert_allclose(
        anchors[2], [4 - wide / 2, 4 - tall / 2, 4 + wide / 2, 4 + tall / 2], atol=1e-4
    )
    np.testing.assert_allclose(anchors[4], [1.5, -6.5, 22.5, 14.5], atol=1e-4)  # next column
    short, long = 261 / math.sqrt(2), 261 * math.sqrt(2)
    np.testing.assert_allclose(
        anchors[-1],
        [150 - short / 2, 150 - long / 2, 150 + short / 2, 150 + long / 2],
        atol=1e-4,
    )


def test_recipes_have_the_stated_number_of_anchors():
    counts = {}
    for name in ("ssd300_vgg16", "demo"):
        model = load_recipe(name).train.model
        counts[name] = len(generate_anchors(model.anchors, model.image_size))
    assert counts == {"ssd300_vgg16": 8732, "demo": 5440}


@pytest.mark.parametrize(
    ("stride", "size", "cells"), [(8, 300, 38), (64, 300, 5), (64, 256, 4), (300, 300, 1)]
)
def test_feature_size_rounds_up(stride, size, cells):
    spec = AnchorSpec(strides=(stride,), min_sizes=(10,), max_sizes=(20,), ratios=((),))
    assert feature_sizes(spec, size) == (cells,)
    assert generate_anchors(spec, size).shape == (cells * cells * 2, 4)
