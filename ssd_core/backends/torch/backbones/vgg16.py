"""VGG16 and its extra layers, as in the SSD paper and as in MindSpore."""

import torch
from torch import Tensor, nn
from torch.nn import functional

from ssd_core.backends.torch.backbones.layers import Backbone
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
        for stage, widths in VGG16.items():
            for index, width in enumerate(widths, 1):
                convolution = nn.Conv2d(in_channels, width, 3, padding=1, bias=bias)
                self.add_module(f"conv{stage}_{index}", convolution)
                in_channels = width
        self.conv4_3_norm = nn.Identity() if is_linear else L2Norm(512, scale=20.0)
        self.fc6 = nn.Conv2d(512, 1024, 3, padding=6, dilation=6, bias=bias)
        self.fc7 = nn.Conv2d(1024, 1024, 1, bias=bias)
        self.dropout6, self.dropout7 = Dropout(0), Dropout(1)
        self._is_linear = is_linear

    def forward(self, images: Tensor) -> list[Tensor]:
        """Return the feature maps of conv4_3 and fc7."""
        features = self._stage(1, images)
        for stage in (2, 3, 4):
            # Pools 3 and 4 round up, as those of the Caffe original do: 75 cells become 38.
            features = functional.max_pool2d(features, 2, ceil_mode=self._is_linear or stage == 4)
            features = self._stage(stage, features)
        conv4_3 = self.conv4_3_norm(features)
        features = self._stage(5, functional.max_pool2d(features, 2, ceil_mode=True))
        features = functional.max_pool2d(features, 3, stride=1, padding=1)
        if self._is_linear:
            features = self.dropout6(self.fc6(features), images)
            features = self.dropout7(self.fc7(features), images)
        else:
            features = functional.relu_(self.fc7(functional.relu_(self.fc6(features))))
        return [conv4_3, features]

    def _stage(self, stage: int, features: Tensor) -> Tensor:
        for index in range(1, len(VGG16[stage]) + 1):
            features = functional.relu_(self.get_submodule(f"conv{stage}_{index}")(features))
        return features


class Dropout(nn.Module):
    """Zeroes half of the values and doubles the others in training (Srivastava et al. 2014)."""

    def __init__(self, number: int) -> None:
        super().__init__()
        self._number = number

    def forward(self, features: Tensor, images: Tensor) -> Tensor:
        """Return [B, C, H, W] with a mask that `images` [B, 3, S, S] determine, see `networks`."""
        if not self.training:
            return features
        with torch.no_grad():
            pixels = (images.flatten(1) * 64).to(torch.int32)
            seeds = pixels.sum(1, keepdim=True, dtype=torch.int32) + self._number
            positions = torch.arange(features[0].numel(), dtype=torch.int32, device=images.device)
            noise = positions * DROPOUT_STRIDE + seeds
            for _ in range(DROPOUT_ROUNDS):
                noise = noise * (noise * 2 + 1)
            mask = (noise >= 0).view_as(features)
        return features * mask * 2


class ExtraLayer(nn.Module):
    """A 1x1 and a larger convolution that add a coarser level (SSD paper, section 3).

    Those of MindSpore `is_linear` have neither biases nor activations.
    """

    def __init__(self, in_channels: int, extra: Extra, *, is_linear: bool) -> None:
        super().__init__()
        self.out_channels, kernel_size, stride, padding = extra
        hidden, bias = self.out_channels // 2, not is_linear
        self.conv1 = nn.Conv2d(in_channels, hidden, 1, bias=bias)
        self.conv2 = nn.Conv2d(
            hidden, self.out_channels, kernel_size, stride=stride, padding=padding, bias=bias
        )
        self._is_linear = is_linear

    def forward(self, features: Tensor) -> Tensor:
        """Return the feature map of the next level."""
        if self._is_linear:
            linear: Tensor = self.conv2(self.conv1(features))
            return linear
        return functional.relu_(self.conv2(functional.relu_(self.conv1(features))))


class L2Norm(nn.Module):
    """Scales each position's channels to a learned length (ParseNet, Liu et al. 2015)."""

    def __init__(self, num_channels: int, *, scale: float) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.full((num_channels,), scale))

    def forward(self, features: Tensor) -> Tensor:
        """Return `features` normalised, in single precision: squares overflow half types."""
        return functional.normalize(features.float()) * self.scale.view(1, -1, 1, 1)


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
