"""Batch normalisation in a single process."""

import pytest
import torch

from ssd_core.backends.torch.norms import BatchNorm
from ssd_core.config import NormSpec
from ssd_core.errors import UsageError


def test_a_single_value_per_channel_is_refused_in_training_only() -> None:
    norm, features = BatchNorm(4, NormSpec()), torch.ones(1, 4, 1, 1)
    with pytest.raises(UsageError, match="cannot train on one image; choose a greater"):
        norm(features)
    assert norm.eval()(features).shape == features.shape
