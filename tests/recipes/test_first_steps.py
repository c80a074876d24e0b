"""A recipe learns from random weights, too."""

import pytest

from ssd_core.backends import open_backend
from ssd_core.data.shards.reader import open_split
from ssd_core.recipes import load_recipe
from ssd_core.stages.feed import open_loader
from ssd_core.store import LocalDirectory


def test_ssd300_vgg16_learns_from_random_weights_at_its_full_rate(bccd_shards):
    """Without a warm-up, photograph by photograph; without its clip_norm step 5 is NaN."""
    config = load_recipe("ssd300_vgg16").train.model_copy(update={"batch_size": 1})
    learner = open_backend("torch", "cpu", "fp32").learner(config, 3)
    loader = open_loader(config, open_split(LocalDirectory(bccd_shards), "train"))
    rate = config.optimizer.learning_rate
    losses = [learner.step(batch, rate)()["loss"] for batch in loader.batches(0, 6)]
    assert losses[0] == pytest.approx(44, abs=10)
    assert max(losses) < 2 * losses[0]
    assert losses[-1] < losses[0] / 2
