"""The heads, which classify the anchors of all levels or place them."""

from mindspore import Tensor, nn, ops

from ssd_core.backends.mindspore.backbones.layers import ConvNorm, convolution
from ssd_core.backends.mindspore.norms import BatchNorm
from ssd_core.config import ModelConfig
from ssd_core.networks import TOWER_DEPTH, Design, Style


class SeparableHead(nn.Cell):
    """A depthwise 3x3 convolution and a 1x1 convolution (SSDLite, Sandler et al. 2018)."""

    def __init__(self, in_channels: int, out_channels: int, style: Style) -> None:
        super().__init__()
        self.depthwise = ConvNorm(
            in_channels, in_channels, style, kernel_size=3, stride=1, groups=in_channels
        )
        self.conv = convolution(in_channels, out_channels, 1)

    def construct(self, features: Tensor) -> Tensor:
        """Return [B, out_channels, H, W]."""
        return self.conv(ops.relu6(self.depthwise(features)))


class SharedHead(nn.Cell):
    """A tower of convolutions that all levels share, with batch normalisation for each level.

    The head of RetinaNet (Lin et al. 2017, section 4) with the norms of TensorFlow's SSD.
    """

    def __init__(self, channels: int, out_channels: int, num_levels: int, style: Style) -> None:
        super().__init__()
        self.tower = nn.CellList(
            [convolution(channels, channels, 3, padding=1) for _ in range(TOWER_DEPTH)]
        )
        self.norms = nn.CellList(
            [
                nn.CellList([BatchNorm(channels, style.norm) for _ in range(TOWER_DEPTH)])
                for _ in range(num_levels)
            ]
        )
        self.conv = convolution(channels, out_channels, 3, padding=1)

    def construct(self, features: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        """Return [B, out_channels, H, W] of each level."""
        outputs: tuple[Tensor, ...] = ()
        for index, level in enumerate(features):
            for depth in range(TOWER_DEPTH):
                level = ops.relu6(self.norms[index][depth](self.tower[depth](level)))
            outputs = (*outputs, self.conv(level))
        return outputs


def build_head(config: ModelConfig, channels: tuple[int, ...], num_outputs: int) -> nn.Cell:
    """Return a head with `num_outputs` for each anchor, shared by the levels or a list of them."""
    style = Design.of(config).heads
    widths = [len(level.shapes) * num_outputs for level in config.anchors]
    if config.head == "shared":
        return SharedHead(channels[0], widths[0], len(channels), style)
    pairs = zip(channels, widths, strict=True)
    if config.head == "separable":
        return nn.CellList([SeparableHead(*pair, style) for pair in pairs])
    return nn.CellList([convolution(*pair, 3, padding=1) for pair in pairs])


def join_levels(outputs: tuple[Tensor, ...], num_outputs: int) -> Tensor:
    """Concatenate the anchors of all levels, rows and columns: [B, A, num_outputs]."""
    return ops.cat([_flatten(level, num_outputs) for level in outputs], 1)


def _flatten(outputs: Tensor, num_outputs: int) -> Tensor:
    _, channels, rows, columns = outputs.shape  # the number of images may be open in an export
    anchors = channels * rows * columns // num_outputs
    return outputs.transpose(0, 2, 3, 1).reshape(-1, anchors, num_outputs)
