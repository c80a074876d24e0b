"""Statistics of a data set and its anchors, from literal tables and from the bundled images."""

import hashlib

import numpy as np
import pytest

from ssd_core.config import AnchorLevel, MatchingSpec
from ssd_core.data.inspection import statistics
from ssd_core.data.inspection.table import Objects, SplitTable, read_table
from ssd_core.recipes import load_recipe
from ssd_core.structures import ClassInfo
from tests.datasets import split_of

CLASSES = [
    ClassInfo(label=k, name=name, category_id=k) for k, name in enumerate(("cat", "dog", "owl"), 1)
]


def table(hashes, rows=(), labels=(), boxes=(), areas=None, looks=()):
    """Return a split of images of 100 x 100 pixels whose hashes are letters."""
    boxes = np.array(boxes, np.float32).reshape(-1, 4)
    areas = [100.0] * len(rows) if areas is None else areas
    return SplitTable(
        image_paths=tuple(f"{k}{name}.jpg" for k, name in enumerate(hashes)),
        image_sizes=np.full((len(hashes), 2), 100),
        image_bytes=np.full(len(hashes), 7),
        image_hashes=tuple(hashes),
        image_looks=tuple(looks) or (b"",) * len(hashes),
        objects=Objects(
            image_rows=np.array(rows, np.int64),
            boxes=boxes if len(boxes) else np.tile(np.float32([0, 0, 0.5, 0.5]), (len(rows), 1)),
            labels=np.array(labels, np.int64),
            areas=np.array(areas, np.float64),
        ),
        num_crowds=0,
        num_difficult=0,
    )


def test_the_counts_of_a_split():
    areas = [1023, 1024, 9215, 9216, 5]
    found = statistics.describe_split(
        table("abc", rows=[0, 0, 0, 2, 2], labels=[1, 1, 2, 1, 1], areas=areas)
    )
    assert (found["images"], found["images_without_objects"], found["bytes"]) == (3, 1, 21)
    assert found["objects"] == 5
    assert found["objects_per_image"] == {"min": 0, "median": 2, "mean": 1.6667, "max": 3}
    assert found["objects_per_image_histogram"] == [1, 0, 1, 1]
    assert found["sizes"] == {"small": 2, "medium": 2, "large": 1}
    assert found["width"] == {"min": 100, "median": 100, "mean": 100, "max": 100}


def test_a_split_without_images_is_counted_too():
    found = statistics.describe_split(table(""))
    assert (found["images"], found["objects"], found["width"]) == (0, 0, None)
    assert found["objects_per_image_histogram"] == []


def test_classes_are_counted_by_split():
    tables = {
        "train": table("ab", rows=[0, 0, 1], labels=[1, 1, 1]),
        "val": table("c", rows=[0], labels=[2]),
    }
    cat, dog, owl = statistics.describe_classes(tables, CLASSES)
    assert (cat["name"], cat["label"]) == ("cat", 1)
    assert cat["objects"] == {"train": 3, "val": 0}
    assert cat["images"] == {"train": 2, "val": 0}
    assert cat["sizes"] == {"small": 3, "medium": 0, "large": 0}
    assert cat["side"]["median"] == 0.5
    assert dog["objects"] == {"train": 0, "val": 1}
    assert owl["objects"] == {"train": 0, "val": 0}
    assert owl["side"] is None


def test_images_with_the_same_bytes_are_found_across_and_within_splits():
    tables = {"train": table("abba"), "val": table("bc")}
    assert statistics.find_repeated(tables) == [
        {"train": ["0a.jpg", "3a.jpg"]},
        {"train": ["1b.jpg", "2b.jpg"], "val": ["0b.jpg"]},
    ]


def test_images_that_look_the_same_are_found_without_copies():
    one, other = b"\0" * 32, b"\0" * 31 + b"\3"
    tables = {
        "train": table("aab", looks=[one, one, b"\xff" * 32]),
        "val": table("cd", looks=[other, b""]),
    }
    assert statistics.find_near(tables) == [{"train": ["0a.jpg"], "val": ["0c.jpg"]}]


def test_extremes_are_distinct_images_of_all_splits():
    tiny, whole = [0, 0, 0.01, 0.01], [0, 0, 1, 1]
    tables = {
        "train": table("abc", rows=[0, 1, 1, 1], labels=[1] * 4, boxes=[tiny] + [whole] * 3),
        "val": table("d", rows=[0, 0], labels=[1, 1], boxes=[whole, whole]),
    }
    counts = {"smallest": 1, "most": 2, "fewest": 9}
    assert statistics.find_extremes(tables, counts) == {
        "smallest": [("train", 0)],
        "most": [("train", 1), ("val", 0)],
        "fewest": [("train", 2)],
    }


def test_an_image_without_objects_has_neither_the_smallest_nor_the_most():
    counts = {"smallest": 9, "most": 9, "fewest": 9}
    assert statistics.find_extremes({"val": table("ab")}, counts) == {
        "smallest": [],
        "most": [],
        "fewest": [("val", 0), ("val", 1)],
    }


