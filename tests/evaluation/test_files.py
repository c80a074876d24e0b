"""COCO files of other programs against pycocotools, which reads the same files."""

import json

import numpy as np
import pytest

from ssd_core.errors import DataError
from ssd_core.evaluation.check import run_pycocotools
from ssd_core.evaluation.coco import COCO_METRICS, evaluate_coco
from ssd_core.evaluation.files import join_files

TRUTH = {
    "images": [{"id": 0}, {"id": 9}],
    "categories": [{"id": 7, "name": "cat"}, {"id": 2, "name": "dog"}],
    "annotations": [{"id": 1, "image_id": 9, "category_id": 7, "bbox": [1, 2, 3, 4]}],
}
ROW = {"image_id": 9, "category_id": 7, "bbox": [1, 2, 3, 4], "score": 0.5}
NAMES = {"truth_name": "truth.json", "found_name": "det.json"}


def join(truth, found):
    return join_files(json.dumps(truth).encode(), json.dumps(found).encode(), **NAMES)


def random_files(seed):
    """Decimals that float32 would round, equal scores, and boxes of an unknown category."""
    rng = np.random.default_rng(seed)
    images = rng.permutation(200)[:12].tolist()
    rows, found = [], []
    for number in range(60):
        box = [*rng.uniform(0, 400, 2).round(2).tolist(), *rng.uniform(4, 200, 2).round(2).tolist()]
        row = {"image_id": images[number % 12], "category_id": int(rng.choice([2, 7]))}
        area = box[2] * box[3] * rng.uniform(0.4, 1)
        rows.append(row | {"id": number + 1, "bbox": box, "area": area, "iscrowd": number % 9 == 0})
        for _ in range(3):
            moved = (np.array(box) + rng.normal(0, 4, 4).round(2)).clip(0.01).tolist()
            found.append(row | {"bbox": moved, "score": rng.choice([0.1, 1 / 3, 0.9]) - 1e-9})
    found.append(found[0] | {"category_id": 5})
    images = [{"id": image} for image in images]
    return TRUTH | {"info": {}, "images": images, "annotations": rows}, found


@pytest.mark.parametrize("seed", range(4))
def test_metrics_equal_pycocotools_on_the_same_files(seed, tmp_path):
    truth, found = random_files(seed)
    (tmp_path / "found.json").write_text(json.dumps(found))
    images, classes = join(truth, found)
    scores = evaluate_coco([i.truth for i in images], [i.found for i in images], classes)
    oracle, _ = run_pycocotools(truth, str(tmp_path / "found.json"))
    expected = dict(zip(COCO_METRICS, oracle.stats, strict=True))
    assert scores.values == pytest.approx(expected, abs=1e-9)
    assert 0 < scores.values["ap"] < 1


def test_classes_and_images_are_in_the_order_of_their_ids():
    images, classes = join(TRUTH, [ROW])
    assert [(info.label, info.name, info.category_id) for info in classes] == [
        (1, "dog", 2),
        (2, "cat", 7),
    ]
    assert [(image.image_id, len(image.found)) for image in images] == [(0, 0), (9, 1)]
    assert images[1].truth.areas.tolist() == [12]
    assert images[1].found.labels.tolist() == [2]


@pytest.mark.parametrize(
    ("truth", "found", "message"),
    [
        (TRUTH | {"categories": []}, [], "truth.json: categories"),
        (TRUTH, {"a": 1}, "det.json: .*expected COCO's format"),
        (TRUTH, [ROW | {"image_id": 8}], "det.json: image 8 is not listed"),
        (TRUTH | {"images": [{"id": 0}]}, [], "truth.json: image 9 is not listed"),
        (TRUTH, [ROW | {"bbox": [0, 0, -1, 1]}], r"det.json: result 1: bbox\[2\]: "),
        (TRUTH, [ROW, {**ROW, "score": "high"}], "result 2: score: expected a number, got text"),
        (
            TRUTH,
            [ROW, {k: ROW[k] for k in ROW if k != "score"}],
            "det.json: result 2: has no score",
        ),
        (TRUTH, [ROW | {"score": float("nan")}], "det.json: not valid JSON"),
        (TRUTH, [ROW | {"image_id": 10**30}], "det.json: result 1: image_id"),
    ],
)
def test_files_that_cannot_be_compared_are_refused(truth, found, message):
    with pytest.raises(DataError, match=message):
        join(truth, found)


@pytest.mark.parametrize("name", [b'"\xff"', b"[" * 10**5])
def test_names_that_are_not_text_are_refused(name):
    content = json.dumps(TRUTH).encode().replace(b'"cat"', name)
    with pytest.raises(DataError, match="truth.json: .*; expected COCO's format"):
        join_files(content, b"[]", **NAMES)


def test_boxes_of_categories_without_ground_truth_are_counted(caplog):
    join(TRUTH, [ROW, ROW | {"category_id": 5}])
    expected = "det.json: left out 1 box of categories that the ground truth does not list"
    assert caplog.messages == [f"{expected}, the first is 5"]


@pytest.mark.parametrize(
    ("names", "problem"),
    [
        (["a.jpg", "new.jpg"], "det.json: new.jpg is not listed in the ground truth"),
        (["x/a.jpg", "y/a.jpg"], "images.json: two images are named a.jpg"),
    ],
)
def test_images_of_a_prediction_need_names_of_the_ground_truth(names, problem):
    images = [{"id": 0, "file_name": "a.jpg"}, {"id": 9, "file_name": "b.jpg"}]
    listed = [{"id": row, "file_name": name} for row, name in enumerate(names, start=1)]
    contents = (TRUTH | {"images": images}, [ROW | {"image_id": 2}], {"images": listed})
    with pytest.raises(DataError, match=f"{problem}; if the ids are .* delete images.json"):
        join_files(*(json.dumps(content).encode() for content in contents), **NAMES)
