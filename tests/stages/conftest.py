"""Outputs of real stages, made once, and a data set with a damaged image."""

import shutil
from pathlib import Path

import pytest

from ssd_core.config import BenchmarkConfig, ConvertConfig, EvaluateConfig, PostprocessOverrides
from ssd_core.layouts.ckpt import write_ckpt
from ssd_core.model_dir import read_model
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
def imported_dir(trained_dir, tmp_path_factory):
    """Return the output of `import-weights` for the weights of `trained_dir`."""
    from ssd_core.stages import import_weights

    folder, model = tmp_path_factory.mktemp("imported"), read_model(LocalDirectory(trained_dir))
    (folder / "a.ckpt").write_bytes(write_ckpt(model.weights))
    import_weights.run(
        LocalDirectory(folder / "a.ckpt"),
        LocalDirectory(folder / "out"),
        layout_name="mindspore",
        recipe=model.description.recipe,
        classes=[info.name for info in model.classes],
    )
    return folder / "out"


@pytest.fixture(scope="session")
def speed_dir(trained_dir, bccd_shards, tmp_path_factory):
    """Return the output of a short `benchmark`."""
    from ssd_core.stages import benchmark

    out_dir = tmp_path_factory.mktemp("speed")
    few = PostprocessOverrides(score_threshold=0.3)
    section = BenchmarkConfig(batch_sizes=(1,), seconds=0.01, postprocess=few)
    model_dir, data_dir, speed = map(LocalDirectory, (trained_dir, bccd_shards, out_dir))
    benchmark.run(section, model_dir, speed, data_dir=data_dir, device="cpu")
    return out_dir


@pytest.fixture(scope="session")
def undecodable_shards(few_images, tmp_path_factory):
    """Return shards with one damaged val image.

    Without `decode_check` conversion reads only the header and the end of a JPEG.
    """
    from ssd_core.stages import convert

    folder = tmp_path_factory.mktemp("undecodable")
    source = Path(shutil.copytree(few_images, folder / "source"))
    name = (source / "ImageSets/Main/val.txt").read_text().split()[0]
    image = source / "JPEGImages" / f"{name}.jpg"
    content = image.read_bytes()
    start = content.index(b"\xff\xc4")  # the first Huffman table
    image.write_bytes(content[: start + 5] + b"\xff" * 16 + content[start + 21 :])
    convert.run(ConvertConfig(), str(source), LocalDirectory(folder / "shards"))
    return folder / "shards"
