"""VGG16 and its extra layers, as in the SSD paper and as in MindSpore."""

import mindspore as ms
from mindspore import Parameter, Tensor, nn, ops

from ssd_core.backends.mindspore.backbones.layers import Backbone, convolution
from ssd_core.networks import DROPOUT_ROUNDS, DROPOUT_STRIDE, EXTRAS, VGG16, Extra


class Vgg16(Backbone):
    """VGG16 as in the SSD paper, section 3: conv4_3 normalised, fc6 and fc7 convolutions.

    MindSpore's variant `is_linear` has neither biases nor that norm, and dropout in place of the
    activations of fc6 and fc7. At 300 px the two levels have 38 and 19 cells per side.
    """

    channels = (512, 1024)

    def __init__(self, *, is_linear: bool) -> None:
        super().__init__()
        in_channels, bias = 3, not is_linear
        self._stages = []
        for stage, widths in VGG16.items():
            names = [f"conv{stage}_{index}" for index in range(1, len(widths) + 1)]
            for name, width in zip(names, widths, strict=True):
                setattr(self, name, convolution(in_channels, width, 3, padding=1, bias=bias))
                in_channels = width
            self._stages.append(names)
        self.conv4_3_norm = nn.Identity() if is_linear else L2Norm(512, scale=20.0)
        self.fc6 = convolution(512, 1024, 3, padding=6, dilation=6, bias=bias)
        self.fc7 = convolution(1024, 1024, 1, bias=bias)
        self.dropout6, self.dropout7 = Dropout(0), Dropout(1)
        self._is_linear = is_linear
        # Pools 3 and 4 round up, as those of the Caffe original do: 75 cells become 38.
        self._halve_up = nn.MaxPool2d(2, 2, pad_mode="same")
        self._halve = self._halve_up if is_linear else nn.MaxPool2d(2, 2)
        self._smooth = nn.MaxPool2d(3, 1, pad_mode="same")

    def construct(self, images: Tensor) -> tuple[Tensor, ...]:
        """Return the feature maps of conv4_3 and fc7."""
        features = self._stage(0, images)
        features = self._stage(1, self._halve(features))
        features = self._stage(2, self._halve(features))
        conv4_3 = self._stage(3, self._halve_up(features))
        features = self._smooth(self._stage(4, self._halve_up(conv4_3)))
        if self._is_linear:
            features = self.dropout6(self.fc6(features), images)
            features = self.dropout7(self.fc7(features), images)
        else:
            features = ops.relu(self.fc7(ops.relu(self.fc6(features))))
        return self.conv4_3_norm(conv4_3), features

    def _stage(self, stage: int, features: Tensor) -> Tensor:
        for name in self._stages[stage]:
            features = ops.relu(getattr(self, name)(features))
        return features


class Dropout(nn.Cell):
    """Zeroes half of the values and doubles the others in training (Srivastava et al. 2014)."""

    def __init__(self, number: int) -> None:
        super().__init__()
        self._number = number

    def construct(self, features: Tensor, images: Tensor) -> Tensor:
        """Return [B, C, H, W] with a mask that `images` [B, 3, S, S] determine, see `networks`."""
        if not self.training:
            return features
        pixels = (images * 64).astype(ms.int32)
        seeds = pixels.reshape(len(images), -1).sum(axis=1, keepdims=True) + self._number
        positions = ops.arange(features[0].size, dtype=ms.int32)
        noise = positions * DROPOUT_STRIDE + seeds
        for _ in range(DROPOUT_ROUNDS):
            noise = noise * (noise * 2 + 1)
        return features * ops.stop_gradient(noise.view(features.shape) >= 0) * 2


class ExtraLayer(nn.Cell):
    """A 1x1 and a larger convolution that add a coarser level (SSD paper, section 3).

    Those of MindSpore `is_linear` have neither biases nor activations.
    """

    def __init__(self, in_channels: int, extra: Extra, *, is_linear: bool) -> None:
        super().__init__()
        self.out_channels, kernel_size, stride, padding = extra
        hidden, bias = self.out_channels // 2, not is_linear
        self.conv1 = convolution(in_channels, hidden, 1, bias=bias)
        self.conv2 = convolution(
            hidden, self.out_channels, kernel_size, stride=stride, padding=padding, bias=bias
        )
        self._is_linear = is_linear

    def construct(self, features: Tensor) -> Tensor:
        """Return the feature map of the next level."""
        if self._is_linear:
            return self.conv2(self.conv1(features))
        return ops.relu(self.conv2(ops.relu(self.conv1(features))))


class L2Norm(nn.Cell):
    """Scales each position's channels to a learned length (ParseNet, Liu et al. 2015)."""

    def __init__(self, num_channels: int, *, scale: float) -> None:
        super().__init__()
        self.scale = Parameter(ops.full((num_channels,), scale, dtype=ms.float32))

    def construct(self, features: Tensor) -> Tensor:
        """Return `features` normalised, in single precision: squares overflow half types."""
        features = features.astype(ms.float32)
        length = ops.sqrt((features * features).sum(axis=1, keepdims=True))
        return features / ops.maximum(length, 1e-12) * self.scale.view(1, -1, 1, 1)


def build_vgg16(name: str) -> tuple[Vgg16, list[ExtraLayer]]:
    """Return one of the networks of the SSD paper, or MindSpore's; none has batch normalisation.

    At 300 px the extra levels have 10, 5, 3 and 1 cells per side, at 512 px 16, 8, 4, 2 and 1.
    """
    is_linear = name == "vgg16_linear"
    widths = (1024, *(extra.out_channels for extra in EXTRAS[name]))
    extras = [
        ExtraLayer(width, extra, is_linear=is_linear)
        for width, extra in zip(widths, EXTRAS[name], strict=False)
    ]
    return Vgg16(is_linear=is_linear), extras
