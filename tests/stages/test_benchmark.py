"""The benchmark stage on a trained model."""

import json
import math

import pytest

from ssd_core.errors import DataError, GateError, UsageError
from ssd_core.stages import benchmark
from ssd_core.store import LocalDirectory

QUICK = {"batch_sizes": [2, 1, 2], "seconds": 0.01, "postprocess": {"score_threshold": 0.3}}
PARTS = {"decode", "preprocess", "forward", "postprocess", "end_to_end"}


@pytest.mark.parametrize("has_data", [True, False])
def test_every_batch_size_is_measured_once(trained_dir, bccd_shards, tmp_path, has_data):
    data_dir = LocalDirectory(bccd_shards) if has_data else None
    result = benchmark.run(
        QUICK, LocalDirectory(trained_dir), tmp_path, data_dir=data_dir, device="cpu"
    )
    results = json.loads((tmp_path / "results.json").read_text())
    assert [row["batch_size"] for row in results["batches"]] == [1, 2]
    assert all(set(row["milliseconds"]) == PARTS for row in results["batches"])
    assert results["images"]["origin"] == ("val split" if has_data else "generated")
    assert results["images"]["count"] == (40 if has_data else 8)
    assert results["environment"]["device"] == "cpu"
    assert results["metrics"] == result.metrics
    inputs = json.loads((tmp_path / "invocation.json").read_text())["inputs"]
    assert set(inputs) == ({"model_dir", "data_dir"} if has_data else {"model_dir"})


def test_the_key_figures_are_the_best_rate_and_the_smallest_batch(trained_dir, tmp_path):
    metrics = benchmark.run(QUICK, LocalDirectory(trained_dir), tmp_path, device="cpu").metrics
    batches = json.loads((tmp_path / "results.json").read_text())["batches"]
    assert metrics["images_per_second"] == max(row["images_per_second"] for row in batches)
    smallest = batches[0]["milliseconds"]["end_to_end"]
    for percentile in ("p50", "p90", "p99"):
        assert metrics[f"latency_ms_{percentile}"] == pytest.approx(smallest[percentile], abs=1e-3)
    assert all(math.isfinite(value) and value > 0 for value in metrics.values())


@pytest.mark.parametrize("config", [{"batch_sizes": []}, {"batch_sizes": [0]}, {"seconds": 0}])
def test_nothing_to_measure_is_refused(trained_dir, tmp_path, config):
    with pytest.raises(UsageError, match=r"benchmark\."):
        benchmark.run(config, LocalDirectory(trained_dir), tmp_path, device="cpu")


def test_a_photo_that_cannot_be_decoded_is_named_with_its_data_set(
    trained_dir, undecodable_shards, tmp_path
):
    with pytest.raises(DataError, match="shards: the image cannot be decoded"):
        benchmark.run(
            QUICK,
            LocalDirectory(trained_dir),
            tmp_path,
            data_dir=LocalDirectory(undecodable_shards),
            device="cpu",
        )


def test_a_series_is_judged_and_grows(trained_dir, tmp_path):
    config = QUICK | {"tolerance": 1.0}
    for number, word in enumerate(("first", "same"), start=1):
        out_dir = tmp_path / f"out-{number}"
        measured = benchmark.run(config, LocalDirectory(trained_dir), out_dir, device="cpu")
        result = benchmark.compare(
            config, measured, out_dir, LocalDirectory(tmp_path / "series"), f"run-{number}"
        )
        verdict = json.loads((out_dir / "results.json").read_text())["verdict"]
        assert result.metadata["verdict"] in {word, "faster" if number == 2 else word}
        assert verdict["word"] == result.metadata["verdict"]
        assert verdict["images_per_second"] == measured.metrics["images_per_second"]
        assert len(list((tmp_path / "series").iterdir())) == number
        benchmark.check_verdict(config, result)


@pytest.mark.parametrize("is_strict", [True, False])
def test_slower_is_a_failure_only_where_that_is_asked_for(trained_dir, tmp_path, is_strict):
    """The earlier record is made a million times faster than it was."""
    config, series = QUICK | {"fail_if_slower": is_strict}, tmp_path / "series"
    measured = benchmark.run(config, LocalDirectory(trained_dir), tmp_path / "out", device="cpu")
    benchmark.compare(config, measured, tmp_path / "out", LocalDirectory(series))
    record = json.loads((series / "000001.json").read_text())
    record["metrics"]["images_per_second"] *= 1e6
    (series / "000001.json").write_text(json.dumps(record))
    result = benchmark.compare(config, measured, tmp_path / "out", LocalDirectory(series))
    assert result.metadata["verdict"] == "slower"
    if is_strict:
        with pytest.raises(GateError, match="is slower: -100.0 % from .*, the median of 1 before"):
            benchmark.check_verdict(config, result)
    else:
        benchmark.check_verdict(config, result)
