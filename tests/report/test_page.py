"""The page itself: complete, self-contained and safe."""

import numpy as np
import pytest

from ssd_core.report.accuracy import accuracy
from ssd_core.report.charts import Line, line_chart
from ssd_core.report.images import annotate_image
from ssd_core.report.page import render_page
from ssd_core.report.sections import speed
from ssd_core.structures import ClassInfo, make_annotations
from tests.report.outline import Outline, assert_self_contained, parts_of
from tests.report.results import benchmark, class_row, evaluation

HOSTILE = '</title><script>alert(1)</script><img src=x onerror="alert(1)"> & "\''


def empty_content(**parts):
    names = ("accuracy", "speed", "training", "images", "configuration", "environment", "origins")
    content = dict.fromkeys(names) | {"title": "A run", "subtitle": [], "headline": []}
    return content | {"image_classes": [], "image_threshold": 0.5} | parts


def full_content(name):
    """Every part, with `name` wherever a text comes from outside."""
    evaluated = evaluation([class_row(1, 0.5) | {"name": name}])
    evaluated["confusion"] = {"classes": [name, "background"], "matrix": [[2, 1], [1, 0]]}
    measured = benchmark()
    measured["images"]["origin"] = name
    image = annotate_image(
        name,
        np.zeros((20, 30, 3), np.uint8),
        truth=make_annotations([[2, 2, 9, 9]], [1]),
        found=None,
        classes=[ClassInfo(label=k, name=name, category_id=k) for k in range(1, 12)],
        note=name,
    )
    chart = line_chart(
        name, [Line(name, [1, 2], [1, 2], "red")] * 2, x_label="step", x_range=(1, 2)
    )
    return empty_content(
        title=name,
        subtitle=[name],
        headline=[("0.5", name, name)],
        accuracy=accuracy(evaluated),
        images=[image],
        image_classes=[(name, "#123456")],
        speed=speed(measured),
        training={"charts": [chart], "facts": [(name, name)]},
        configuration=[(name, [(name, name)])],
        environment=[(name, name)],
        origins=[(name, name, name, name)],
    )


def test_the_page_is_complete_and_requests_nothing_from_outside():
    page = render_page("report.html", full_content("cat"))
    parts = ["Accuracy", "Sample images", "Speed", "Training", "Configuration", "Environment"]
    assert parts_of(page) == parts
    assert "<td>3</td><td>0.125</td>" in page  # missed objects and their cost
    assert_self_contained(page)


def test_hostile_names_stay_text():
    outline = Outline(render_page("report.html", full_content(HOSTILE)))
    assert not {"script", "img"} & set(outline.tags)
    assert not [name for name, _ in outline.attributes if name.startswith("on")]
    assert outline.text.count(HOSTILE) >= 10


@pytest.mark.parametrize("name", ["title", "headline", "images"])
def test_a_forgotten_part_is_a_bug_and_not_a_gap(name):
    content = empty_content()
    del content[name]
    with pytest.raises(Exception, match=name):
        render_page("report.html", content)
