"""The update with and without the fused optimizers of torch, which NPUs lack."""

import pytest
import torch

from ssd_core.backends.torch.optimizers import ScaledOptimizer
from ssd_core.config import LossScaleConfig, OptimizerConfig


@pytest.mark.parametrize("name", ["sgd", "adamw"])
@pytest.mark.parametrize("is_fused", [True, False])
def test_only_updates_with_finite_gradients_are_made(name, is_fused):
    weight = torch.nn.Parameter(torch.ones(2, 3))
    optimizer = ScaledOptimizer(
        {"w": weight},
        OptimizerConfig(name=name, learning_rate=1, weight_decay=0.1),
        LossScaleConfig(start=8, growth_interval=2),
        is_fused=is_fused,
    )
    for gradient, scale in [(8, 8), (torch.inf, 8), (4, 4), (torch.nan, 4), (2, 2), (2, 2), (4, 4)]:
        before = weight.detach().clone()
        weight.grad = torch.full((2, 3), float(gradient))
        norm, used_scale = optimizer.update(0.01).tolist()
        assert used_scale == scale
        is_finite = gradient < torch.inf
        assert torch.equal(weight, before) == (not is_finite)
        if is_finite:
            assert norm == pytest.approx(6**0.5)
