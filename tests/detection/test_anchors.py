"""Anchors, against the definitions of the reference systems, and the best anchor of an object."""

import math
from functools import cache
from itertools import pairwise

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torchvision.models.detection.anchor_utils import DefaultBoxGenerator
from torchvision.models.detection.image_list import ImageList

from ssd_core.detection.anchors import find_best_anchors, generate_anchors
from ssd_core.detection.boxes import compute_iou, to_xyxy
from ssd_core.recipes import RECIPES, load_recipe
from ssd_core.recipes.anchors import (
    even_strides,
    paper_levels,
    retinanet_levels,
    tensorflow_levels,
)
from ssd_core.recipes.ssd300_vgg16 import SSD300_COCO_SIZES, SSD300_RATIOS, SSD300_STRIDES

SSD300 = {"strides": SSD300_STRIDES, "sizes": SSD300_COCO_SIZES, "ratios": SSD300_RATIOS}
CELLS_SSDLITE = (20, 10, 5, 3, 2, 1)
CELLS_TENSORFLOW = (19, 10, 5, 3, 2, 1)
STRIDES_MINDSPORE = (16, 32, 64, 100, 150, 300)
STRIDES_PYRAMID = (8, 16, 32, 64, 128)
EVERY_RATIO = ((2, 3),) * 6


def anchors_of_recipe(name):
    return load_recipe(name).train.model.anchors


# name -> image size, levels, and how many anchors the reference system states
SYSTEMS = {
    "ssd300 of mmdetection": (300, paper_levels(**SSD300), 8732),
    "ssd300 of torchvision and NVIDIA": (300, paper_levels(**SSD300, limit=300), 8732),
    "ssd300 of mmdetection for VOC": (300, anchors_of_recipe("ssd300_vgg16_voc"), 8732),
    "ssd512 of mmdetection": (512, anchors_of_recipe("ssd512_vgg16"), 24564),
    "ssd512 of mmdetection for VOC": (512, anchors_of_recipe("ssd512_vgg16_voc"), 24564),
    "ssdlite320 of mmdetection": (
        320,
        paper_levels(
            strides=(16, 32, 64, 107, 160, 320),
            sizes=(48, 100, 150, 202, 253, 304, 320),
            ratios=EVERY_RATIO,
        ),
        3234,
    ),
    "ssdlite320 of torchvision": (
        320,
        paper_levels(
            strides=even_strides(320, CELLS_SSDLITE),
            sizes=[320 * scale for scale in (0.2, 0.35, 0.5, 0.65, 0.8, 0.95, 1.0)],
            ratios=EVERY_RATIO,
            limit=320,
        ),
        3234,
    ),
    "ssd300_mobilenet_v2 of MindSpore": (
        300,
        tensorflow_levels(300, strides=STRIDES_MINDSPORE),
        1917,
    ),
    "ssd300_mobilenet_v2 of TensorFlow": (
        300,
        tensorflow_levels(300, strides=even_strides(300, CELLS_TENSORFLOW)),
        1917,
    ),
    "ssd300_vgg16 of MindSpore": (300, tensorflow_levels(300, strides=SSD300_STRIDES), 7308),
    "ssd640_fpn of MindSpore": (640, retinanet_levels(strides=STRIDES_PYRAMID), 51150),
    "demo": (256, anchors_of_recipe("demo"), 5440),
}


def torchvision_anchors(image_size, cells, ratios, **settings):
    """All anchors of torchvision's generator, xyxy in pixels."""
    generator = DefaultBoxGenerator([list(level) for level in ratios], **settings)
    images = ImageList(torch.zeros(1, 3, image_size, image_size), [(image_size, image_size)])
    levels = [torch.zeros(1, 1, side, side) for side in cells]
    return generator(images, levels)[0].numpy()


def anchors_of(cells, centre_of, shapes):
    """All anchors, xyxy, written down cell by cell.

    Args:
        cells: of each level.
        centre_of: from an index, a level and its cells to a coordinate.
        shapes: for each level its (width, height).
    """
    return np.array(
        [
            (x - w / 2, y - h / 2, x + w / 2, y + h / 2)
            for level, side in enumerate(cells)
            for y in (centre_of(row, level, side) for row in range(side))
            for x in (centre_of(column, level, side) for column in range(side))
            for w, h in shapes[level]
        ]
    )


