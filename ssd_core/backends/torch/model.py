"""The network: a backbone, and two heads per level that classify and place its anchors."""

from collections.abc import Callable, Mapping
from functools import partial

import numpy as np
import torch
from torch import Tensor, nn

from ssd_core.backends.torch.backbones import BACKBONES
from ssd_core.backends.torch.heads import build_head, join_levels
from ssd_core.backends.torch.pyramid import Pyramid
from ssd_core.backends.weights import ArrayTypes, check_arrays
from ssd_core.config import ModelConfig
from ssd_core.networks import Design, check_model
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
        self.backbone, extras = BACKBONES[config.backbone](Design.of(config))
        self.extras = nn.ModuleList(extras)
        channels = (*self.backbone.channels, *(layer.out_channels for layer in extras))
        if config.pyramid:
            num_levels = len(config.anchors)
            self.pyramid = Pyramid(channels, config.pyramid, config.padding, num_levels)
            channels = (config.pyramid.channels,) * num_levels
        outputs = {"cls": num_classes + 1, "bbox": 4}
        self.heads = nn.ModuleDict(
            {name: build_head(config, channels, count) for name, count in outputs.items()}
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
        for name, part in self.named_children():
            draw = he if name == "backbone" else xavier
            _initialize(part, partial(draw, generator=generator))
        for name, parameter in self.heads["cls"].named_parameters():
            if name.endswith("bias") and not name.startswith("tower."):
                nn.init.constant_(parameter[:: self._num_outputs], self._config.background_bias)

    def normalize(self, images: Tensor) -> Tensor:
        """Turn [B, S, S, 3] RGB 0..255 into the [B, 3, S, S] input of `forward`, channels last."""
        return images.permute(0, 3, 1, 2).float().sub_(self.mean).div_(self.std)

    def forward(self, inputs: Tensor) -> tuple[Tensor, Tensor]:
        """Return logits [B, A, K + 1] and offsets [B, A, 4] in the order of `generate_anchors`."""
        features = self.compute_features(inputs)
        logits = join_levels(self.heads["cls"](features), self._num_outputs)
        return logits, join_levels(self.heads["bbox"](features), 4)

    def compute_features(self, inputs: Tensor) -> list[Tensor]:
        """Return the feature maps of all levels, finest first."""
        features: list[Tensor] = self.backbone(inputs)
        for layer in self.extras:
            features.append(layer(features[-1]))
        return self.pyramid(features) if self._config.pyramid else features


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
