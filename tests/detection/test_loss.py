"""The losses by hand, against torchvision, and their gradients."""

import math
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torchvision.models.detection._utils import BoxCoder, SSDMatcher
from torchvision.models.detection.ssd import SSD
from torchvision.ops import box_iou, sigmoid_focal_loss

from ssd_core.config import FocalLossSpec, MatchingSpec, SoftmaxLossSpec
from ssd_core.detection.boxes import to_xyxy
from ssd_core.detection.loss import DetectionLoss, focal_loss

ANCHORS = np.array(
    [
        [0.25, 0.25, 0.5, 0.5],
        [0.75, 0.25, 0.5, 0.5],
        [0.25, 0.75, 0.5, 0.5],
        [0.75, 0.75, 0.5, 0.5],
    ],
    np.float32,
)


def make_loss(anchors, *, ratio=3.0, focal=None, divisor="batch"):
    return DetectionLoss(
        anchors_cxcywh=anchors,
        variances=(0.1, 0.2),
        matching=MatchingSpec(),
        classification=focal or SoftmaxLossSpec(neg_to_pos_ratio=ratio),
        divisor=divisor,
    )


LOSS = make_loss(ANCHORS, ratio=1.0)
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


@pytest.mark.parametrize(
    ("divisor", "expected"),
    [
        ("batch", (2 + 4 + 0) / 3),
        ("batch_at_least_one", (2 + 4 + 0) / 4),
        ("image", (2 / 1 + 4 / 2 + 0) / 3),
    ],
)
def test_the_divisor_counts_positives_of_the_batch_or_of_each_image(divisor, expected):
    boxes = np.array([[[0, 0, 0.5, 0.5]], [[0, 0, 1, 0.5]], [[0, 0, 0, 0]]], np.float32)
    labels = np.array([[1], [1], [0]], np.int64)  # 1, 2 and no positives, IoU 1 and .5
    loss = make_loss(ANCHORS, ratio=1.0, divisor=divisor)
    terms = loss.compute(np.zeros((3, 4, 2)), np.zeros((3, 4, 4)), boxes, labels)
    assert terms.positives == 3
    assert terms.loss_cls == pytest.approx(expected * math.log(2))


def test_an_image_without_objects_has_no_softmax_loss():
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


@pytest.mark.parametrize("divisor", ["batch", "image"])
@pytest.mark.parametrize(
    "focal",
    [None, FocalLossSpec(alpha=0.75, background_column=True), FocalLossSpec(gamma=0.5)],
    ids=["softmax", "focal of all columns", "focal"],
)
def test_gradients_equal_finite_differences(focal, divisor):
    anchors, (logits, offsets, boxes, labels) = random_case(1, num_anchors=20)
    loss = make_loss(anchors, ratio=2.5, focal=focal, divisor=divisor)
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
def test_equals_the_multibox_loss_of_torchvision(seed):
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
    loss = make_loss(anchors)
    terms = loss.compute(logits, offsets, boxes, labels)
    assert terms.loss_cls == pytest.approx(expected["classification"].item(), rel=1e-5)
    assert terms.loss_bbox == pytest.approx(expected["bbox_regression"].item(), rel=1e-5)


@pytest.mark.parametrize("background_column", [True, False])
@pytest.mark.parametrize(("alpha", "gamma"), [(0.25, 2.0), (0.75, 2.0), (0.5, 0.0)])
def test_equals_the_focal_loss_of_torchvision(alpha, gamma, background_column):
    rng = np.random.default_rng(0)
    logits, targets = rng.normal(size=(60, 5)) * 4, rng.integers(0, 5, 60)
    one_hot = np.eye(5)[targets]
    first = 0 if background_column else 1
    expected = sigmoid_focal_loss(
        torch.from_numpy(logits)[:, first:],
        torch.from_numpy(one_hot)[:, first:],
        alpha=alpha,
        gamma=gamma,
        reduction="sum",
    )
    spec = FocalLossSpec(alpha=alpha, gamma=gamma, background_column=background_column)
    assert focal_loss(logits, targets, spec)[0] == pytest.approx(expected.item(), rel=1e-9)
