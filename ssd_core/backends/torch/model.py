"""The network: a backbone, and two heads per level that classify and place its anchors."""

from collections.abc import Callable, Mapping
from functools import partial

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from ssd_core.backends.torch.backbones import BACKBONES, compute_features
from ssd_core.backends.torch.backbones.layers import ConvNorm
from ssd_core.backends.weights import ArrayTypes, check_arrays
from ssd_core.config import ModelConfig
from ssd_core.networks import Style, check_model
from ssd_core.structures import Array

_Draw = Callable[..., Tensor]
"""Fills a tensor with random numbers."""


class Ssd(nn.Module):
    """Single shot detector (SSD paper, section 2): images in, logits and offsets of anchors out."""

    mean: Tensor
    std: Tensor

    def __init__(self, config: ModelConfig, num_classes: int) -> None:
        check_model(config)
        super().__init__()
        self.backbone, extras = BACKBONES[config.backbone](Style.of(config))
        self.extras = nn.ModuleList(extras)
        channels = (*self.backbone.channels, *(layer.out_channels for layer in extras))
        self.heads = nn.ModuleDict(
            {"cls": _head(config, channels, num_classes + 1), "bbox": _head(config, channels, 4)}
        )
        self._num_outputs = num_classes + 1
        self._config = config
        for name, values in (("mean", config.mean), ("std", config.std)):
            self.register_buffer(name, torch.tensor(values).view(1, 3, 1, 1), persistent=False)

    def initialize(self, seed: int) -> None:
        """Draw new weights; the same seed gives the same weights on every device.

        Biases are 0, except for those of the background logit.
        """
        generator = torch.Generator().manual_seed(seed)
        he: _Draw = partial(nn.init.kaiming_normal_, mode="fan_out", nonlinearity="relu")
        xavier: _Draw = nn.init.xavier_uniform_
        if self._config.initial_weights == "normal":
            std = self._config.initial_deviation
            he = xavier = partial(nn.init.trunc_normal_, std=std, a=-2 * std, b=2 * std)
        parts: list[tuple[nn.Module, _Draw]]
        parts = [(self.backbone, he), (self.extras, xavier), (self.heads, xavier)]
        for part, draw in parts:
            _initialize(part, partial(draw, generator=generator))
        for name, parameter in self.heads["cls"].named_parameters():
            if name.endswith("bias"):
                nn.init.constant_(parameter[:: self._num_outputs], self._config.background_bias)

    def normalize(self, images: Tensor) -> Tensor:
        """Turn [B, S, S, 3] RGB 0..255 into the [B, 3, S, S] input of `forward`, channels last."""
        return images.permute(0, 3, 1, 2).float().sub_(self.mean).div_(self.std)

    def forward(self, inputs: Tensor) -> tuple[Tensor, Tensor]:
        """Return logits [B, A, K + 1] and offsets [B, A, 4] in the order of `generate_anchors`."""
        features = compute_features(self.backbone, self.extras, inputs)
        logits = _flatten(self.heads["cls"], features, self._num_outputs)
        return logits, _flatten(self.heads["bbox"], features, 4)


def load_network(config: ModelConfig, num_classes: int, weights: Mapping[str, Array]) -> Ssd:
    """Return a network with these weights; DataError if they do not fit."""
    # Foreign weights may need any amount of memory, hence check them first.
    check_arrays(weights, describe_network(config, num_classes))
    network = Ssd(config, num_classes)
    copy_to_tensors(weights, network.state_dict())
    return network


def copy_to_arrays(tensors: Mapping[str, Tensor]) -> dict[str, Array]:
    """Return copies in row-major order, whatever the tensors' device and memory format."""
    return {
        name: np.array(tensor.detach().cpu().numpy(), order="C", copy=True)
        for name, tensor in tensors.items()
    }


def describe_network(config: ModelConfig, num_classes: int) -> ArrayTypes:
    """Describe the arrays of a network, without the memory that it would take."""
    with torch.device("meta"):
        return _describe(Ssd(config, num_classes).state_dict())


def copy_to_tensors(arrays: Mapping[str, Array], tensors: Mapping[str, Tensor]) -> None:
    """Overwrite `tensors` with the arrays of the same names; on a DataError nothing changes."""
    check_arrays(arrays, _describe(tensors))
    with torch.no_grad():
        for name, tensor in tensors.items():
            tensor.copy_(torch.tensor(arrays[name]))


def _describe(tensors: Mapping[str, Tensor]) -> ArrayTypes:
    return {
        name: (tuple(tensor.shape), np.dtype(str(tensor.dtype).removeprefix("torch.")))
        for name, tensor in tensors.items()
    }


def _initialize(module: nn.Module, draw: _Draw) -> None:
    for layer in module.modules():
        if isinstance(layer, nn.Conv2d):
            draw(layer.weight)
            if layer.bias is not None:
                nn.init.zeros_(layer.bias)


class SeparableHead(nn.Module):
    """A depthwise 3x3 convolution and a 1x1 convolution (SSDLite, Sandler et al. 2018)."""

    def __init__(self, in_channels: int, out_channels: int, style: Style) -> None:
        super().__init__()
        self.depthwise = ConvNorm(
            in_channels, in_channels, style, kernel_size=3, stride=1, groups=in_channels
        )
        self.conv = nn.Conv2d(in_channels, out_channels, 1)

    def forward(self, features: Tensor) -> Tensor:
        """Return [B, out_channels, H, W]."""
        outputs: Tensor = self.conv(functional.relu6(self.depthwise(features)))
        return outputs


def _head(config: ModelConfig, channels: tuple[int, ...], num_outputs: int) -> nn.ModuleList:
    """Return one layer per level with `num_outputs` for each anchor."""
    head = nn.ModuleList()
    for width, level in zip(channels, config.anchors, strict=True):
        out_channels = len(level.shapes) * num_outputs
        if config.head == "separable":
            head.append(SeparableHead(width, out_channels, Style.of(config)))
        else:
            head.append(nn.Conv2d(width, out_channels, 3, padding=1))
    return head


def _flatten(head: nn.Module, features: list[Tensor], num_outputs: int) -> Tensor:
    """Apply a head and concatenate the anchors of all levels, rows and columns."""
    return torch.cat(
        [
            convolution(level).permute(0, 2, 3, 1).reshape(level.shape[0], -1, num_outputs)
            for convolution, level in zip(head.children(), features, strict=True)
        ],
        dim=1,
    )
