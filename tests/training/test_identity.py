"""The identity of a training."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import ssd_core
from ssd_core.config import EvaluateConfig, PostprocessOverrides, Recipe
from ssd_core.recipes import load_recipe
from ssd_core.training.identity import digest_identity, identify
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


@pytest.mark.parametrize(
    "change",
    [
        {"all_reduce_fusion": (3, 5)},
        {"checkpoint_interval": 3, "keep_checkpoints": 3, "keep_every_epochs": 3},
        {"log_interval": 3, "loader_threads": 3},
    ],
)
def test_a_value_that_does_not_change_the_weights_does_not_count(change):
    changed = make_recipe(**change)
    assert changed.train != make_recipe().train
    assert identify(changed, DIGEST, "torch") == identify(make_recipe(), DIGEST, "torch")


def test_an_option_that_is_not_used_does_not_count():
    assert "steps" not in identify(make_recipe(steps=None), DIGEST, "torch")["train"]


@pytest.fixture(scope="module")
def package(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("code") / "ssd_core"
    ignored = shutil.ignore_patterns("__pycache__")
    return Path(shutil.copytree(Path(ssd_core.__file__).parent, folder, ignore=ignored))


@pytest.mark.parametrize(
    ("file", "old", "new", "counts"),
    [
        ("detection/boxes.py", "clip", "clamp", True),
        ("data/decode.py", "return ", "return None or ", True),
        ("backends/torch/loss.py", "\nimport ", "\nimport math\nimport ", True),
        ("backends/mindspore/loss.py", "\nimport ", "\nimport math\nimport ", False),
        ("detection/boxes.py", "\n", "\n\n# a comment\n", False),
        ("detection/boxes.py", '"""', '"""In other words: ', False),
        ("report/charts.py", "=", "= 2 *", False),
        ("__init__.py", "__version__ = ", "__version__ = '99' + ", False),
    ],
)
def test_the_code_counts_that_computes_the_weights(package, file, old, new, counts):
    path, unchanged = package / file, identify(load_recipe("demo"), "ab", "torch")
    content = path.read_text()
    assert old in content
    path.write_text(content.replace(old, new, 1))
    try:
        assert (name_of_training(package.parent) != digest_identity(unchanged)) == counts
    finally:
        path.write_text(content)


def name_of_training(folder: Path) -> str:
    """Return the id of the demo by the code in `folder`."""
    code = (
        "from ssd_core.recipes import load_recipe\n"
        "from ssd_core.training.identity import digest_identity, identify\n"
        "print(digest_identity(identify(load_recipe('demo'), 'ab', 'torch')), end='')\n"
    )
    return subprocess.run(
        [sys.executable, "-c", code], cwd=folder, capture_output=True, text=True, check=True
    ).stdout
