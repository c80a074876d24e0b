"""The loss by hand, against torchvision, and its gradients."""

import math
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torchvision.models.detection._utils import BoxCoder, SSDMatcher
from torchvision.models.detection.ssd import SSD
from torchvision.ops import box_iou

from ssd_core.detection.boxes import to_xyxy
from ssd_core.detection.loss import MultiBoxLoss

ANCHORS = np.array(
    [
        [0.25, 0.25, 0.5, 0.5],
        [0.75, 0.25, 0.5, 0.5],
        [0.25, 0.75, 0.5, 0.5],
        [0.75, 0.75, 0.5, 0.5],
    ],
    np.float32,
)
LOSS = MultiBoxLoss(
    anchors_cxcywh=ANCHORS, variances=(0.1, 0.2), iou_threshold=0.5, neg_to_pos_ratio=1.0
)
ONE_OBJECT = (np.array([[[0, 0, 0.5, 0.5]]], np.float32), np.array([[1]], np.int64))


def test_one_positive_and_its_hardest_negative_by_hand():
    logits = np.zeros((1, 4, 2), np.float32)
    logits[0, 2] = [0, 3]  # the anchor most wrongly taken for an object
    offsets = np.zeros((1, 4, 4), np.float32)
    offsets[0, 0] = [0.5, 0, 0, 3]  # the object is at offset 0
    offsets[0, 1] = 7  # no object: no loss
    terms = LOSS.compute(logits, offsets, *ONE_OBJECT)
    assert terms.positives == 1
    assert terms.loss_cls == pytest.approx(math.log(2) + math.log(1 + math.exp(3)))
    assert terms.loss_bbox == pytest.approx(0.5**2 / 2 + 2.5)
    np.testing.assert_allclose(terms.grad_bbox_regression[0], [[0.5, 0, 0, 1]] + [[0] * 4] * 3)
    surplus = 1 / (1 + math.exp(-3))
    expected = [[0.5, -0.5], [0, 0], [-surplus, surplus], [0, 0]]
    np.testing.assert_allclose(terms.grad_cls_logits[0], expected, atol=1e-12)


def test_terms_are_divided_by_the_positives_of_the_whole_batch():
    boxes = np.concatenate([ONE_OBJECT[0], np.zeros((1, 1, 4), np.float32)])
    boxes[1, 0] = [0, 0, 1, 0.5]  # IoU .5 with two anchors
    labels = np.array([[1], [1]], np.int64)
    terms = LOSS.compute(np.zeros((2, 4, 2)), np.zeros((2, 4, 4)), boxes, labels)
    assert terms.positives == 3
    assert terms.loss_cls == pytest.approx((3 + 3) * math.log(2) / 3)


def test_an_image_without_objects_teaches_nothing():
    logits = np.random.default_rng(0).normal(size=(1, 4, 3))
    terms = LOSS.compute(logits, np.ones((1, 4, 4)), ONE_OBJECT[0], np.zeros((1, 1), np.int64))
    assert (terms.loss_cls, terms.loss_bbox, terms.positives) == (0, 0, 0)
    assert not terms.grad_cls_logits.any()
    assert not terms.grad_bbox_regression.any()


def random_case(seed, num_anchors=60, num_images=3, num_objects=5, num_classes=4):
    rng = np.random.default_rng(seed)
    anchors = np.concatenate(
        [rng.random((num_anchors, 2)), rng.uniform(0.1, 0.5, (num_anchors, 2))], axis=1
    ).astype(np.float32)
    corner, sides = rng.random((2, num_images, num_objects, 2), np.float32)
    boxes = np.concatenate([corner * 0.6, corner * 0.6 + sides * 0.35 + 0.05], axis=2)
    labels = rng.integers(1, num_classes + 1, (num_images, num_objects))
    logits = rng.normal(size=(num_images, num_anchors, num_classes + 1))
    offsets = rng.normal(size=(num_images, num_anchors, 4)) * 2
    return anchors, (logits, offsets, boxes, labels)


def test_gradients_equal_finite_differences():
    anchors, (logits, offsets, boxes, labels) = random_case(1, num_anchors=20)
    loss = MultiBoxLoss(
        anchors_cxcywh=anchors, variances=(0.1, 0.2), iou_threshold=0.4, neg_to_pos_ratio=2.5
    )
    terms = loss.compute(logits, offsets, boxes, labels)
    for values, gradient in (
        (logits, terms.grad_cls_logits),
        (offsets, terms.grad_bbox_regression),
    ):
        for place in zip(*np.nonzero(gradient), strict=True):
            sums = []
            for change in (1e-6, -2e-6):
                values[place] += change
                moved = loss.compute(logits, offsets, boxes, labels)
                sums.append(moved.loss_cls + moved.loss_bbox)
            values[place] += 1e-6
            assert gradient[place] == pytest.approx((sums[0] - sums[1]) / 2e-6, abs=1e-6)


@pytest.mark.parametrize("seed", range(5))
def test_equals_torchvision(seed):
    anchors, (logits, offsets, boxes, labels) = random_case(seed)
    corners = torch.from_numpy(to_xyxy(anchors))
    targets = [
        {"boxes": torch.from_numpy(b), "labels": torch.from_numpy(label)}
        for b, label in zip(boxes, labels, strict=True)
    ]
    matcher = SSDMatcher(0.5)
    matched = [matcher(box_iou(target["boxes"], corners)) for target in targets]
    settings = SimpleNamespace(neg_to_pos_ratio=3, box_coder=BoxCoder((10.0, 10.0, 5.0, 5.0)))
    expected = SSD.compute_loss(
        settings,
        targets,
        {"cls_logits": torch.from_numpy(logits), "bbox_regression": torch.from_numpy(offsets)},
        [corners] * len(targets),
        matched,
    )
    loss = MultiBoxLoss(
        anchors_cxcywh=anchors, variances=(0.1, 0.2), iou_threshold=0.5, neg_to_pos_ratio=3.0
    )
    terms = loss.compute(logits, offsets, boxes, labels)
    assert terms.loss_cls == pytest.approx(expected["classification"].item(), rel=1e-5)
    assert terms.loss_bbox == pytest.approx(expected["bbox_regression"].item(), rel=1e-5)
