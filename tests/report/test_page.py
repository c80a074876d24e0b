"""The page itself: complete, self-contained and safe."""

import re

import numpy as np
import pytest

from ssd_core.config import EvaluateConfig
from ssd_core.evaluation.accuracy import measure_accuracy
from ssd_core.evaluation.run import EvaluatedImage
from ssd_core.report.accuracy import accuracy
from ssd_core.report.charts import Line, line_chart
from ssd_core.report.images import annotate_image
from ssd_core.report.page import render_page
from ssd_core.report.sections import speed
from ssd_core.structures import ClassInfo, make_annotations
from tests.detections import NOTHING_FOUND, make_detections
from tests.report.browser import in_frame, take_screenshot
from tests.report.outline import Outline, assert_self_contained, parts_of
from tests.report.results import benchmark, class_row, evaluation

HOSTILE = '</title><script>alert(1)</script><img src=x onerror="alert(1)"> & "\''


PARTS = [
    *("What to do next", "Accuracy", "Images with most errors", "Speed", "Training"),
    *("How to repeat it", "Environment and inputs"),
]


def empty_content(**parts):
    names = ("accuracy", "speed", "training", "images", "configuration", "environment", "origins")
    names += ("next_steps", "repeat")
    content = dict.fromkeys(names) | {"title": "A run", "subtitle": [], "headline": []}
    return content | {"image_threshold": 0.5} | parts


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
        found=make_detections([[2, 2, 9, 9]], [0.75], [2]),
        classes=[ClassInfo(label=k, name=name, category_id=k) for k in range(1, 12)],
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
        speed=speed(measured),
        training={"charts": [chart], "facts": [(name, name)]},
        configuration=[(name, [(name, name)])],
        environment=[(name, name)],
        origins=[(name, name, name, name)],
        next_steps=[(name, name)],
        repeat=[name],
    )


def test_the_page_is_complete_and_requests_nothing_from_outside():
    page = render_page("report.html", full_content("cat"))
    assert parts_of(page) == PARTS
    assert re.search(r"<td>3</td><td class=.meter.[^>]*>0.125</td>", page)  # the cost of misses
    assert_self_contained(page)


def test_hostile_names_stay_text():
    outline = Outline(render_page("report.html", full_content(HOSTILE)))
    assert not {"script", "img"} & set(outline.tags)
    assert not [name for name, _ in outline.attributes if name.startswith("on")]
    assert outline.text.count(HOSTILE) >= 10


def measured_content(num_classes, *, has_objects=True, has_detections=True):
    """The page of an evaluation whose detections are near their objects, of any class."""
    rng = np.random.default_rng(0)
    classes = [
        ClassInfo(label=k, name=f"class number {k}", category_id=k)
        for k in range(1, num_classes + 1)
    ]
    images = []
    for number in range(40):
        count = 8 * has_objects
        corners = rng.uniform(0, 200, (count, 2))
        boxes = np.hstack([corners, corners + rng.uniform(20, 120, (count, 2))])
        truth = make_annotations(boxes, rng.integers(1, num_classes + 1, count))
        near = np.vstack([boxes, rng.uniform(0, 100, (8, 4)) + [0, 0, 100, 100]])
        labels = np.append(truth.labels, rng.integers(1, num_classes + 1, 8))
        scores = np.sort(rng.uniform(0.2, 1, len(near)))[::-1]
        found = make_detections(near, scores, labels) if has_detections else NOTHING_FOUND
        images.append(EvaluatedImage(number, number, truth, found))
    results = evaluation([]) | measure_accuracy(images, classes, EvaluateConfig())
    pixels = rng.integers(0, 255, (320, 320, 3), np.uint8)
    drawn = [
        annotate_image("a.jpg", pixels, truth=each.truth, found=each.found, classes=classes)
        for each in images[:9]
    ]
    return empty_content(accuracy=accuracy(results), images=drawn)


@pytest.mark.parametrize(
    ("results", "width", "options"),
    [
        pytest.param({"num_classes": 1}, "400px", (), id="one class, narrow"),
        pytest.param({"num_classes": 300}, "100vw", (), id="300 classes"),
        pytest.param(
            {"num_classes": 3, "has_detections": False},
            "100vw",
            ("--force-dark-mode",),
            id="no detections, dark",
        ),
        pytest.param({"num_classes": 80, "has_objects": False}, "100vw", (), id="no objects"),
    ],
)
def test_extreme_results_are_shown_without_errors(tmp_path, results, width, options):
    content = measured_content(**results)
    page = render_page("report.html", content)
    assert_self_contained(page)
    assert len(page) < 2_000_000
    (tmp_path / "frame.html").write_text(in_frame(page, width))
    pixels = take_screenshot(tmp_path / "frame.html", *options)
    assert (pixels[:20, :20].mean() < 128) == bool(options)
    assert len(np.unique(pixels)) > 100
    render_page("report.md", content)


@pytest.mark.parametrize("name", ["title", "headline", "images"])
def test_a_forgotten_part_is_a_bug_and_not_a_gap(name):
    content = empty_content()
    del content[name]
    with pytest.raises(Exception, match=name):
        render_page("report.html", content)


def test_commands_of_two_lines_stay_code_in_markdown():
    content = empty_content(next_steps=[("Use", "a\nb")], repeat=["c\nd"])
    page = render_page("report.md", content)
    assert "    a\n    b\n" in page
    assert "    c\n    d\n" in page


def test_confusions_outside_the_matrix_are_stated():
    evaluated = evaluation([class_row(1, 0.5)])
    evaluated["confusion"] = {
        "classes": ["100 others", "background"],
        "matrix": [[2, 1], [1, 0]],
        "among_others": 1234,
    }
    page = render_page("report.html", empty_content(accuracy=accuracy(evaluated)))
    assert "1,234 confusions of the 100 others with one another are in no cell." in page
