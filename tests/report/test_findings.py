"""Remarks about what stands out in a data set."""

from ssd_core.report.findings import find_remarks


def results(counts=None, *, both=0, copies=0, near=0, unreached=0, recipe="demo"):
    counts = {"cat": (50, 10)} if counts is None else counts
    return {
        "repeated": {"in_both_splits": both, "copies": {"train": copies, "val": 0}},
        "near": {"in_both_splits": near, "images": []},
        "classes": [
            {"name": name, "objects": {"train": train, "val": val}}
            for name, (train, val) in counts.items()
        ],
        "splits": {"train": {}, "val": {}},
        "recipe": recipe,
        "anchors": {"demo": {"objects": 100, "unreached": unreached, "iou_threshold": 0.5}},
    }


def test_nothing_stands_out_in_a_good_data_set():
    assert find_remarks(results(unreached=5)) == []


def test_images_that_occur_twice():
    assert find_remarks(results(both=1, copies=3)) == [
        "1 image of train is in val too: the accuracy on val will be too high.",
        "3 images of train are a copy of another one there.",
    ]


def test_images_that_look_the_same():
    assert find_remarks(results(near=2)) == [
        "2 images of train are in val too, saved again or scaled: the accuracy on val may be too "
        "high."
    ]


def test_classes_without_objects_are_named_once_each():
    counts = {"cat": (5, 5), "dog": (0, 0), "cow": (0, 2), "emu": (3, 0), "gnu": (1, 0)}
    assert find_remarks(results(counts)) == [
        "1 of 5 classes has no object at all: dog.",
        "1 of 5 classes has no object in train and cannot be learned: cow.",
        "2 of 5 classes have no object in val and cannot be measured: emu, gnu.",
    ]


def test_a_long_list_of_classes_is_cut():
    [remark] = find_remarks(results({f"c{k}": (int(k == 0),) * 2 for k in range(12)}))
    assert remark.endswith("c7, c8 and 3 more.")


def test_a_steep_imbalance():
    assert find_remarks(results({"cat": (980, 20), "dog": (8, 2)})) == [
        "cat has 100 times as many objects as dog."
    ]
    assert find_remarks(results({"cat": (970, 20), "dog": (8, 2)})) == []


def test_many_objects_out_of_reach_of_the_chosen_recipe():
    assert find_remarks(results(unreached=6)) == [
        "No anchor of demo reaches IoU 0.5 with 6.0 % of the objects."
    ]
    assert find_remarks(results(unreached=60, recipe=None)) == []


def test_a_data_set_without_objects():
    assert find_remarks(results({"cat": (0, 0)})) == ["1 of 1 class has no object at all: cat."]
