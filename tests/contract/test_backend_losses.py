"""Every backend's losses equal the NumPy oracle, in value and in gradient.

A new backend adds a function like `torch_terms` and its row to TERMS.
"""

from functools import cache, partial

import numpy as np
import pytest

from ssd_core.backends import open_backend
from ssd_core.config import FocalLossSpec, MatchingSpec, SoftmaxLossSpec
from ssd_core.detection.anchors import generate_anchors
from ssd_core.detection.loss import DetectionLoss, LossTerms
from ssd_core.recipes import load_recipe
from tests.requirements import INSTALLED_FRAMEWORKS

MODEL = load_recipe("demo").train.model
ANCHORS = generate_anchors(MODEL.anchors, MODEL.image_size)
NUM_CLASSES = 3


def make_method(classification, divisor="batch", **matching):
    return {
        "variances": (0.1, 0.2),
        "matching": MatchingSpec(**matching),
        "classification": classification,
        "divisor": divisor,
    }


METHODS = {
    "torchvision": make_method(SoftmaxLossSpec()),
    "mmdetection": make_method(SoftmaxLossSpec(), "batch_at_least_one"),
    "nvidia": make_method(SoftmaxLossSpec(), "image", inclusive=False),
    "mindspore": make_method(
        FocalLossSpec(alpha=0.75, background_column=True),
        inclusive=False,
        contested_anchor="first",
    ),
    "retinanet": make_method(FocalLossSpec(gamma=1.5), "image", iou_threshold=0.4),
}


def torch_terms(device, method, logits, offsets, boxes, labels):
    import torch

    from ssd_core.backends.torch.devices import open_device
    from ssd_core.backends.torch.loss import TorchLoss

    if device == "cuda" and not torch.cuda.is_available():
        pytest.skip("no NVIDIA GPU here")
    device = open_device(device).torch_device
    loss = TorchLoss(ANCHORS, device=device, **method)
    leaves = [torch.tensor(array, device=device, requires_grad=True) for array in (logits, offsets)]
    targets = loss.assign(*(torch.tensor(array, device=device) for array in (boxes, labels)))
    cls, bbox = loss(*leaves, targets)
    divisor = targets.counts[0].clamp(min=1)
    ((cls + bbox) / divisor).backward()
    return LossTerms(
        loss_cls=(cls / divisor).item(),
        loss_bbox=(bbox / divisor).item(),
        positives=targets.counts[1].item(),
        grad_cls_logits=leaves[0].grad.cpu().numpy(),
        grad_bbox_regression=leaves[1].grad.cpu().numpy(),
    )


def mindspore_terms(method, *inputs):
    from mindspore import Tensor

    (_, sums), gradients = compile_loss(tuple(method.items()))(*map(Tensor, inputs))
    cls, bbox, divisor, positives = sums.asnumpy().tolist()
    return LossTerms(
        loss_cls=cls / max(divisor, 1),
        loss_bbox=bbox / max(divisor, 1),
        positives=positives,
        grad_cls_logits=gradients[0].asnumpy(),
        grad_bbox_regression=gradients[1].asnumpy(),
    )


@cache
def compile_loss(method):
    import mindspore as ms
    from mindspore import ops

    from ssd_core.backends.mindspore.loss import MindSporeLoss

    open_backend("mindspore", "cpu")
    loss = MindSporeLoss(ANCHORS, **dict(method))

    def compute(logits, offsets, boxes, labels):
        targets = loss.assign(boxes, labels)
        sums = ops.cat([loss(logits, offsets, targets), targets[3]])
        return (sums[0] + sums[1]) / ops.maximum(sums[2], 1.0), sums

    return ms.jit(ms.value_and_grad(compute, (0, 1), has_aux=True))


TERMS = {
    "torch": [
        pytest.param(partial(torch_terms, "cpu"), id="torch-cpu"),
        pytest.param(partial(torch_terms, "cuda"), id="torch-cuda", marks=pytest.mark.cuda),
    ],
    "mindspore": [pytest.param(mindspore_terms, id="mindspore")],
}
BACKENDS = [row for framework in INSTALLED_FRAMEWORKS for row in TERMS[framework]]


def pad(images, num_rows=8):
    """Boxes [B, M, 4] and labels [B, M] from a list of objects per image: (label, box)."""
    boxes = np.zeros((len(images), num_rows, 4), np.float32)
    labels = np.zeros((len(images), num_rows), np.int64)
    for image, objects in enumerate(images):
        for row, (label, box) in enumerate(objects):
            boxes[image, row], labels[image, row] = box, label
    return boxes, labels


def random_objects(rng, count):
    corner, sides = rng.random((2, count, 2))
    low = corner * 0.9
    high = np.minimum(low + 0.02 + sides**2 * 0.9, 1)
    return list(zip(rng.integers(1, NUM_CLASSES + 1, count), np.hstack([low, high]), strict=True))


