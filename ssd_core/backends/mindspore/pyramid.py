"""The feature pyramid between a backbone and heads that its levels share."""

from collections.abc import Sequence

from mindspore import Tensor, nn, ops

from ssd_core.backends.mindspore.backbones.layers import ConvNorm, convolution
from ssd_core.config import PyramidSpec
from ssd_core.networks import Style


class Pyramid(nn.Cell):
    """A feature pyramid (Lin et al. 2017, section 3) that goes on beyond the coarsest level.

    Every level of the backbone gets `channels` and the doubled map of the next coarser one; 3x3
    convolutions of stride 2 add the levels that are left, as in RetinaNet.
    """

    def __init__(
        self, in_channels: Sequence[int], spec: PyramidSpec, padding: str, num_levels: int
    ) -> None:
        super().__init__()
        style, width = Style(spec.norm, padding), spec.channels
        self.lateral = nn.CellList([convolution(each, width, 1) for each in in_channels])
        self.smooth = nn.CellList(
            [ConvNorm(width, width, style, kernel_size=3, stride=1) for _ in in_channels]
        )
        self.coarser = nn.CellList(
            [
                ConvNorm(width, width, style, kernel_size=3, stride=2)
                for _ in range(num_levels - len(in_channels))
            ]
        )

    def construct(self, features: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        """Return the feature maps of all levels, finest first."""
        top = len(features) - 1
        merged = self.lateral[top](features[top])
        levels: tuple[Tensor, ...] = (ops.relu6(self.smooth[top](merged)),)
        for index in range(top - 1, -1, -1):
            lateral = self.lateral[index](features[index])
            merged = lateral + double(merged)[:, :, : lateral.shape[2], : lateral.shape[3]]
            levels = (ops.relu6(self.smooth[index](merged)), *levels)
        for layer in self.coarser:
            levels = (*levels, ops.relu6(layer(levels[-1])))
        return levels


def double(features: Tensor) -> Tensor:
    """Return [B, C, 2 H, 2 W], bilinear as TensorFlow and MindSpore align it.

    Even rows and columns are those of the input, each odd one is the mean of its neighbours.
    """
    _, channels, rows, columns = features.shape
    following = ops.cat((features[:, :, 1:], features[:, :, -1:]), 2)
    features = ops.stack((features, (features + following) / 2), 3)
    features = features.reshape(-1, channels, 2 * rows, columns)
    following = ops.cat((features[:, :, :, 1:], features[:, :, :, -1:]), 3)
    features = ops.stack((features, (features + following) / 2), 4)
    return features.reshape(-1, channels, 2 * rows, 2 * columns)
