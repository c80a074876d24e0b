"""The network: a backbone, and two convolutions per level that classify and place its anchors."""

import math
from collections.abc import Mapping

import mindspore as ms
import numpy as np
from mindspore import Parameter, Tensor, nn, ops

from ssd_core.backends.mindspore.backbones import BACKBONES, convolution
from ssd_core.backends.weights import check_arrays
from ssd_core.config import ModelConfig
from ssd_core.errors import UsageError
from ssd_core.structures import Array


class Ssd(nn.Cell):
    """Single shot detector (SSD paper, section 2): images in, logits and offsets of anchors out."""

    def __init__(self, config: ModelConfig, num_classes: int) -> None:
        super().__init__()
        self.backbone, extras = BACKBONES[config.backbone](config.norm)
        self.extras = nn.CellList(extras)
        channels = (*self.backbone.channels, *(layer.out_channels for layer in extras))
        self.heads = Heads(config, channels, num_classes)
        self._num_outputs = num_classes + 1
        self._background_bias = config.background_bias
        self._mean, self._std = Tensor(config.mean), Tensor(config.std)

    @property
    def named_parameters(self) -> dict[str, Parameter]:
        """Weights and the statistics of norms, by their names on disk."""
        return dict(self.parameters_and_names())

    def construct(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Return logits [B, A, K + 1] and offsets [B, A, 4] of [B, S, S, 3] RGB 0..255.

        The anchors are in the order of `generate_anchors`.
        """
        inputs = (images.astype(ms.float32) - self._mean) / self._std
        features = self.backbone(inputs.transpose(0, 3, 1, 2))
        for layer in self.extras:
            features = (*features, layer(features[-1]))
        return self.heads(features)

    def initialize(self, seed: int) -> None:
        """Draw new weights; the same seed gives the same weights on every device.

        The backbone gets He's normal distribution, the rest Xavier's uniform one as in mmdetection;
        biases are 0, except for those of the background logit.
        """
        generator = np.random.default_rng(seed)
        for name, parameter in self.named_parameters.items():
            if parameter.ndim == 4:
                draw = _draw_he if name.startswith("backbone.") else _draw_xavier
                parameter.set_data(Tensor(draw(generator, parameter.shape)))
            elif name.startswith("heads.cls.") and name.endswith(".bias"):
                bias = np.zeros(parameter.shape, np.float32)
                bias[:: self._num_outputs] = self._background_bias
                parameter.set_data(Tensor(bias))
            elif name.endswith(".bias"):
                parameter.set_data(ops.zeros_like(parameter))


class Heads(nn.Cell):
    """One 3x3 convolution per level for the classes of its anchors, and one for their offsets."""

    def __init__(self, config: ModelConfig, channels: tuple[int, ...], num_classes: int) -> None:
        super().__init__()
        shapes = [len(level.shapes) for level in config.anchors]
        self.cls, self.bbox = (
            nn.CellList(
                [
                    convolution(width, count * num_outputs, 3, padding=1)
                    for width, count in zip(channels, shapes, strict=True)
                ]
            )
            for num_outputs in (num_classes + 1, 4)
        )
        self._num_outputs = num_classes + 1

    def construct(self, features: tuple[Tensor, ...]) -> tuple[Tensor, Tensor]:
        """Return the outputs of all levels, rows and columns, one anchor after the other."""
        logits, offsets = [], []
        for index, level in enumerate(features):
            logits.append(_flatten(self.cls[index](level), self._num_outputs))
            offsets.append(_flatten(self.bbox[index](level), 4))
        return ops.cat(logits, 1), ops.cat(offsets, 1)


def build_model(config: ModelConfig, num_classes: int) -> Ssd:
    """Return an `Ssd` with arbitrary weights."""
    if config.padding != "symmetric":
        raise UsageError(
            f"model.padding: backbone '{config.backbone}' of framework 'mindspore' does not "
            f"implement '{config.padding}'; use 'symmetric'"
        )
    return Ssd(config, num_classes)


def copy_to_arrays(parameters: Mapping[str, Parameter]) -> dict[str, Array]:
    """Return copies of all parameters."""
    return {name: parameter.asnumpy().copy() for name, parameter in parameters.items()}


def copy_to_parameters(arrays: Mapping[str, Array], parameters: Mapping[str, Parameter]) -> None:
    """Overwrite `parameters` with the arrays of the same names; on a DataError nothing changes."""
    check_arrays(
        arrays,
        {
            name: (each.shape, np.dtype(ms.dtype_to_nptype(each.dtype)))
            for name, each in parameters.items()
        },
    )
    for name, parameter in parameters.items():
        parameter.set_data(Tensor(arrays[name]))


def _flatten(outputs: Tensor, num_outputs: int) -> Tensor:
    return outputs.transpose(0, 2, 3, 1).reshape(outputs.shape[0], -1, num_outputs)


def _draw_he(generator: np.random.Generator, shape: tuple[int, ...]) -> Array:
    """Return He's normal distribution for the outputs of a convolution before a ReLU."""
    fan_out = shape[0] * math.prod(shape[2:])
    return (generator.standard_normal(shape) * math.sqrt(2 / fan_out)).astype(np.float32)


def _draw_xavier(generator: np.random.Generator, shape: tuple[int, ...]) -> Array:
    """Return Glorot's uniform distribution."""
    limit = math.sqrt(6 / ((shape[0] + shape[1]) * math.prod(shape[2:])))
    return generator.uniform(-limit, limit, shape).astype(np.float32)
