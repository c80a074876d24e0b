"""Backbones with their extra layers: each turns an image into the feature maps of all levels."""

import torch
from torch import Tensor, nn
from torch.nn import functional

from ssd_core.backends.torch.norms import BatchNorm


class Vgg16(nn.Module):
    """VGG16 as in the SSD paper, section 3: conv4_3 normalised, fc6 and fc7 convolutions, extras.

    The layers and their order are those of torchvision's `ssd300_vgg16`. The last two of the four
    extra layers do not pad: at 300 px the levels have 38, 19, 10, 5, 3 and 1 cells a side.
    """

    channels = (512, 1024, 512, 256, 256, 256)

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(
            *_vgg_stage(3, 64, 2),
            nn.MaxPool2d(2),
            *_vgg_stage(64, 128, 2),
            nn.MaxPool2d(2),
            *_vgg_stage(128, 256, 3),
            nn.MaxPool2d(2, ceil_mode=True),
            *_vgg_stage(256, 512, 3),
        )
        self.l2_norm = L2Norm(512, scale=20.0)
        self.fc7 = nn.Sequential(
            nn.MaxPool2d(2, ceil_mode=True),
            *_vgg_stage(512, 512, 3),
            nn.MaxPool2d(3, stride=1, padding=1),
            nn.Conv2d(512, 1024, 3, padding=6, dilation=6),
            nn.ReLU(inplace=True),
            nn.Conv2d(1024, 1024, 1),
            nn.ReLU(inplace=True),
        )
        self.extra_layers = nn.ModuleList(
            [
                _extra_layer(1024, 512, stride=2, padding=1),
                _extra_layer(512, 256, stride=2, padding=1),
                _extra_layer(256, 256, stride=1, padding=0),
                _extra_layer(256, 256, stride=1, padding=0),
            ]
        )

    def initialize(self, generator: torch.Generator) -> None:
        """Draw weights: He's normal for VGG16's own layers, Xavier's uniform for the extra ones."""
        _init_he(self.body, generator)
        _init_he(self.fc7, generator)
        init_xavier(self.extra_layers, generator)

    def forward(self, images: Tensor) -> list[Tensor]:
        """Return the feature maps of all levels, finest first."""
        conv4_3 = self.body(images)
        features = [self.l2_norm(conv4_3), self.fc7(conv4_3)]
        for layer in self.extra_layers:
            features.append(layer(features[-1]))
        return features


class Residual(nn.Module):
    """A stem and five basic blocks (He et al. 2015), each halving the image: 0.75 M parameters.

    Small enough to learn from random weights on a laptop. The levels are the last four blocks, at
    strides 8 to 64.
    """

    channels = (48, 96, 128, 128)

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(
            *_conv_norm(3, 16, kernel_size=3, stride=2), nn.ReLU(inplace=True), BasicBlock(16, 24)
        )
        widths = (24, *self.channels)
        self.blocks = nn.ModuleList(
            BasicBlock(*pair) for pair in zip(widths, widths[1:], strict=False)
        )

    def initialize(self, generator: torch.Generator) -> None:
        """Draw weights from He's normal distribution."""
        _init_he(self, generator)

    def forward(self, images: Tensor) -> list[Tensor]:
        """Return the feature maps of all levels, finest first."""
        features = [self.stem(images)]
        for block in self.blocks:
            features.append(block(features[-1]))
        return features[1:]


class BasicBlock(nn.Module):
    """Two 3x3 convolutions beside a projection, with batch normalisation; halves the side."""

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        self.residual = nn.Sequential(
            *_conv_norm(in_channels, out_channels, kernel_size=3, stride=2),
            nn.ReLU(inplace=True),
            *_conv_norm(out_channels, out_channels, kernel_size=3, stride=1),
        )
        self.shortcut = nn.Sequential(
            *_conv_norm(in_channels, out_channels, kernel_size=1, stride=2)
        )

    def forward(self, features: Tensor) -> Tensor:
        """Return [B, out_channels, H / 2, W / 2], rounded up."""
        return functional.relu_(self.residual(features).add_(self.shortcut(features)))


class L2Norm(nn.Module):
    """Scale each position's channels to a learned length (ParseNet, Liu et al. 2015)."""

    def __init__(self, num_channels: int, *, scale: float) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.full((num_channels,), scale))

    def forward(self, features: Tensor) -> Tensor:
        """Return `features` normalised, in single precision: squares overflow half types."""
        return functional.normalize(features.float()) * self.weight.view(1, -1, 1, 1)


BACKBONES: dict[str, type[Vgg16] | type[Residual]] = {"vgg16": Vgg16, "residual": Residual}


def init_xavier(module: nn.Module, generator: torch.Generator) -> None:
    """Draw the weights of all convolutions from Xavier's uniform distribution, biases 0."""
    for layer in _convolutions(module):
        nn.init.xavier_uniform_(layer.weight, generator=generator)


def _init_he(module: nn.Module, generator: torch.Generator) -> None:
    for layer in _convolutions(module):
        nn.init.kaiming_normal_(
            layer.weight, mode="fan_out", nonlinearity="relu", generator=generator
        )


def _convolutions(module: nn.Module) -> list[nn.Conv2d]:
    """Return the convolutions of `module`, with their biases set to 0."""
    layers = [layer for layer in module.modules() if isinstance(layer, nn.Conv2d)]
    for layer in layers:
        if layer.bias is not None:
            nn.init.zeros_(layer.bias)
    return layers


def _vgg_stage(in_channels: int, out_channels: int, num_layers: int) -> list[nn.Module]:
    layers: list[nn.Module] = []
    for index in range(num_layers):
        width = in_channels if index == 0 else out_channels
        layers += [nn.Conv2d(width, out_channels, 3, padding=1), nn.ReLU(inplace=True)]
    return layers


def _extra_layer(
    in_channels: int, out_channels: int, *, stride: int, padding: int
) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(in_channels, out_channels // 2, 1),
        nn.ReLU(inplace=True),
        nn.Conv2d(out_channels // 2, out_channels, 3, stride=stride, padding=padding),
        nn.ReLU(inplace=True),
    )


def _conv_norm(
    in_channels: int, out_channels: int, *, kernel_size: int, stride: int
) -> list[nn.Module]:
    """Return a convolution without bias and its batch normalisation.

    The count of batches is left out: with a fixed momentum nothing depends on it.
    """
    convolution = nn.Conv2d(
        in_channels, out_channels, kernel_size, stride, padding=kernel_size // 2, bias=False
    )
    norm = BatchNorm(out_channels)
    norm.num_batches_tracked = None
    return [convolution, norm]
