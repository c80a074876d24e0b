"""ResNet-50 without its classifier."""

from mindspore import Parameter, Tensor, nn, ops

from ssd_core.backends.mindspore.backbones.layers import Backbone, ConvNorm
from ssd_core.networks import RESNET50, Style


class ResNet50(Backbone):
    """ResNet-50 (He et al. 2015, table 1), whose 3x3 convolutions have the strides.

    The levels are the last three stages, at strides 8, 16 and 32.
    """

    channels = (512, 1024, 2048)

    def __init__(self, style: Style) -> None:
        super().__init__()
        self.stem = ConvNorm(3, 64, style, kernel_size=7, stride=2)
        self.conv2 = _stage(64, *RESNET50[2], style, stride=1)
        self.conv3 = _stage(256, *RESNET50[3], style, stride=2)
        self.conv4 = _stage(512, *RESNET50[4], style, stride=2)
        self.conv5 = _stage(1024, *RESNET50[5], style, stride=2)
        is_symmetric = style.padding == "symmetric"
        self._pool = nn.MaxPool2d(
            3, 2, pad_mode="pad" if is_symmetric else "same", padding=1 if is_symmetric else 0
        )

    def construct(self, images: Tensor) -> tuple[Tensor, ...]:
        """Return the feature maps of the last three stages."""
        conv3 = self.conv3(self.conv2(self._pool(ops.relu(self.stem(images)))))
        conv4 = self.conv4(conv3)
        return conv3, conv4, self.conv5(conv4)


class Bottleneck(nn.Cell):
    """A 1x1, a 3x3 and a 1x1 convolution beside the input, which a convolution may project."""

    def __init__(self, in_channels: int, out_channels: int, style: Style, *, stride: int) -> None:
        super().__init__()
        hidden = out_channels // 4
        self.first = ConvNorm(in_channels, hidden, style, kernel_size=1, stride=1)
        self.second = ConvNorm(hidden, hidden, style, kernel_size=3, stride=stride)
        self.third = ConvNorm(hidden, out_channels, style, kernel_size=1, stride=1)
        # Begins as the identity (Goyal et al. 2017, section 5.1).
        self.third.norm.scale = Parameter(ops.zeros(out_channels))
        self.shortcut = (
            ConvNorm(in_channels, out_channels, style, kernel_size=1, stride=stride)
            if in_channels != out_channels
            else nn.Identity()
        )

    def construct(self, features: Tensor) -> Tensor:
        """Return [B, out_channels, H / stride, W / stride], rounded up."""
        residual = ops.relu(self.second(ops.relu(self.first(features))))
        return ops.relu(self.third(residual) + self.shortcut(features))


def _stage(
    in_channels: int, channels: int, count: int, style: Style, *, stride: int
) -> nn.SequentialCell:
    first = Bottleneck(in_channels, channels, style, stride=stride)
    others = [Bottleneck(channels, channels, style, stride=1) for _ in range(count - 1)]
    return nn.SequentialCell([first, *others])