ONE_CELL = ANCHORS[4 * 500] @ np.array(
    [[1, 0, 1, 0], [0, 1, 0, 1], [-0.5, 0, 0.5, 0], [0, -0.5, 0, 0.5]]
)
"""The box of one small square anchor."""

ADVERSARIAL = {
    "no objects": [[], []],
    "one image without objects": [[(1, (0.1, 0.1, 0.5, 0.4))], []],
    "identical boxes": [[(1, (0.2, 0.2, 0.5, 0.6)), (2, (0.2, 0.2, 0.5, 0.6))] * 3],
    "identical boxes on one anchor": [[(1, ONE_CELL), (2, ONE_CELL), (3, ONE_CELL)]],
    "one anchor the best of two objects": [
        [(1, ONE_CELL), (2, ONE_CELL + np.array([0.001, 0, 0.001, 0]))],
        [(2, ONE_CELL + np.array([0.001, 0, 0.001, 0])), (1, ONE_CELL)],
    ],
    "tiny boxes": [
        [
            (1, (0.5, 0.5, 0.5001, 0.5001)),
            (2, (0.0, 0.0, 1e-6, 1e-6)),
            (3, (0.3, 0.3, 0.9, 0.30001)),
        ]
    ],
    "a box without area": [[(1, (0.4, 0.4, 0.4, 0.4)), (2, (0.1, 0.1, 0.5, 0.4))]],
    "a box that covers everything": [[(1, (0, 0, 1, 1)), (2, (0.1, 0.1, 0.2, 0.2))]],
    "more positives than a quarter": [[(1, (0, 0, 1, 1)), *[(2, ONE_CELL)] * 7]],
    "boxes on the grid, equal overlaps": [
        [(1, (0.25, 0.25, 0.75, 0.75)), (2, (0.5, 0.5, 1, 1)), (3, (0, 0, 0.0625, 0.0625))]
    ],
}


def assert_equal_terms(found, expected):
    assert found.positives == expected.positives
    assert found.loss_cls == pytest.approx(expected.loss_cls, rel=2e-5, abs=1e-6)
    assert found.loss_bbox == pytest.approx(expected.loss_bbox, rel=2e-5, abs=1e-6)
    for name in ("grad_cls_logits", "grad_bbox_regression"):
        np.testing.assert_allclose(
            getattr(found, name), getattr(expected, name), atol=1e-5, err_msg=name
        )


def check(compute, method, outputs, targets):
    oracle = DetectionLoss(anchors_cxcywh=ANCHORS, **method)
    assert_equal_terms(compute(method, *outputs, *targets), oracle.compute(*outputs, *targets))


def random_outputs(rng, num_images):
    logits = rng.normal(size=(num_images, len(ANCHORS), NUM_CLASSES + 1)) * 2
    offsets = rng.normal(size=(num_images, len(ANCHORS), 4)) * 2
    return logits.astype(np.float32), offsets.astype(np.float32)


pytestmark = [
    pytest.mark.parametrize("compute", BACKENDS),
    pytest.mark.parametrize("method", METHODS.values(), ids=METHODS),
]


@pytest.mark.parametrize("seed", range(8))
def test_random_batches(compute, method, seed):
    rng = np.random.default_rng(seed)
    images = [random_objects(rng, count) for count in rng.integers(0, 24, size=3)]
    check(compute, method, random_outputs(rng, 3), pad(images, num_rows=24))


@pytest.mark.parametrize("case", ADVERSARIAL)
def test_adversarial_objects(compute, method, case):
    images = ADVERSARIAL[case]
    check(compute, method, random_outputs(np.random.default_rng(0), len(images)), pad(images))


def test_equal_logits_choose_the_first_anchors_as_negatives(compute, method):
    logits, offsets = random_outputs(np.random.default_rng(0), 2)
    images = [[(1, (0.3, 0.3, 0.6, 0.7))], [(2, ONE_CELL)]]
    check(compute, method, (np.ones_like(logits), offsets), pad(images))


def test_padding_rows_with_boxes_change_nothing(compute, method):
    outputs = random_outputs(np.random.default_rng(3), 1)
    boxes, labels = pad([[(1, (0.3, 0.3, 0.6, 0.7))]])
    clean = compute(method, *outputs, boxes, labels)
    boxes[0, 1:] = (0.31, 0.3, 0.6, 0.7)
    assert_equal_terms(compute(method, *outputs, boxes, labels), clean)


def test_extreme_outputs_keep_the_loss_finite(compute, method):
    logits, offsets = random_outputs(np.random.default_rng(5), 1)
    check(compute, method, (logits * 100, offsets * 100), pad([[(1, (0.3, 0.3, 0.6, 0.7))]]))
