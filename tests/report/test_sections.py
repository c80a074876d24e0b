"""What the parts of the page say."""

import pytest

from ssd_core.report import sections


def evaluation(classes):
    names = "ap ap50 ap75 ap_small ap_medium ap_large ar_1 ar_10 ar_100 ar_small ar_medium ar_large"
    return {
        "metrics": dict.fromkeys(names.split(), 0.5) | {"ap_small": None},
        "images": 4,
        "objects": 9,
        "detections": 30,
        "classes": classes,
        "model": {"recipe": "demo", "step": 1200},
        "data": {"name": "cells", "split": "val"},
        "environment": {"device_name": "chip"},
    }


def class_row(label, ap, objects=3):
    curve = None if ap is None else [ap] * 101
    return {"label": label, "name": f"c{label}", "objects": objects, "ap": ap, "ap50": ap} | {
        "precision_at_recall": curve
    }


def benchmark():
    def row(batch_size, rate):
        parts = ("decode", "preprocess", "forward", "postprocess", "end_to_end")
        times = {part: {"p50": 2.0 * batch_size, "p90": 3.0, "p99": 4.0} for part in parts}
        return {"batch_size": batch_size, "images_per_second": rate, "milliseconds": times}

    return {
        "metrics": {"images_per_second": 200.0, "latency_ms_p50": 9.0, "latency_ms_p99": 12.0},
        "batches": [row(1, 90.0), row(4, 200.0)],
        "images": {"origin": "generated", "count": 8, "mean_bytes": 1000},
        "environment": {"device_name": "Intel(R) Xeon(R) Gold CPU @ 2.70GHz"},
    }


def invocation(**options):
    inputs = {"model_dir": {"uri": "/m", "digest": "d"}}
    config = {"a": {"b": [1, 2]}, "c": "text"}
    return {"version": "1.0", "config": config, "inputs": inputs, "options": options}


def test_classes_are_sorted_by_accuracy_and_unmeasured_ones_come_last():
    found = sections.accuracy(
        evaluation([class_row(1, None), class_row(2, 0.2), class_row(3, 0.9)])
    )
    assert [row["label"] for row in found["classes"]] == [3, 2, 1]
    assert [len(rows) for rows in found["groups"].values()] == [6, 6]


def test_the_mean_curve_leaves_out_unmeasured_classes():
    found = sections.accuracy(
        evaluation([class_row(1, None), class_row(2, 0.2), class_row(3, 0.6)])
    )
    curves = {line.name: line.ys for line, _ in found["chart"].paths}
    assert set(curves) == {"mean", "c2", "c3"}
    assert curves["mean"] == pytest.approx([0.4] * 101)


def test_no_measured_class_gives_no_chart():
    assert sections.accuracy(evaluation([class_row(1, None)]))["chart"] is None


def test_of_very_many_classes_the_most_frequent_are_drawn():
    rows = [class_row(label, 0.5, objects=label) for label in range(1, 201)]
    names = {line.name for line, _ in sections.accuracy(evaluation(rows))["chart"].paths}
    assert names == {"mean", *(f"c{label}" for label in range(141, 201))}


def test_colours_stand_for_classes_only_while_they_are_distinct():
    few = sections.accuracy(evaluation([class_row(label, 0.5) for label in range(1, 11)]))
    many = sections.accuracy(evaluation([class_row(label, 0.5) for label in range(1, 12)]))
    assert len({row["colour"] for row in few["classes"]}) == 10
    assert {row["colour"] for row in many["classes"]} == {None}


def test_bars_are_times_of_an_image_relative_to_the_slowest():
    bars = sections.speed(benchmark())["bars"]
    assert [bar["total"] for bar in bars] == pytest.approx([8.0, 8.0])
    assert [part["percent"] for part in bars[0]["parts"]] == pytest.approx([25.0] * 4)


def test_headline_and_title_come_from_what_is_there():
    results = {"evaluate": evaluation([class_row(1, 0.5)]), "benchmark": benchmark()}
    found = sections.overview(results, {"evaluate": invocation(), "benchmark": invocation()})
    assert found["title"] == "demo on cells"
    assert found["headline"] == [
        ("0.500", "AP", "IoU .50 to .95, 4 images"),
        ("0.500", "AP50", "IoU .50, 4 images"),
        ("200.0", "images/s", "batch 4, Intel Xeon Gold"),
        ("9.0 ms", "latency", "batch 1, p99 12.0 ms"),
    ]
    assert found["configuration"][0] == ("evaluate", [("a.b", "[1, 2]"), ("c", "text")])
    assert found["origins"][0] == ("evaluate", "model_dir", "/m", "d")
    assert found["environment"] == [("device_name", "Intel(R) Xeon(R) Gold CPU @ 2.70GHz")]


def test_a_training_alone_is_named_after_its_recipe():
    results = {"train": {"environment": {"device_name": "chip"}}}
    found = sections.overview(results, {"train": invocation(recipe="ssd300_vgg16")})
    assert found["title"] == "ssd300_vgg16"
    assert found["headline"] == []
    assert found["environment"] == [("device_name", "chip")]


def test_training_log_becomes_charts_and_facts():
    steps = [
        {"event": "step", "step": step, "samples": 8 * step, "epoch": step / 10, "loss": 2.0}
        | {"loss_cls": 1.5, "loss_bbox": 0.5, "learning_rate": 1e-3, "seconds": step / 4}
        for step in (20, 40)
    ]
    tests = [{"event": "evaluation", "step": 40, "ap": 0.3, "ap50": 0.6}]
    found = sections.training([{"event": "start", "step": 0}, *steps, *tests])
    assert [chart.title for chart in found["charts"]] == [
        "Loss",
        "Learning rate",
        "Accuracy on the val split",
    ]
    assert [line.name for line, _ in found["charts"][0].paths] == [
        "loss",
        "classification loss",
        "box loss",
    ]
    assert dict(found["facts"])["images/s"] == "32.0"
    assert len(sections.training(steps)["charts"]) == 2


def test_a_log_without_a_finished_interval_is_left_out():
    assert sections.training([{"event": "start", "step": 0}]) is None
