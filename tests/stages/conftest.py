"""Outputs of real stages, made once, and a data set that is wrong inside."""

import shutil
from pathlib import Path

import pytest

from ssd_core.config import BenchmarkConfig, ConvertConfig, EvaluateConfig, parse_section
from ssd_core.store import LocalDirectory


@pytest.fixture(scope="session")
def evaluation_dir(trained_dir, bccd_shards, tmp_path_factory):
    """Return the output of `evaluate`."""
    from ssd_core.stages import evaluate

    out_dir = tmp_path_factory.mktemp("evaluation")
    locations = map(LocalDirectory, (trained_dir, bccd_shards, out_dir))
    evaluate.run(EvaluateConfig(), *locations, device="cpu")
    return out_dir


@pytest.fixture(scope="session")
def speed_dir(trained_dir, bccd_shards, tmp_path_factory):
    """Return the output of a short `benchmark`."""
    from ssd_core.stages import benchmark

    out_dir = tmp_path_factory.mktemp("speed")
    config = {"batch_sizes": [1], "seconds": 0.01, "postprocess": {"score_threshold": 0.3}}
    section = parse_section(BenchmarkConfig, config, "benchmark")
    model_dir, data_dir, speed = map(LocalDirectory, (trained_dir, bccd_shards, out_dir))
    benchmark.run(section, model_dir, speed, data_dir=data_dir, device="cpu")
    return out_dir


@pytest.fixture(scope="session")
def undecodable_shards(few_photographs, tmp_path_factory):
    """Return shards with one photograph of val damaged where conversion does not look.

    It looks at the ends of a JPEG only, unless it is asked to decode.
    """
    from ssd_core.stages import convert

    folder = tmp_path_factory.mktemp("undecodable")
    source = Path(shutil.copytree(few_photographs, folder / "source"))
    name = (source / "ImageSets/Main/val.txt").read_text().split()[0]
    photo = source / "JPEGImages" / f"{name}.jpg"
    content = photo.read_bytes()
    start = content.index(b"\xff\xc4")  # the first Huffman table
    photo.write_bytes(content[: start + 5] + b"\xff" * 16 + content[start + 21 :])
    convert.run(ConvertConfig(), str(source), LocalDirectory(folder / "shards"))
    return folder / "shards"
