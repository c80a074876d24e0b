"""The train stage with either framework."""

from pathlib import Path

import pytest

from ssd_core.errors import DivergedError
from ssd_core.recipes import load_recipe
from ssd_core.recipes.overrides import override
from ssd_core.stages import train
from ssd_core.store import LocalDirectory
from tests.requirements import INSTALLED_FRAMEWORKS
from tests.train_logs import read_log

CHANGES = ("model.image_size=64", "batch_size=2", "steps=6")
DIVERGING = ("optimizer.learning_rate=1e30", "schedule.warmup=0")


@pytest.mark.parametrize("framework", INSTALLED_FRAMEWORKS)
def test_a_training_that_diverges_names_its_images(
    bccd_shards: Path, tmp_path: Path, framework: str
) -> None:
    recipe = override(load_recipe("demo"), [f"train.{each}" for each in (*CHANGES, *DIVERGING)])
    training = train.Training(
        recipe=recipe, data_dir=LocalDirectory(bccd_shards), framework=framework, device="cpu"
    )
    message = r"training diverged: .*, with the images .*\.jpg, .*\.jpg; last good checkpoint: none"
    with pytest.raises(DivergedError, match=message):
        train.run(training, LocalDirectory(tmp_path))
    assert len(read_log(tmp_path / "train_log.jsonl")[-1]["images"]) == 2
    assert list(tmp_path.glob("checkpoints/step-*")) == []
    assert not (tmp_path / "model").exists()
    assert not (tmp_path / "results.json").exists()
