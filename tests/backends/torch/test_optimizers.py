"""The update with and without the fused optimizers of torch, which NPUs lack."""

import subprocess
import sys

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


def test_an_update_does_not_load_the_compiler_of_torch():
    """It would take as long as torch itself, at each start of a training."""
    code = """
import sys, torch
from ssd_core.backends.torch.optimizers import ScaledOptimizer
from ssd_core.config import LossScaleConfig, OptimizerConfig

weight = torch.nn.Parameter(torch.ones(2))
weight.grad = torch.ones(2)
for name in ("sgd", "adamw"):
    config = OptimizerConfig(name=name, learning_rate=1, weight_decay=0)
    ScaledOptimizer({"w": weight}, config, LossScaleConfig(), is_fused=True).update(0.1)
assert "torch._dynamo" not in sys.modules
"""
    subprocess.run([sys.executable, "-c", code], check=True)
