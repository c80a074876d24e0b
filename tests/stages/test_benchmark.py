"""The benchmark stage on a trained model."""

import json
import math

import pytest

from ssd_core.benchmark.history import judge, read_series
from ssd_core.config import BenchmarkConfig, parse_section
from ssd_core.errors import DataError, GateError, UsageError
from ssd_core.metrics import METRICS
from ssd_core.stages import benchmark
from ssd_core.stages.benchmark import SpeedSeries
from ssd_core.store import LocalDirectory
from ssd_core.structures import StageResult
from tests.benchmark.series import plant_history

QUICK = {"batch_sizes": [2, 1, 2], "seconds": 0.01, "postprocess": {"score_threshold": 0.3}}
PARTS = {"decode", "preprocess", "forward", "postprocess", "end_to_end"}


def run(model_dir, out_dir, config=QUICK, **options):
    section = parse_section(BenchmarkConfig, config, "benchmark")
    locations = LocalDirectory(model_dir), LocalDirectory(out_dir)
    return benchmark.run(section, *locations, device="cpu", **options)


def read(path):
    return json.loads(path.read_text())


@pytest.mark.parametrize("has_data", [True, False])
def test_every_batch_size_is_measured_once(
    trained_dir, bccd_shards, tmp_path, has_data, monkeypatch
):
    monkeypatch.setenv("SSD_IMAGE", "ssd/torch@sha256:01")
    data_dir = LocalDirectory(bccd_shards) if has_data else None
    metrics = run(trained_dir, tmp_path, data_dir=data_dir).metrics
    results = read(tmp_path / "results.json")
    batches = results["batches"]
    assert [row["batch_size"] for row in batches] == [1, 2]
    assert all(set(row["milliseconds"]) == PARTS for row in batches)
    assert results["images"]["origin"] == ("val split" if has_data else "generated")
    assert results["images"]["count"] == (40 if has_data else 8)
    assert all(row["candidates_per_image"] > 0 for row in batches)
    assert results["environment"]["device"] == "cpu"
    assert results["environment"]["image"] == "ssd/torch@sha256:01"
    assert results["metrics"] == metrics
    assert set(metrics) <= set(METRICS)
    inputs = read(tmp_path / "invocation.json")["inputs"]
    assert set(inputs) == ({"model", "dataset"} if has_data else {"model"})
    assert results["model"]["weights"] == inputs["model"]["digest"]
    assert metrics["images_per_second"] == max(row["images_per_second"] for row in batches)
    smallest = batches[0]["milliseconds"]["end_to_end"]
    for percentile in ("p50", "p90", "p99"):
        assert metrics[f"latency_ms_{percentile}"] == pytest.approx(smallest[percentile], abs=1e-3)
    assert all(math.isfinite(value) and value > 0 for value in metrics.values())


@pytest.mark.parametrize("config", [{"batch_sizes": []}, {"batch_sizes": [0]}, {"seconds": 0}])
def test_nothing_to_measure_is_refused(trained_dir, tmp_path, config):
    with pytest.raises(UsageError, match=r"benchmark\."):
        run(trained_dir, tmp_path, config)


def test_an_image_that_cannot_be_decoded_is_reported_with_its_data_set(
    trained_dir, undecodable_shards, tmp_path
):
    with pytest.raises(DataError, match="shards: the file cannot be decoded"):
        run(trained_dir, tmp_path, data_dir=LocalDirectory(undecodable_shards))


def test_a_series_grows_by_one_measurement_per_run(trained_dir, tmp_path, caplog):
    """The first one is made a million times faster than it was, and is multiplied."""
    out_dir, series = tmp_path / "out", tmp_path / "series"
    for number in (1, 6):
        caplog.clear()
        caplog.set_level("INFO", logger="ssd")
        result = run(
            trained_dir, out_dir, series=SpeedSeries(LocalDirectory(series), f"run-{number}")
        )
        results = read(out_dir / "results.json")
        measured = read_series(LocalDirectory(series))
        assert len(measured) == number
        assert measured[-1].run == f"run-{number}"
        ap = read(trained_dir / "results.json")["metrics"]["ap"]
        assert measured[-1].metrics == result.metrics | {"ap": ap}
        is_stable = all(row["warm_up"]["is_stable"] for row in results["batches"])
        assert measured[-1].is_stable == is_stable
        assert ("add --set benchmark.seconds=" in caplog.text) == (not is_stable)
        verdict = judge(measured[-1], measured[:-1])
        assert results["verdict"] == json.loads(json.dumps(verdict.content()))
        assert result.metadata["verdict"] == verdict.word
        if number == 1:
            plant_history(series, factor=1e6)
    assert len(verdict.earlier) == 5
    assert verdict.word == ("slower" if is_stable else "not stable")


def test_networks_and_their_post_processing_are_not_compared_with_each_other(trained_dir, tmp_path):
    series = LocalDirectory(tmp_path / "series")
    for changes in ({}, {}, {"postprocess": {"score_threshold": 0.2}}):
        run(trained_dir, tmp_path / "out", QUICK | changes, series=SpeedSeries(series))
    first, second, other = (each.conditions["network"] for each in read_series(series))
    assert first == second != other


@pytest.mark.parametrize(
    ("limit", "word", "change", "fails"),
    [
        (None, "slower", -50.0, False),
        (10.0, "slower", -10.1, True),
        (10.0, "slower", -9.9, False),
        (0.0, "slower", -5.1, True),
        (0.0, "not distinguishable", -4.9, False),
        (0.0, "faster", 20.0, False),
        (0.0, "not stable", 0.0, False),
    ],
)
def test_a_slower_result_fails_beyond_the_limit(limit, word, change, fails):
    section = BenchmarkConfig(fail_on_regression=limit)
    comparison = "9.0 images/s: slower"
    result = StageResult(metadata={"verdict": word, "change": change, "comparison": comparison})
    if fails:
        with pytest.raises(GateError, match=rf"{comparison}; at most {limit:g} % are accepted"):
            benchmark.check_verdict(section, result)
    else:
        benchmark.check_verdict(section, result)


@pytest.mark.parametrize(("is_strict", "limit"), [(True, 0.0), (False, None)])
def test_models_of_an_earlier_format_are_read(is_strict, limit):
    earlier = {"seconds": 2.0, "tolerance": 0.05, "fail_if_slower": is_strict}
    section = parse_section(BenchmarkConfig, earlier, "benchmark")
    assert section == BenchmarkConfig(seconds=2.0, fail_on_regression=limit)


@pytest.mark.parametrize(("key", "value"), [("fail_if_slower", True), ("tolerance", 0.05)])
def test_one_key_of_an_earlier_format_names_its_replacement(key, value):
    message = f"benchmark: '{key}' no longer exists; set benchmark.fail_on_regression to"
    with pytest.raises(UsageError, match=message):
        parse_section(BenchmarkConfig, {key: value}, "benchmark")
