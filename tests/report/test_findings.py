"""Remarks about what stands out in a data set."""

import pytest

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


def test_a_good_data_set_needs_no_remark():
    assert find_remarks(results(unreached=5)) == []


COUNTS = {"cat": (5, 5), "dog": (0, 0), "cow": (0, 2), "emu": (3, 0), "gnu": (1, 0)}


@pytest.mark.parametrize(
    ("changes", "remarks"),
    [
        (
            {"both": 1, "copies": 3},
            [
                "Images in several splits: 1. The accuracy will be too high.",
                "Copies of other images within train: 3.",
            ],
        ),
        (
            {"near": 2},
            [
                "Images in several splits, saved again or scaled: 2. The accuracy may be too high."
            ],
        ),
        (
            {"counts": COUNTS},
            [
                "Classes without objects: dog (1 of 5).",
                "Classes without objects in train, which cannot be learned: cow (1 of 5).",
                "Classes without objects in val, which cannot be measured: emu, gnu (2 of 5).",
            ],
        ),
        ({"counts": {"cat": (0, 0)}}, ["Classes without objects: cat (1 of 1)."]),
        (
            {"counts": {"cat": (980, 20), "dog": (8, 2)}},
            ["cat has 100 times as many objects as dog."],
        ),
        ({"counts": {"cat": (970, 20), "dog": (8, 2)}}, []),
        ({"unreached": 6}, ["No anchor of demo reaches IoU 0.5 with 6.0 % of the objects."]),
        ({"unreached": 60, "recipe": None}, []),
    ],
)
def test_conspicuous_facts_are_remarked(changes, remarks):
    assert find_remarks(results(**changes)) == remarks


def test_a_long_list_of_classes_is_cut():
    [remark] = find_remarks(results({f"c{k}": (int(k == 0),) * 2 for k in range(12)}))
    assert remark.endswith("c7, c8 and 3 more (11 of 12).")
