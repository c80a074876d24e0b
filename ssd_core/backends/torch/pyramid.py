"""The feature pyramid between a backbone and heads that its levels share."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from ssd_core.backends.torch.backbones.layers import ConvNorm
from ssd_core.config import PyramidSpec
from ssd_core.networks import Style


class Pyramid(nn.Module):
    """A feature pyramid (Lin et al. 2017, section 3) that goes on beyond the coarsest level.

    Every level of the backbone gets `channels` and the doubled map of the next coarser one; 3x3
    convolutions of stride 2 add the levels that are left, as in RetinaNet.
    """

    def __init__(
        self, in_channels: Sequence[int], spec: PyramidSpec, padding: str, num_levels: int
    ) -> None:
        super().__init__()
        style, width = Style(spec.norm, padding), spec.channels
        self.lateral = nn.ModuleList(nn.Conv2d(each, width, 1) for each in in_channels)
        self.smooth = nn.ModuleList(
            ConvNorm(width, width, style, kernel_size=3, stride=1) for _ in in_channels
        )
        self.coarser = nn.ModuleList(
            ConvNorm(width, width, style, kernel_size=3, stride=2)
            for _ in range(num_levels - len(in_channels))
        )

    def forward(self, features: list[Tensor]) -> list[Tensor]:
        """Return the feature maps of all levels, finest first."""
        merged: list[Tensor] = []
        for convolution, level in reversed([*zip(self.lateral, features, strict=True)]):
            lateral = convolution(level)
            if merged:
                height, width = lateral.shape[-2:]
                lateral = lateral + double(merged[0])[..., :height, :width]
            merged.insert(0, lateral)
        levels = [
            functional.relu6(smooth(level))
            for smooth, level in zip(self.smooth, merged, strict=True)
        ]
        for convolution in self.coarser:
            levels.append(functional.relu6(convolution(levels[-1])))
        return levels


def double(features: Tensor) -> Tensor:
    """Return [B, C, 2 H, 2 W], bilinear as TensorFlow and MindSpore align it.

    Even rows and columns are those of the input, each odd one is the mean of its neighbours;
    `interpolate` would shift the map by half a pixel, and is not deterministic on a GPU.
    """
    for axis in (2, 3):
        last = features.narrow(axis, -1, 1)
        following = torch.cat([features.narrow(axis, 1, features.shape[axis] - 1), last], axis)
        pairs = torch.stack([features, (features + following) / 2], axis + 1)
        features = pairs.flatten(axis, axis + 1)
    return features
