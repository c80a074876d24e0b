"""Outputs of real stages, made once, and a data set that is wrong inside."""

import shutil
from pathlib import Path

import pytest

from ssd_core.config import ConvertConfig, EvaluateConfig
from ssd_core.store import LocalDirectory


@pytest.fixture(scope="session")
def evaluation_dir(trained_dir, bccd_shards, tmp_path_factory):
    """Return the output of `evaluate`."""
    from ssd_core.stages import evaluate

    out_dir = tmp_path_factory.mktemp("evaluation")
    evaluate.run(
        EvaluateConfig(),
        LocalDirectory(trained_dir),
        LocalDirectory(bccd_shards),
        out_dir,
        device="cpu",
    )
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
