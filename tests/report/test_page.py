"""The page itself: whole, small, closed to the outside, and safe."""

import re

import numpy as np
import pytest

from ssd_core.benchmark.speed import END_TO_END, PARTS
from ssd_core.evaluation.coco import COCO_METRICS
from ssd_core.report import sections
from ssd_core.report.accuracy import accuracy
from ssd_core.report.charts import Line, line_chart
from ssd_core.report.images import annotate_image
from ssd_core.report.page import render_page
from ssd_core.structures import ClassInfo, Detections, make_annotations
from tests.report.outline import Outline

HOSTILE = '</title><script>alert(1)</script><img src=x onerror="alert(1)"> & "\''


def empty_content(**parts):
    names = ("accuracy", "speed", "training", "images", "configuration", "environment", "origins")
    content = dict.fromkeys(names) | {"title": "A run", "subtitle": [], "headline": []}
    return content | {"image_classes": [], "image_threshold": 0.5} | parts


def full_content(name):
    """Every part, with `name` wherever a text comes from outside."""
    twelve = dict.fromkeys(COCO_METRICS, 0.5)
    row = {"label": 1, "name": name, "objects": 3, "ap": 0.5, "ap50": 0.6}
    confusion = {"classes": [name, "background"], "matrix": [[2, 1], [1, 0]]}
    evaluation = {"metrics": twelve, "images": 1, "objects": 3, "detections": 5}
    evaluation |= {"classes": [row | {"precision_at_recall": [0.5] * 101}]}
    evaluation |= {"confusion": confusion}
    milliseconds = dict.fromkeys((*PARTS, END_TO_END), {"p50": 1.0, "p90": 2.0, "p99": 3.0})
    batch = {"batch_size": 1, "images_per_second": 9.0, "milliseconds": milliseconds}
    batch["warm_up"] = {"batches": 3, "is_stable": False}
    images = {"origin": name, "count": 1, "mean_bytes": 1}
    found = Detections(
        boxes=np.array([[1, 1, 9, 9]], np.float32),
        scores=np.array([0.9], np.float32),
        labels=np.array([1]),
    )
    image = annotate_image(
        name,
        np.zeros((20, 30, 3), np.uint8),
        truth=make_annotations([[2, 2, 9, 9]], [1]),
        found=found,
        classes=[ClassInfo(label=1, name=name, category_id=1)],
        note=name,
    )
    chart = line_chart(name, [Line(name, [1, 2], [1, 2], "red")] * 2, x_label="step")
    speed = {"metrics": {"images_per_second": 9.0}, "batches": [batch], "images": images}
    return empty_content(
        title=name,
        subtitle=[name],
        headline=[("0.5", name, name)],
        accuracy=accuracy(evaluation),
        images=[image],
        image_classes=[(name, "#123456")],
        speed=sections.speed(speed),
        training={"charts": [chart], "facts": [(name, name)]},
        configuration=[(name, [(name, name)])],
        environment=[(name, name)],
        origins=[(name, name, name, name)],
    )


def test_the_page_is_well_formed_and_has_all_parts():
    page = render_page("report", full_content("cat"))
    outline = Outline(page)
    assert outline.open == []
    headings = re.findall(r"<h2[^>]*>([^<]*)</h2>", page)
    parts = ["Accuracy", "Sample images", "Speed", "Training", "Configuration", "Environment"]
    assert headings == parts


def test_parts_without_input_are_left_out():
    page = render_page("report", empty_content())
    assert "<h2" not in page
    assert Outline(page).open == []
    assert "A run" in page


def test_hostile_names_stay_text():
    page = render_page("report", full_content(HOSTILE))
    outline = Outline(page)
    assert not {"script", "img"} & set(outline.tags)
    assert not [name for name, _ in outline.attributes if name.startswith("on")]
    assert outline.text.count(HOSTILE) >= 10


def test_nothing_outside_the_page_is_asked_for():
    page = render_page("report", full_content("cat"))
    outline = Outline(page)
    links = [value for name, value in outline.attributes if name in {"href", "src", "srcset"}]
    assert links
    assert all(link.startswith("data:image/jpeg;base64,") for link in links)
    assert not re.search(r"https?:|url\(|@import", page)
    assert not {"script", "link", "iframe", "object", "form"} & set(outline.tags)


def test_the_content_security_policy_forbids_everything_else():
    page = render_page("report", empty_content())
    [policy] = re.findall(r'Content-Security-Policy" content="([^"]*)"', page)
    rules = dict(rule.strip().split(" ", 1) for rule in policy.split(";"))
    assert rules["default-src"] == "'none'"
    assert "script-src" not in rules
    assert rules["img-src"] == "data:"


@pytest.mark.parametrize("name", ["title", "headline", "images"])
def test_a_forgotten_part_is_a_bug_and_not_a_hole(name):
    content = empty_content()
    del content[name]
    with pytest.raises(Exception, match=name):
        render_page("report", content)
