"""Values of the accuracy section."""

import pytest

from ssd_core.report.accuracy import accuracy, describe_intervals
from tests.report.results import class_row, evaluation


def test_unmeasured_classes_come_last_and_have_no_curve():
    found = accuracy(evaluation([class_row(1, None), class_row(2, 0.2), class_row(3, 0.6)]))
    assert [row["label"] for row in found["classes"]] == [3, 2, 1]
    assert [len(rows) for rows in found["groups"].values()] == [6, 6]
    curves = {line.name: line.ys for line in found["chart"].lines}
    assert set(curves) == {"mean", "c2", "c3"}
    assert curves["mean"] == pytest.approx([0.4] * 101)
    assert accuracy(evaluation([class_row(1, None)]))["chart"] is None


def test_of_very_many_classes_the_most_frequent_are_drawn():
    rows = [class_row(label, 0.5, objects=label) for label in range(1, 201)]
    names = {line.name for line in accuracy(evaluation(rows))["chart"].lines}
    assert names == {"mean", *(f"c{label}" for label in range(141, 201))}


def test_colours_stand_for_classes_only_while_they_are_distinct():
    few = accuracy(evaluation([class_row(label, 0.5) for label in range(1, 11)]))
    many = accuracy(evaluation([class_row(label, 0.5) for label in range(1, 12)]))
    assert len({row["colour"] for row in few["classes"]}) == 10
    assert {row["colour"] for row in many["classes"]} == {None}


def confusion(names, matrix):
    found = {"classes": [*names, "background"], "matrix": matrix}
    return accuracy(evaluation([class_row(1, 0.5)]) | {"confusion": found})["confusion"]


def test_the_confusion_matrix_describes_every_cell_that_counts():
    found = confusion(["cat", "dog"], [[8, 0, 2], [1, 1234, 0], [0, 3, 0]])
    assert [
        (cell["text"], cell["title"], cell["share"], cell["is_right"])
        for row in found["rows"]
        for cell in row
    ] == [
        ("8", "cat found as cat: 8", 0.8, True),
        ("2", "cat missed: 2", 0.2, False),
        ("1", "dog found as cat: 1", 0.0, False),
        ("1,234", "dog found as dog: 1,234", 1.0, True),
        ("3", "dog found where there is no object: 3", 1.0, False),
    ]


@pytest.mark.parametrize(("num_classes", "is_turned"), [(1, False), (3, False), (50, True)])
def test_the_confusion_matrix_fits_into_the_page(num_classes, is_turned):
    names = [f"a rather long name {k}" if k > 9 else f"name {k}" for k in range(num_classes)]
    matrix = [[123_456] * (num_classes + 1)] * (num_classes + 1)
    found = confusion(names, matrix)
    width, height = found["cell"]
    assert height <= width
    assert found["left"] + width * (num_classes + 1) <= 1080
    assert found["is_turned"] == is_turned
    assert {cell["text"] for row in found["rows"] for cell in row} == {"123k"}
    assert all(len(shown) <= 20 for shown, _ in found["names"])


def test_intervals_are_described_with_their_images():
    results = evaluation([class_row(1, 0.5)])
    expected = "AP 0.500 [0.400, 0.613] on 4 images: 95 % bootstrap intervals"
    assert describe_intervals(results) == expected
    assert describe_intervals(results | {"intervals": {"ap": None}}) == ""
