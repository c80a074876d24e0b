"""VOC's average precision, counted by hand and against loops over its definition."""

import numpy as np
import pytest

from ssd_core.evaluation.voc import VOC_METRICS, evaluate_voc
from ssd_core.structures import ClassInfo, make_annotations
from tests.detections import NOTHING_FOUND, make_detections
from tests.evaluation.oracle import overlap

CAT = [ClassInfo(label=1, name="cat", category_id=1)]
LEFT, RIGHT, FAR, NEAR = [0, 0, 10, 10], [20, 0, 30, 10], [50, 50, 60, 60], [0, 0, 10, 8]


def truth(*boxes, difficult=None):
    return make_annotations(boxes, [1] * len(boxes), is_difficult=difficult)


def found(*boxes):
    """Detections in falling order of their scores."""
    return make_detections(boxes, np.linspace(0.9, 0.1, len(boxes)), [1] * len(boxes))


@pytest.mark.parametrize(
    ("objects", "detections", "ap_07", "ap_12"),
    [
        pytest.param(truth(LEFT), found(LEFT), 1, 1, id="found"),
        pytest.param(truth(LEFT), found([0, 0, 10, 5]), 1, 1, id="an IoU of .5 suffices"),
        pytest.param(truth(LEFT, RIGHT), found(LEFT), 6 / 11, 0.5, id="recalls up to .5 are hit"),
        pytest.param(truth(LEFT), found(FAR, LEFT), 0.5, 0.5, id="a better false alarm"),
        pytest.param(truth(LEFT), found(LEFT, FAR), 1, 1, id="a worse false alarm"),
        pytest.param(
            truth(LEFT, RIGHT),
            found(LEFT, NEAR, RIGHT),
            (6 + 5 * 2 / 3) / 11,
            (1 + 2 / 3) / 2,
            id="an object is found once",
        ),
        pytest.param(
            truth(LEFT, RIGHT, difficult=[True, False]),
            found(LEFT, NEAR, RIGHT),
            1,
            1,
            id="detections of a difficult object do not count",
        ),
        pytest.param(truth(LEFT, difficult=[True]), found(LEFT), None, None, id="only difficult"),
        pytest.param(truth(), found(LEFT), None, None, id="no objects"),
        pytest.param(truth(LEFT), NOTHING_FOUND, 0, 0, id="nothing found"),
    ],
)
def test_values_counted_by_hand(objects, detections, ap_07, ap_12):
    [values] = evaluate_voc([objects], [detections], CAT)
    assert values == pytest.approx(dict(zip(VOC_METRICS, (ap_07, ap_12), strict=True)))


def loop_over_definition(truths, detections, label):
    """Return both values, with one detection after the other as in VOC's own program."""
    objects = [
        [tuple(box) for box, kind in zip(t.boxes.tolist(), t.labels, strict=True) if kind == label]
        for t in truths
    ]
    flags = [t.is_difficult[t.labels == label].tolist() for t in truths]
    rows = [
        (score, image, box)
        for image, each in enumerate(detections)
        for box, score, kind in zip(each.boxes.tolist(), each.scores, each.labels, strict=True)
        if kind == label
    ]
    taken, points, right, wrong = set(), [], 0, 0
    total = sum(not flag for each in flags for flag in each)
    for _, image, box in sorted(rows, key=lambda row: -row[0]):
        overlaps = [overlap(box, other) for other in objects[image]]
        best = int(np.argmax(overlaps)) if overlaps else -1
        if best >= 0 and overlaps[best] >= 0.5:
            if flags[image][best]:
                continue
            is_right = (image, best) not in taken
            taken.add((image, best))
        else:
            is_right = False
        right, wrong = right + is_right, wrong + (not is_right)
        points.append((right / total, right / (right + wrong)))
    heights = [max((p for r, p in points if r >= t), default=0) for t in np.arange(11) / 10]
    area, previous = 0.0, 0.0
    for index, (recall, _) in enumerate(points):
        area += (recall - previous) * max(p for _, p in points[index:])
        previous = recall
    return sum(heights) / 11, area


@pytest.mark.parametrize("seed", range(8))
def test_random_sets_equal_loops_over_the_definition(seed):
    rng = np.random.default_rng(seed)
    truths, detections = [], []
    for _ in range(6):
        count = int(rng.integers(1, 7))
        corners = rng.integers(0, 120, (count, 2))
        boxes = np.concatenate([corners, corners + rng.integers(10, 60, (count, 2))], axis=1)
        labels = rng.integers(1, 3, count)
        truths.append(make_annotations(boxes, labels, is_difficult=rng.random(count) < 0.2))
        moved = np.repeat(boxes, 3, axis=0) + rng.integers(-6, 7, (3 * count, 4))
        scores = np.sort(rng.permutation(900)[: 3 * count] + rng.random())[::-1] / 1000
        detections.append(make_detections(moved, scores, np.repeat(labels, 3)))
    classes = [ClassInfo(label=label, name=str(label), category_id=label) for label in (1, 2)]
    ours = evaluate_voc(truths, detections, classes)
    for label, values in zip((1, 2), ours, strict=True):
        expected = loop_over_definition(truths, detections, label)
        assert list(values.values()) == pytest.approx(expected, abs=1e-9)
        assert 0 < expected[0] < 1
