"""Pictures of faulty boxes, and remarks about what stands out in a data set."""

import pytest

from ssd_core.data.checking.dataset import CheckedDataset
from ssd_core.data.findings import Findings
from ssd_core.report.findings import content, find_remarks
from tests.data.formats.small_sources import MemorySource
from tests.data.image_corpus import PNG, SIZE


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


WIDTH, HEIGHT = SIZE


@pytest.mark.parametrize(
    ("box", "size", "drawn"),
    [
        ((2, 3, 9, 8), SIZE, (2, 3, 7, 5)),
        ((9, 8, 2, 3), SIZE, (2, 3, 7, 5)),
        ((-4, 3, 9, 8), (WIDTH + 4, HEIGHT), (0, 3, 13, 5)),
        ((2, 3, 9e9, HEIGHT + 5), (2 * WIDTH, HEIGHT + 5), (2, 3, 2 * WIDTH - 2, HEIGHT + 2)),
        ((5, 3, 5, 8), SIZE, (5, 3, round(0.02 * WIDTH, 1), 5)),
    ],
)
def test_a_faulty_box_is_drawn_with_the_surroundings_of_its_image(box, size, drawn):
    findings = Findings("strict")
    findings.add("box_outside", "a.txt", "is outside", image="x/a.png", box=box)
    findings.add("box_outside", "b.txt", "is outside", image="gone.png", box=box)
    findings.add("box_not_finite", "a.txt", "is not finite", image="x/a.png")
    checked = CheckedDataset(format="txt", classes=(), splits={}, findings=findings)
    groups = content(MemorySource({"x/a.png": PNG}), checked)["groups"]
    outside, infinite = (group["pictures"] for group in groups)
    assert (len(outside), infinite) == (1, [])
    [picture], [rectangle] = outside, outside[0].boxes
    assert (picture.name, picture.width, picture.height) == ("a.png", *size)
    assert (rectangle.x, rectangle.y, rectangle.width, rectangle.height) == drawn


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
            ["Images in several splits, saved again or scaled: 2. The accuracy may be too high."],
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
