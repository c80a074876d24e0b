"""The network: a backbone, and two heads per level that classify and place its anchors."""

import math
from collections.abc import Mapping
from functools import partial

import mindspore as ms
import numpy as np
from mindspore import Parameter, Tensor, nn
from mindspore.nn.utils import no_init_parameters

from ssd_core.backends.mindspore.backbones import BACKBONES
from ssd_core.backends.mindspore.heads import build_head, join_levels
from ssd_core.backends.mindspore.pyramid import Pyramid
from ssd_core.backends.weights import ArrayTypes, check_arrays
from ssd_core.config import ModelConfig
from ssd_core.errors import UsageError
from ssd_core.networks import Design, check_model
from ssd_core.structures import Array


class Ssd(nn.Cell):
    """Single shot detector (SSD paper, section 2): images in, logits and offsets of anchors out."""

    def __init__(self, config: ModelConfig, num_classes: int, *, precision: str = "fp32") -> None:
        """Build a network whose convolutions compute in `fp32` or `fp16`, from fp32 weights."""
        check_model(config)
        if config.backbone not in BACKBONES:
            raise UsageError(
                f"model.backbone: '{config.backbone}' is not implemented in MindSpore; use "
                "--framework torch"
            )
        super().__init__()
        self.backbone, extras = BACKBONES[config.backbone](Design.of(config))
        self.extras = nn.CellList(extras)
        channels = (*self.backbone.channels, *(layer.out_channels for layer in extras))
        if config.pyramid:
            num_levels = len(config.anchors)
            self.pyramid = Pyramid(channels, config.pyramid, config.padding, num_levels)
            channels = (config.pyramid.channels,) * num_levels
        self.heads = Heads(config, channels, num_classes)
        self._num_outputs = num_classes + 1
        self._config = config
        self._mean, self._std = Tensor(config.mean), Tensor(config.std)
        if precision == "fp16":
            for _, cell in self.cells_and_names():
                if isinstance(cell, nn.Conv2d):
                    cell.to_float(ms.float16)

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
        if self._config.pyramid is not None:
            features = self.pyramid(features)
        cls_logits, bbox_regression = self.heads(features)
        return cls_logits.astype(ms.float32), bbox_regression.astype(ms.float32)

    def initialize(self, seed: int) -> None:
        """Draw new weights; the same seed gives the same weights on every device.

        Biases are 0, except for those of the background logit.
        """
        generator = np.random.default_rng(seed)
        normal = partial(_draw_normal, self._config.initial_deviation)
        is_normal = self._config.initial_weights == "normal"
        for name, parameter in self.named_parameters.items():
            if parameter.ndim == 4:
                draw = _draw_he if name.startswith("backbone.") else _draw_xavier
                values = (normal if is_normal else draw)(generator, parameter.shape)
            elif name.endswith(".bias"):
                values = np.zeros(parameter.shape, np.float32)
                if name.startswith("heads.cls.") and ".tower." not in name:
                    values[:: self._num_outputs] = self._config.background_bias
            else:
                continue
            parameter.set_data(Tensor(values))


class Heads(nn.Cell):
    """The heads for the classes of the anchors, and those for their offsets."""

    def __init__(self, config: ModelConfig, channels: tuple[int, ...], num_classes: int) -> None:
        super().__init__()
        self._num_outputs, self._is_shared = num_classes + 1, config.head == "shared"
        self.cls = build_head(config, channels, self._num_outputs)
        self.bbox = build_head(config, channels, 4)

    def construct(self, features: tuple[Tensor, ...]) -> tuple[Tensor, Tensor]:
        """Return the outputs of all levels, rows and columns, one anchor after the other."""
        if self._is_shared:
            logits, offsets = self.cls(features), self.bbox(features)
        else:  # a graph cannot call a list of cells
            logits, offsets = (), ()
            for index, level in enumerate(features):
                logits = (*logits, self.cls[index](level))
                offsets = (*offsets, self.bbox[index](level))
        return join_levels(logits, self._num_outputs), join_levels(offsets, 4)


def load_network(
    config: ModelConfig, num_classes: int, weights: Mapping[str, Array], *, precision: str = "fp32"
) -> Ssd:
    """Return a network with these weights; DataError if they do not fit."""
    with no_init_parameters():  # takes no memory; foreign weights may need any amount
        network = Ssd(config, num_classes, precision=precision)
    copy_to_parameters(weights, network.named_parameters)
    return network


def copy_to_arrays(parameters: Mapping[str, Parameter]) -> dict[str, Array]:
    """Return copies of all parameters."""
    return {name: parameter.asnumpy().copy() for name, parameter in parameters.items()}


def describe_network(config: ModelConfig, num_classes: int) -> ArrayTypes:
    """Describe the arrays of a network, without the memory that it would take."""
    with no_init_parameters():
        return _describe(Ssd(config, num_classes).named_parameters)


def copy_to_parameters(arrays: Mapping[str, Array], parameters: Mapping[str, Parameter]) -> None:
    """Overwrite `parameters` with the arrays of the same names; on a DataError nothing changes."""
    check_arrays(arrays, _describe(parameters))
    for name, parameter in parameters.items():
        parameter.set_data(Tensor(arrays[name]))


def _describe(parameters: Mapping[str, Parameter]) -> ArrayTypes:
    return {
        name: (each.shape, np.dtype(ms.dtype_to_nptype(each.dtype)))
        for name, each in parameters.items()
    }


def _draw_he(generator: np.random.Generator, shape: tuple[int, ...]) -> Array:
    """Return He's normal distribution for the outputs of a convolution before a ReLU."""
    fan_out = shape[0] * math.prod(shape[2:])
    return (generator.standard_normal(shape) * math.sqrt(2 / fan_out)).astype(np.float32)


def _draw_xavier(generator: np.random.Generator, shape: tuple[int, ...]) -> Array:
    """Return Glorot's uniform distribution."""
    limit = math.sqrt(6 / ((shape[0] + shape[1]) * math.prod(shape[2:])))
    return generator.uniform(-limit, limit, shape).astype(np.float32)


def _draw_normal(deviation: float, generator: np.random.Generator, shape: tuple[int, ...]) -> Array:
    """Return a normal distribution, cut at twice its deviation."""
    values = generator.standard_normal(shape)
    while (outside := np.abs(values) > 2).any():
        values[outside] = generator.standard_normal(outside.sum())
    return (values * deviation).astype(np.float32)