@pytest.mark.parametrize(
    ("side", "column"), [(1.0, 15), (0.75, 15), (0.6, 14), (0.5, 14), (1 / 256, 0), (0.0, 0)]
)
def test_bins_of_sides_are_half_octaves(side, column):
    counts = statistics.side_histogram(np.float32([side]))
    assert counts.index(1) == column
    assert len(counts) == 16


def test_shapes_are_counted_by_width_and_height():
    boxes = [[0, 0, 1, 0.5], [0.5, 0.25, 1, 1], [0.2, 0.2, 0.7, 0.95]]
    counts = statistics.count_shapes({"val": table("a", [0] * 3, [1] * 3, boxes)})
    assert counts.shape == (24, 24)
    assert np.argwhere(counts).tolist() == [[21, 22], [23, 21]]
    assert counts[21, 22] == 2


def test_the_bundled_images_agree_with_their_manifest(bccd_shards):
    reader = split_of(bccd_shards, "val")
    found = read_table(reader)
    assert len(found.image_paths) == reader.num_images == 40
    assert len(found.objects.labels) == reader.manifest.splits["val"].boxes
    assert found.objects_per_image.max() == reader.max_boxes
    assert found.objects.boxes.min() >= 0
    assert found.objects.boxes.max() <= 1
    [record] = reader.read([3])
    of_record = found.objects.image_rows == 3
    in_pixels = found.objects.boxes[of_record] * [640, 480, 640, 480]
    np.testing.assert_allclose(in_pixels, record.annotations.boxes, atol=1e-3)
    np.testing.assert_array_equal(found.objects.labels[of_record], record.annotations.labels)
    assert found.image_hashes[3] == hashlib.sha256(record.image).hexdigest()


LEVELS = (
    AnchorLevel(stride=50, shapes=((20, 20), (30, 30))),
    AnchorLevel(stride=100, shapes=((60, 60), (77.5, 77.5), (120, 30), (30, 120))),
)
"""On 100 px: 2 x 2 cells of squares of 20 and 30, one cell of 60, 77.5, 120 x 30 and 30 x 120."""

BOXES = np.array(
    [
        [0.15, 0.15, 0.35, 0.35],  # the square of 20
        [0.20, 0.20, 0.80, 0.80],  # the square of 60
        [0.65, 0.15, 0.85, 0.25],  # half of a square of 20
        [0.50, 0.50, 0.51, 0.51],  # between the squares, inside the one of 60
    ],
    np.float32,
)


def reach(boxes=BOXES, levels=LEVELS, **matching):
    count = len(boxes)
    objects = Objects(
        image_rows=np.zeros(count, np.int64),
        boxes=boxes,
        labels=np.array([1, 1, 2, 2][:count], np.int64),
        areas=np.array([100, 9999, 2000, 1][:count], np.float64),
    )
    model = load_recipe("demo").train.model.model_copy(
        update={"anchors": levels, "image_size": 100}
    )
    spec = MatchingSpec(**{"iou_threshold": 0.49, **matching})
    return statistics.describe_reach(objects, model, spec, num_classes=3)


def test_objects_below_the_threshold_are_unreached():
    found = reach()
    assert (found["objects"], found["unreached"]) == (4, 1)
    assert found["unreached_classes"] == [0, 1, 0]
    assert found["unreached_sizes"] == {"small": 1, "medium": 0, "large": 0}
    assert found["unreached_side_histogram"][2] == 1  # 1 % of the image is 1.4 octaves from 1/256
    assert reach(iou_threshold=0.51)["unreached_classes"] == [0, 2, 0]


@pytest.mark.parametrize("inclusive", [True, False])
def test_an_overlap_equal_to_the_threshold_counts_as_in_training(inclusive):
    square = (AnchorLevel(stride=100, shapes=((50, 50),)),)
    half = np.array([[0.25, 0.25, 0.75, 0.5]], np.float32)
    assert reach(half, square, iou_threshold=0.5, inclusive=inclusive)["unreached"] == (
        not inclusive
    )


def test_the_distribution_of_the_best_overlap():
    found = reach()
    assert found["best_iou"]["max"] == 1
    assert found["best_iou_histogram"][-1] == 2
    assert sum(found["best_iou_histogram"]) == 4


def test_levels_have_their_shapes_and_objects():
    small, large = reach()["levels"]
    assert small == {"stride": 50, "shapes": [[20, 20], [30, 30]], "anchors": 8, "objects": 2}
    assert large["shapes"] == [[60, 60], [77.5, 77.5], [120, 30], [30, 120]]
    assert (large["anchors"], large["objects"]) == (4, 2)


def test_no_objects():
    found = reach(boxes=np.zeros((0, 4), np.float32))
    assert (found["objects"], found["unreached"], found["best_iou"]) == (0, 0, None)
