"""Two evaluations of the same images."""

import numpy as np
import pytest

from ssd_core.errors import UsageError
from ssd_core.evaluation.coco import evaluate_coco
from ssd_core.evaluation.comparison import check_comparable, compare_evaluations
from ssd_core.evaluation.run import EvaluatedImage
from ssd_core.structures import ClassInfo, Detections, make_annotations
from tests.detections import NOTHING_FOUND, make_detections
from tests.evaluation.random_sets import make_classes, random_set

OTHER_ID = [ClassInfo(label=1, name="class 1", category_id=77)]
BOX, FAR = [0, 0, 100, 100], [200, 200, 260, 260]


def evaluated(truths, found, classes):
    images = zip(truths, found, strict=True)
    return [EvaluatedImage(k, 10 + k, *each, f"{k}.jpg") for k, each in enumerate(images)], classes


def lose(found, share):
    """Drop a share of the detections, the same ones every time."""
    rng = np.random.default_rng(1)
    kept = (np.flatnonzero(rng.random(len(each)) >= share) for each in found)
    return [
        Detections(boxes=each.boxes[rows], scores=each.scores[rows], labels=each.labels[rows])
        for each, rows in zip(found, kept, strict=True)
    ]


def test_a_planted_loss_of_two_points_is_found():
    truths, found, classes = random_set(0, num_images=400, decimals=9)
    fewer = lose(found, 0.4)
    a, b = evaluated(truths, found, classes), evaluated(truths, fewer, classes)
    results = compare_evaluations(a, b)
    values = [evaluate_coco(truths, each, classes).values for each in (found, fewer)]
    for name, row in results["overall"].items():
        assert (row["a"], row["b"]) == pytest.approx([each[name] for each in values], abs=1e-9)
        assert row["difference"] == pytest.approx(row["b"] - row["a"])
    ap = results["overall"]["ap"]
    assert ap["difference"] == pytest.approx(-0.02, abs=0.001)
    assert ap["interval"][0] < ap["difference"] < ap["interval"][1]
    assert [ap["verdict"], results["overall"]["ap50"]["verdict"]] == ["worse", "worse"]
    assert compare_evaluations(b, a)["overall"]["ap"]["verdict"] == "better"
    *_, absent = results["classes"]
    assert (absent["a"], absent["interval"], absent["objects"]) == (None, None, 0)


def test_the_same_evaluation_twice_is_not_distinguishable():
    a = evaluated(*random_set(0, num_images=40))
    results = compare_evaluations(a, a)
    rows = [*results["overall"].values(), *results["classes"]]
    assert {row["verdict"] for row in rows} == {"not distinguishable"}
    assert {row["interval"] for row in rows} == {(0, 0), None}
    assert results["changed_images"] == []


def test_few_images_do_not_judge():
    truths, classes = [make_annotations([BOX], [1])] * 9, make_classes(1)
    a = evaluated(truths, [make_detections([BOX], [0.9], [1])] * 9, classes)
    ap = compare_evaluations(a, evaluated(truths, [NOTHING_FOUND] * 9, classes))["overall"]["ap"]
    assert (ap["difference"], ap["interval"], ap["verdict"]) == (-1, None, "not distinguishable")


def test_images_that_changed_most_come_first():
    truths = [make_annotations([BOX, FAR], [1, 2])] * 3
    both = make_detections([BOX, FAR], [0.9, 0.8], [1, 2])
    unsure = make_detections([BOX, FAR], [0.9, 0.4], [1, 2])
    a = evaluated(truths, [both, both, NOTHING_FOUND], make_classes(2))
    b = evaluated(truths, [unsure, both, both], make_classes(2))
    results = compare_evaluations(a, b)
    assert results["changed_images"] == [
        {"row": 2, "image_id": 12, "path": "2.jpg"}
        | {"only_a": {}, "only_b": {"class 1": 1, "class 2": 1}},
        {"row": 0, "image_id": 10, "path": "0.jpg", "only_a": {"class 2": 1}, "only_b": {}},
    ]
    assert results["num_changed_images"] == 2


@pytest.mark.parametrize(
    ("images", "objects", "classes", "problem"),
    [
        (3, [BOX], make_classes(2), "only one of them has the class 'class 2' with category id 4"),
        (3, [BOX], OTHER_ID, "class 'class 1' has category id 1 in A and 77 in B"),
        (4, [BOX], make_classes(1), r"only one of them has the image 13 \(1 such images\)"),
        (3, [FAR], make_classes(1), "their ground truth has other objects in the same images"),
    ],
)
def test_evaluations_of_other_data_are_refused(images, objects, classes, problem):
    a = evaluated([make_annotations([BOX], [1])] * 3, [NOTHING_FOUND] * 3, make_classes(1))
    truths = [make_annotations(objects, [1])] * images
    b = evaluated(truths, [NOTHING_FOUND] * images, classes)
    with pytest.raises(UsageError, match=f"{problem}; evaluate both on the same data"):
        check_comparable(a, b)
    check_comparable(a, a)


def test_images_of_another_split_are_named():
    images, classes = evaluated([make_annotations([BOX], [1])], [NOTHING_FOUND], make_classes(1))
    other = [images[0]._replace(truth=make_annotations([FAR], [1]), path="train/7.jpg")]
    with pytest.raises(UsageError, match=r"image 10 is 0.jpg in A and train/7.jpg in B; evaluate"):
        check_comparable((images, classes), (other, classes))
    check_comparable((images, classes), ([images[0]._replace(path="copy/0.jpg")], classes))
