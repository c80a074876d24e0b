"""The types of errors, counted by hand and against loops over their definition."""

from collections import Counter

import numpy as np
import pytest

from ssd_core.evaluation.coco import (
    ERROR_TYPES,
    join_images,
    match_arrays,
    score_classes,
    split_errors,
)
from ssd_core.structures import ClassInfo, make_annotations
from tests.detections import NOTHING_FOUND, make_detections
from tests.evaluation.oracle import overlap

CLASSES = [ClassInfo(label=k, name=f"class {k}", category_id=k) for k in (1, 2, 3)]
BOX, FAR = [0, 0, 100, 100], [300, 300, 400, 400]


@pytest.mark.parametrize(
    ("found", "expected"),
    [
        pytest.param([], {"missed": 1}, id="missed"),
        pytest.param([(BOX, 1)], {}, id="found"),
        pytest.param([([0, 0, 100, 40], 1)], {"localisation": 1}, id="too small"),
        pytest.param([(BOX, 2)], {"classification": 1}, id="another class"),
        pytest.param([([0, 0, 100, 40], 2)], {"both": 1, "missed": 1}, id="too small, other class"),
        pytest.param([(BOX, 1), (BOX, 1)], {"duplicate": 1}, id="twice"),
        pytest.param([(FAR, 1)], {"background": 1, "missed": 1}, id="elsewhere"),
    ],
)
def test_the_error_of_one_object(found, expected):
    truth = make_annotations([BOX], [1])
    boxes, labels = [box for box, _ in found], [label for _, label in found]
    detections = make_detections(boxes, np.linspace(0.9, 0.1, len(found)), labels)
    shares = split_errors(
        match_arrays(join_images([truth], [detections or NOTHING_FOUND]), CLASSES)
    )
    assert list(shares) == list(ERROR_TYPES)
    assert {name: share.count for name, share in shares.items() if share.count} == expected


def best(box, objects):
    """Return the greatest overlap with one of the objects, and its key."""
    return max(
        ((overlap(box, other), key) for key, (other, _) in objects.items()), default=(0, None)
    )


def judge(box, label, objects):
    """Return the type of a wrong detection, and the object that it could have found."""
    own = {key: each for key, each in objects.items() if each[1] == label}
    others = {key: each for key, each in objects.items() if each[1] != label}
    (near, key), (near_other, other_key) = best(box, own), best(box, others)
    if 0.1 <= near < 0.5:
        return "localisation", key
    if near_other >= 0.5:
        return "classification", other_key
    if near >= 0.5:
        return "duplicate", None
    return ("background" if max(near, near_other) < 0.1 else "both"), None


def judge_image(number, truth, detections):
    """Return the objects by key, the keys that were found, and a row per detection."""
    boxes = zip(truth.boxes.astype(float).tolist(), truth.labels.tolist(), strict=True)
    objects = {(number, row): each for row, each in enumerate(boxes)}
    rows, taken = [], set()
    columns = (detections.boxes.astype(float).tolist(), detections.labels.tolist())
    for box, label, score in zip(*columns, detections.scores.tolist(), strict=True):
        free = {k: each for k, each in objects.items() if each[1] == label and k not in taken}
        near, key = best(box, free)
        if near >= 0.5:
            taken.add(key)
        kind, target = (None, None) if near >= 0.5 else judge(box, label, objects)
        rows.append((label, score, kind, target))
    return objects, taken, rows


def mean_ap(rows, totals):
    """Return AP50 of (label, score, is right), with 101 recalls as COCO has them."""
    values = []
    for label, total in totals.items():
        hits = [right for own, _, right in sorted(rows, key=lambda row: -row[1]) if own == label]
        points = [(sum(hits[:k]) / total, sum(hits[:k]) / k) for k in range(1, len(hits) + 1)]
        grid = np.linspace(0, 1, 101)
        values.append(np.mean([max((p for r, p in points if r >= t), default=0) for t in grid]))
    return np.mean(values)


def loop_over_definition(truths, found):
    """Return AP50, and count and cost by type: each type is fixed alone (TIDE, section 2.3)."""
    judged = [judge_image(*image) for image in zip(range(99), truths, found, strict=False)]
    objects = {key: each for image, _, _ in judged for key, each in image.items()}
    taken = {key for _, own, _ in judged for key in own}
    rows = [row for _, _, own in judged for row in own]
    totals = Counter(label for _, label in objects.values())
    reached = taken | {target for *_, target in rows}
    missed = Counter(label for key, (_, label) in objects.items() if key not in reached)
    right = [(label, score, kind is None) for label, score, kind, _ in rows]
    ap = mean_ap(right, totals)
    shares = {"missed": (missed.total(), mean_ap(right, totals - missed) - ap)}
    finders = {target: score for _, score, _, target in sorted(rows, key=lambda row: row[1])}
    for name in set(ERROR_TYPES) - {"missed"}:
        fixed = [(label, score, kind is None) for label, score, kind, _ in rows if kind != name]
        fixed += [  # of all wrong detections of an object only the best one can find it
            (objects[target][1], score, True)
            for _, score, kind, target in rows
            if kind == name and target and target not in taken and finders[target] == score
        ]
        shares[name] = (sum(row[2] == name for row in rows), mean_ap(fixed, totals) - ap)
    return ap, shares


@pytest.mark.parametrize("seed", range(4))
def test_counts_and_costs_equal_loops_over_the_definition(seed):
    rng = np.random.default_rng(seed)
    truths, found = [], []
    for _ in range(10):
        corners = rng.uniform(0, 250, (6, 2))
        boxes = np.concatenate([corners, corners + rng.uniform(60, 120, (6, 2))], axis=1)
        labels = rng.integers(1, 4, 6)
        truths.append(make_annotations(boxes, labels))
        moved = np.repeat(boxes, 2, axis=0) + rng.normal(0, 14, (12, 4))
        moved[:2] += 500  # away from its object, which is missed
        kinds = np.where(rng.random(12) < 0.3, rng.integers(1, 4, 12), np.repeat(labels, 2))
        found.append(make_detections(moved, np.sort(rng.random(12))[::-1], kinds))
    arrays = join_images(truths, found)
    ap, expected = loop_over_definition(truths, found)
    evaluator = match_arrays(arrays, CLASSES)
    assert score_classes(evaluator, arrays, CLASSES).values["ap50"] == pytest.approx(ap)
    shares = split_errors(evaluator)
    assert {name: share.count for name, share in shares.items()} == {
        name: count for name, (count, _) in expected.items()
    }
    for name, share in shares.items():
        assert share.ap50_cost == pytest.approx(expected[name][1], abs=1e-9)
    assert min(share.count for share in shares.values()) > 0
