"""The identity of a training, and the directory that it owns."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import ssd_core
from ssd_core.config import EvaluateConfig, PostprocessOverrides, Recipe
from ssd_core.errors import OwnershipError
from ssd_core.recipes import load_recipe
from ssd_core.store import LocalDirectory
from ssd_core.training.identity import claim_directory, digest_identity, identify
from tests.training.small_run import make_config

DIGEST = "ab" * 32


def make_recipe(threshold: float = 0.02, **changes: object) -> Recipe:
    overrides = PostprocessOverrides(score_threshold=threshold)
    evaluate = EvaluateConfig(postprocess=overrides)
    train = make_config(**changes)
    return load_recipe("demo").model_copy(update={"train": train, "evaluate": evaluate})


def test_only_equal_arguments_make_the_same_training():
    arguments = [
        (make_recipe(), DIGEST, "torch"),
        (make_recipe(), DIGEST, "torch"),
        (make_recipe(seed=2), DIGEST, "torch"),
        (make_recipe(), "cd" * 32, "torch"),
        (make_recipe(), DIGEST, "mindspore"),
    ]
    names = [digest_identity(identify(*each)) for each in arguments]
    assert names[0] == names[1]
    assert len(set(names)) == 4
    assert len(names[0]) == 16


@pytest.mark.parametrize(("interval", "expected"), [(None, 1), (2, 2)])
def test_evaluation_counts_if_it_selects_the_weights(interval, expected):
    names = {
        digest_identity(identify(make_recipe(threshold, evaluate_every=interval), DIGEST, "torch"))
        for threshold in (0.02, 0.5)
    }
    assert len(names) == expected


def test_every_change_of_the_code_makes_another_training(tmp_path):
    package = tmp_path / "ssd_core"
    shutil.copytree(
        Path(ssd_core.__file__).parent, package, ignore=shutil.ignore_patterns("__pycache__")
    )
    names = [name_of_training(tmp_path)]
    assert names == [name_of_training(tmp_path)]
    for file, change in (("__init__.py", '__version__ = "99"\n'), ("logs.py", "# a change\n")):
        (package / file).write_text((package / file).read_text() + change)
        names.append(name_of_training(tmp_path))
    assert len(set(names)) == 3


def name_of_training(folder: Path) -> str:
    """Return the id of the demo by the code in `folder`."""
    code = (
        "from ssd_core.recipes import load_recipe\n"
        "from ssd_core.training.identity import digest_identity, identify\n"
        "print(digest_identity(identify(load_recipe('demo'), 'ab', 'torch')))\n"
    )
    return subprocess.run(
        [sys.executable, "-c", code], cwd=folder, capture_output=True, text=True, check=True
    ).stdout


def test_a_directory_belongs_to_its_first_training(tmp_path):
    mine = identify(make_recipe(), DIGEST, "torch")
    claim_directory(LocalDirectory(tmp_path / "out"), mine)
    claim_directory(LocalDirectory(tmp_path / "out"), mine)
    other = identify(make_recipe(seed=9, batch_size=2), "cd" * 32, "torch")
    with pytest.raises(OwnershipError) as error:
        claim_directory(LocalDirectory(tmp_path / "out"), other)
    message = str(error.value)
    assert f'dataset: "{DIGEST}" -> "{"cd" * 32}"' in message
    assert "train.seed: 1 -> 9" in message
    assert "train.batch_size: 4 -> 2" in message
    assert "choose another --out" in message
    assert "learning_rate" not in message
    assert json.loads((tmp_path / "out" / "training.json").read_text()) == mine
    assert (tmp_path / "out" / "training.json").stat().st_mode & 0o777 == 0o644


@pytest.mark.parametrize("content", ["", "{", "[]", "null"])
def test_a_damaged_owner_file_is_explained(tmp_path, content):
    (tmp_path / "training.json").write_text(content)
    with pytest.raises(OwnershipError, match=r"training.json is damaged.*choose another --out"):
        claim_directory(LocalDirectory(tmp_path), identify(make_recipe(), DIGEST, "torch"))