def mmdetection_anchors(image_size, *percents):
    """SSD300 or SSD512, in pixels.

    Sizes by the rule of its SSDAnchorGenerator: a small one, then those of its
    basesize_ratio_range in even steps; heights are multiplied by sqrt(h / w), widths divided by it.
    """
    if image_size == 300:
        cells, strides, num_ratios = (38, 19, 10, 5, 3, 1), (8, 16, 32, 64, 100, 300), "122211"
    else:
        cells, num_ratios = (64, 32, 16, 8, 4, 2, 1), "1222211"
        strides = [512 / side for side in cells]
    shapes = []
    for level, number in enumerate(num_ratios):
        small, large = (image_size * percents[level + step] // 100 for step in (0, 1))
        pairs = [(small, 1.0), (math.sqrt(small * large), 1.0)]
        for ratio in (2, 3)[: int(number)]:
            pairs += [(small, 1 / ratio), (small, ratio)]
        shapes.append([(side / math.sqrt(tall), side * math.sqrt(tall)) for side, tall in pairs])
    return anchors_of(cells, lambda i, level, _: (i + 0.5) * strides[level], shapes)


def mobilenet_shapes():
    """Width and height relative to the image."""
    scales = [0.2, 0.35, 0.5, 0.65, 0.8, 0.95, 1.0]
    root2, root3 = math.sqrt(2), math.sqrt(3)
    levels = [[(0.1, 0.1), (0.2 * root2, 0.2 / root2), (0.2 / root2, 0.2 * root2)]]
    for scale, following in pairwise(scales[1:]):
        stretched = [(scale * root2, scale / root2), (scale / root2, scale * root2)]
        stretched += [(scale * root3, scale / root3), (scale / root3, scale * root3)]
        middle = math.sqrt(scale * following)
        levels.append([(scale, scale), *stretched, (middle, middle)])
    return levels


def pyramid_shapes():
    """Width and height in pixels: base 4 strides, ratios outside, two sizes per octave inside."""
    return [
        [
            (4 * stride * octave * math.sqrt(ratio), 4 * stride * octave / math.sqrt(ratio))
            for ratio in (1, 2, 0.5)
            for octave in (1, 2**0.5)
        ]
        for stride in STRIDES_PYRAMID
    ]


EXPECTED = {
    "ssd300 of mmdetection": lambda: mmdetection_anchors(300, 7, *range(15, 106, 18)),
    "ssd300 of mmdetection for VOC": lambda: mmdetection_anchors(300, 10, *range(20, 106, 17)),
    "ssd512 of mmdetection": lambda: mmdetection_anchors(512, 4, *range(10, 107, 16)),
    "ssd512 of mmdetection for VOC": lambda: mmdetection_anchors(512, 7, *range(15, 106, 15)),
    "ssd300 of torchvision and NVIDIA": lambda: torchvision_anchors(
        300,
        (38, 19, 10, 5, 3, 1),
        SSD300_RATIOS,
        scales=[0.07, 0.15, 0.33, 0.51, 0.69, 0.87, 1.05],
        steps=[8, 16, 32, 64, 100, 300],
    ),
    "ssdlite320 of torchvision": lambda: torchvision_anchors(
        320, CELLS_SSDLITE, EVERY_RATIO, min_ratio=0.2, max_ratio=0.95
    ),
    "ssd300_mobilenet_v2 of TensorFlow": lambda: (
        300
        * anchors_of(CELLS_TENSORFLOW, lambda i, _, cells: (i + 0.5) / cells, mobilenet_shapes())
    ),
    "ssd640_fpn of MindSpore": lambda: anchors_of(
        (80, 40, 20, 10, 5), lambda i, level, _: (i + 0.5) * 8 * 2**level, pyramid_shapes()
    ),
}


@pytest.mark.parametrize("system", SYSTEMS)
def test_the_number_of_anchors_is_that_of_the_system(system):
    image_size, levels, expected = SYSTEMS[system]
    assert generate_anchors(levels, image_size).shape == (expected, 4)


@pytest.mark.parametrize("system", EXPECTED)
def test_anchors_equal_those_of_the_system(system):
    image_size, levels, _ = SYSTEMS[system]
    ours = to_xyxy(generate_anchors(levels, image_size)) * image_size
    np.testing.assert_allclose(ours, EXPECTED[system](), atol=1e-4)


TWO_LEVELS = paper_levels(strides=(50, 100), sizes=(20, 45, 100), ratios=((), (4,)))
"""On 100 px: 2 x 2 cells of squares of 20 and 30, one cell of 45, 67, 90 x 22.5, 22.5 x 90."""

unit = st.floats(0, 1, width=32)
boxes_in_image = st.lists(st.tuples(unit, unit, unit, unit), min_size=1, max_size=20).map(
    lambda rows: np.array(
        [(min(a, c), min(b, d), max(a, c), max(b, d)) for a, b, c, d in rows], np.float32
    )
)


def test_iou_and_level_of_the_best_anchor():
    boxes = np.array(
        [
            [0.15, 0.15, 0.35, 0.35],  # the square of 20 in the first cell
            [0.275, 0.275, 0.725, 0.725],  # the square of 45
            [0.65, 0.15, 0.85, 0.25],  # half of the square of 20 in the second cell
            [0.50, 0.50, 0.50, 0.50],  # no area
        ],
        np.float32,
    )
    iou, level = find_best_anchors(boxes, TWO_LEVELS, 100)
    assert iou == pytest.approx([1, 1, 0.5, 0])
    assert level.tolist()[:3] == [0, 1, 0]
    iou, level = find_best_anchors(boxes[:0], TWO_LEVELS, 100)
    assert iou.shape == level.shape == (0,)


@cache
def network_of(recipe):
    model = load_recipe(recipe).train.model
    return model, to_xyxy(generate_anchors(model.anchors, model.image_size))


@pytest.mark.parametrize("recipe", RECIPES)
@given(boxes=boxes_in_image)
def test_no_anchor_overlaps_more(recipe, boxes):
    model, anchors = network_of(recipe)
    iou, _ = find_best_anchors(boxes, model.anchors, model.image_size)
    np.testing.assert_allclose(iou, compute_iou(boxes, anchors).max(axis=1), atol=2e-6)
