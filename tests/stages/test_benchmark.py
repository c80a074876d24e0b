"""The benchmark stage on a trained model."""

import json
import math

import pytest

from ssd_core.config import BenchmarkConfig, parse_section
from ssd_core.errors import DataError, GateError, UsageError
from ssd_core.metrics import METRICS
from ssd_core.stages import benchmark
from ssd_core.store import LocalDirectory

QUICK = {"batch_sizes": [2, 1, 2], "seconds": 0.01, "postprocess": {"score_threshold": 0.3}}
PARTS = {"decode", "preprocess", "forward", "postprocess", "end_to_end"}


def run(model_dir, out_dir, config=QUICK, **options):
    section = parse_section(BenchmarkConfig, config, "benchmark")
    locations = LocalDirectory(model_dir), LocalDirectory(out_dir)
    return benchmark.run(section, *locations, device="cpu", **options)


def read(path):
    return json.loads(path.read_text())


@pytest.mark.parametrize("has_data", [True, False])
def test_every_batch_size_is_measured_once(trained_dir, bccd_shards, tmp_path, has_data):
    data_dir = LocalDirectory(bccd_shards) if has_data else None
    metrics = run(trained_dir, tmp_path, data_dir=data_dir).metrics
    results = read(tmp_path / "results.json")
    batches = results["batches"]
    assert [row["batch_size"] for row in batches] == [1, 2]
    assert all(set(row["milliseconds"]) == PARTS for row in batches)
    assert results["images"]["origin"] == ("val split" if has_data else "generated")
    assert results["images"]["count"] == (40 if has_data else 8)
    assert results["environment"]["device"] == "cpu"
    assert results["metrics"] == metrics
    assert set(metrics) <= set(METRICS)
    inputs = read(tmp_path / "invocation.json")["inputs"]
    assert set(inputs) == ({"model", "dataset"} if has_data else {"model"})
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


def test_a_series_grows_by_one_measurement_per_run(trained_dir, tmp_path):
    config, series = QUICK | {"tolerance": 1.0}, tmp_path / "series"
    for number, words in enumerate(({"first"}, {"same", "faster"}), start=1):
        out_dir = tmp_path / f"out-{number}"
        result = run(
            trained_dir, out_dir, config, series=LocalDirectory(series), run_id=f"run-{number}"
        )
        verdict = read(out_dir / "results.json")["verdict"]
        assert result.metadata["verdict"] in words
        assert verdict["word"] == result.metadata["verdict"]
        assert verdict["value"] == result.metrics["images_per_second"]
        assert len(list(series.iterdir())) == number
        benchmark.check_verdict(BenchmarkConfig(**config), result)


@pytest.mark.parametrize("is_strict", [True, False])
def test_a_slower_result_fails_only_on_request(trained_dir, tmp_path, is_strict):
    """The earlier measurement is made a million times faster than it was."""
    config, out_dir = QUICK | {"fail_if_slower": is_strict}, tmp_path / "out"
    series, first = LocalDirectory(tmp_path / "series"), tmp_path / "series/000001.json"
    run(trained_dir, out_dir, config, series=series)
    content = read(first)
    content["metrics"]["images_per_second"] *= 1e6
    first.write_text(json.dumps(content))
    result = run(trained_dir, out_dir, config, series=series)
    assert result.metadata["verdict"] == "slower"
    section = BenchmarkConfig(**config)
    if is_strict:
        with pytest.raises(GateError, match="is slower: -100.0 % from .*, the median of 1 before"):
            benchmark.check_verdict(section, result)
    else:
        benchmark.check_verdict(section, result)
