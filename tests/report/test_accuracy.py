"""Values of the accuracy section."""

import pytest

from ssd_core.report.accuracy import accuracy, describe_intervals
from tests.report.results import class_row, evaluation


def test_unmeasured_classes_come_last_and_have_no_curve():
    found = accuracy(evaluation([class_row(1, None), class_row(2, 0.2), class_row(3, 0.6)]))
    assert [row["label"] for row in found["classes"]] == [3, 2, 1]
    assert [len(rows) for rows in found["groups"].values()] == [6, 6, 2]
    curves = {line.name: line.ys for line in found["charts"][0].lines}
    assert set(curves) == {"mean", "c2", "c3"}
    assert curves["mean"] == pytest.approx([0.4] * 101)
    titles = [chart.title for chart in accuracy(evaluation([class_row(1, None)]))["charts"]]
    assert titles == ["F1, precision, recall by score", "Precision by score"]


def test_the_summary_names_what_fails():
    rows = [class_row(1, 0.2), class_row(2, 0.6), class_row(3, None, objects=0)]
    assert accuracy(evaluation(rows))["summary"] == [
        "At score 0.5, 6 of 9 objects are found and 6 detections are false.",
        "Score 0.300 gives the best balance of precision and recall, F1 0.500.",
        "Best by AP: c2 (0.600). Worst: c1 (0.200).",
        "AP50 would rise most, by 0.125, without missed objects (missed).",
    ]
    [nothing] = accuracy(evaluation(rows) | {"objects": 0})["summary"]
    assert nothing.startswith("There are no objects")


def test_a_metric_of_one_size_or_aspect_counts_the_objects_behind_it():
    results = evaluation([class_row(1, 0.5)]) | {"aspects": {"tall": 1_007, "wide": 1}}
    results["metrics"] |= {"ap_tall": 0.4, "ap_wide": 0.3}
    groups = accuracy(results)["groups"]
    notes = {metric.name: metric.description for metric, _ in groups["Average precision"]}
    assert (notes["ap_small"], notes["ap50"]) == ("2 small objects", "IoU .50")
    assert (notes["ap_tall"], notes["ap_wide"]) == ("1,007 tall objects", "1 wide object")


def test_of_very_many_classes_the_most_frequent_are_drawn():
    rows = [class_row(label, 0.5, objects=label) for label in range(1, 201)]
    chart = accuracy(evaluation(rows))["charts"][0]
    names = {line.name for line in chart.lines}
    assert names == {"mean", *(f"c{label}" for label in range(141, 201))}
    assert [line.name for line in chart.legend] == ["mean", "each class"]


def test_colours_stand_for_classes_only_while_they_are_distinct():
    few = accuracy(evaluation([class_row(label, 0.5) for label in range(1, 11)]))
    many = accuracy(evaluation([class_row(label, 0.5) for label in range(1, 12)]))
    assert len({*few["colours"].values()}) == 10
    assert many["colours"] == {}


def confusion(names, matrix):
    found = {"classes": [*names, "background"], "matrix": matrix}
    return accuracy(evaluation([class_row(1, 0.5)]) | {"confusion": found})["confusion"]


def test_the_confusion_matrix_describes_every_cell_that_counts():
    found = confusion(["cat", "dog"], [[8, 0, 2], [1, 1234, 0], [0, 3, 0]])
    assert [
        (cell["count"], cell["title"], cell["share"], cell["is_right"])
        for row in found["rows"]
        for cell in row
        if cell
    ] == [
        (8, "cat found as cat: 8", 0.8, True),
        (2, "cat missed: 2", 0.2, False),
        (1, "dog found as cat: 1", 0.0, False),
        (1234, "dog found as dog: 1,234", 1.0, True),
        (3, "dog found where there is no object: 3", 1.0, False),
    ]
    assert found["pairs"] == [("dog", "cat", 1)]


@pytest.mark.parametrize(("num_classes", "has_counts"), [(1, True), (39, True), (80, False)])
def test_the_cells_of_many_classes_have_no_numbers(num_classes, has_counts):
    size = num_classes + 1
    found = confusion([f"c{k}" for k in range(num_classes)], [[123] * size] * size)
    assert found["has_counts"] == has_counts


def test_intervals_are_described_with_their_images():
    results = evaluation([class_row(1, 0.5)])
    expected = "AP 0.500 [0.400, 0.613] on 4 images: 95 % bootstrap intervals"
    assert describe_intervals(results) == expected
    assert describe_intervals(results | {"intervals": {"ap": None}}) == ""
