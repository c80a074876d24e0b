"""Values of the headline and of the speed and training sections."""

import pytest

from ssd_core.report import sections
from ssd_core.report.accuracy import accuracy
from tests.report.results import benchmark, class_row, evaluation


def invocation():
    inputs = {"model": {"uri": "/m", "digest": "d"}}
    config = {"a": {"b": [1, 2]}, "c": "text"}
    facts = {"version": "1.0", "image": "", "options": {}}
    return facts | {"config": config, "inputs": inputs}


def test_bars_hold_the_median_time_per_image():
    found = sections.speed(benchmark())
    notes = {title: note for title, _, note in found["metrics"]}
    assert notes == {"images/s": "batch 4", "latency": "batch 1", "latency p99": "batch 1"}
    bars = found["bars"]
    assert {size: sum(parts.values()) for size, parts in bars.items()} == {1: 8.0, 4: 8.0}
    assert list(bars[4].values()) == [2.0] * 4


@pytest.mark.parametrize(
    ("earlier", "margin", "lines"),
    [([], None, None), ([1.0, 2.0], None, 1), ([9.0, 10.0, 11.0, 10.0, 10.0], 2.0, 3)],
)
def test_a_series_becomes_a_chart_with_its_noise(earlier, margin, lines):
    measured = {"value": 8.5, "earlier": earlier, "median": margin and 10.0, "margin": margin}
    found = sections.speed(benchmark() | {"verdict": measured | {"comparison": "slower"}})
    assert found["comparison"] == "slower"
    if lines is None:
        assert found["trend"] is None
        return
    speed, *limits = found["trend"].lines
    assert list(speed.ys) == [*earlier, 8.5]
    assert found["trend"].y_range == (0, 10 if margin is None else 15)
    assert [list(line.ys) for line in limits] == [[12.0, 12.0], [8.0, 8.0]][: lines - 1]


def test_headline_and_title_come_from_what_is_there():
    results = {"evaluate": evaluation([class_row(1, 0.5)]), "benchmark": benchmark()}
    invocations = {"evaluate": invocation(), "benchmark": invocation()}
    found = sections.overview(results, invocations, run_id="nightly-7")
    assert found["title"] == "demo on cells"
    assert found["headline"] == [
        ("0.500", "AP", "95 % interval 0.400 to 0.613, IoU .50 to .95, 4 images"),
        ("0.500", "AP50", "IoU .50, 4 images"),
        ("200.0", "images/s", "batch 4, Intel Xeon Gold"),
        ("9.0 ms", "latency", "batch 1, p99 12.0 ms"),
    ]
    assert found["configuration"][0] == ("evaluate", [("a.b", "[1, 2]"), ("c", "text")])
    assert found["origins"][0] == ("evaluate", "model", "/m", "d")
    assert found["environment"][-1] == ("device_name", "Intel(R) Xeon(R) Gold CPU @ 2.70GHz")
    assert found["subtitle"] == [
        "measured 2026-01-31 09:05 UTC on node-1 in 1:01 min",
        "1,200 steps",
        "run nightly-7",
        "ssd-core 1.0",
    ]


def test_images_that_were_left_out_are_part_of_the_headline():
    reduced = evaluation([class_row(1, 0.5)]) | {"image_set": "mindspore", "skipped_images": 1}
    [_, _, note] = sections.overview({"evaluate": reduced}, {})["headline"][0]
    expected = "mindspore's reduced set, 4 of 5 images, without those with a crowd or no objects"
    assert note.endswith(f"IoU .50 to .95, {expected}")
    assert accuracy(reduced)["images"] == expected


def test_a_training_alone_is_named_after_its_recipe():
    model = {"recipe": "ssd300_vgg16", "step": 1200}
    results = {"train": {"environment": {"device_name": "chip"}, "model": model}}
    found = sections.overview(results, {"import-weights": invocation()})
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
    assert [line.name for line in found["charts"][0].lines] == [
        "loss",
        "classification loss",
        "box loss",
    ]
    assert dict(found["facts"])["images/s"] == "32.0"
    assert len(sections.training(steps)["charts"]) == 2


def test_a_log_without_a_finished_interval_is_left_out():
    assert sections.training([{"event": "start", "step": 0}]) is None
