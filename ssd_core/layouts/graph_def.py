"""TensorFlow's frozen graphs (`frozen_inference_graph.pb`), read without TensorFlow.

A file is one protocol buffer message; of its fields this module reads:

    GraphDef     repeated NodeDef node = 1
    NodeDef      string name = 1, string op = 2, repeated Attr attr = 5
    Attr         string key = 1, AttrValue value = 2
    AttrValue    TensorProto tensor = 8
    TensorProto  int32 dtype = 1, TensorShapeProto tensor_shape = 2, bytes tensor_content = 4
    TensorShapeProto  repeated Dim dim = 2
    Dim          int64 size = 1
"""

import math
from collections.abc import Iterator

import numpy as np

from ssd_core.errors import DataError
from ssd_core.layouts.protobuf import (
    Fields,
    MalformedMessageError,
    data,
    explained,
    read_fields,
    read_messages,
    text,
)
from ssd_core.structures import Array

_FLOAT32 = 1
_MAX_DIMS, _MAX_VALUES = 4, 2**28
"""No array of a network exceeds them."""
_NORMS = ("gamma", "beta", "moving_mean", "moving_variance")
_AXES = {"weights": (3, 2, 0, 1), "depthwise_weights": (2, 3, 0, 1)}
"""Of a kernel [H, W, in, out] and a depthwise one [H, W, in, 1], in the order out, in, H, W."""


def read_graph(content: bytes) -> dict[str, Array]:
    """Return the weights of a frozen graph; a dot stands for each slash in their names.

    Kernels are [out, in, H, W]; depthwise ones are [out, 1, H, W].

    Raises:
        DataError: it is not a frozen graph, or it is damaged.
    """
    kind = "a frozen graph of TensorFlow, or damaged"
    with explained(kind, "expected the file frozen_inference_graph.pb of an exported model"):
        return dict(_read_weights(read_fields(content)))


def _read_weights(graph: Fields) -> Iterator[tuple[str, Array]]:
    is_empty = True
    for node in read_messages(graph, 1):
        name = text(node, 1)
        role = name.rpartition("/")[2]
        if text(node, 2) != "Const" or role not in (*_AXES, *_NORMS, "biases"):
            continue
        is_empty = False
        array = _read_tensor(name, node)
        if role in _AXES and array.ndim == len(_AXES[role]):
            array = array.transpose(_AXES[role])
        yield name.replace("/", "."), array
    if is_empty:
        raise MalformedMessageError("it holds no weights")


def _read_tensor(name: str, node: Fields) -> Array:
    """Return the value of a constant; a single number stands for all of its elements."""
    values = [
        each
        for attr in read_messages(node, 5)
        if text(attr, 1) == "value"
        for each in read_messages(attr, 2)
    ]
    tensors = [tensor for value in values for tensor in read_messages(value, 8)]
    if len(tensors) != 1 or tensors[0].get(1) != [_FLOAT32]:
        raise DataError(f"'{name}' is not of type float32; export the model in single precision")
    (tensor,) = tensors
    content = data(tensor, 4 if 4 in tensor else 5)
    shape = [
        _read_size(dim) for sizes in read_messages(tensor, 2) for dim in read_messages(sizes, 2)
    ]
    num_values, num_bytes = math.prod(shape), len(content)
    if len(shape) > _MAX_DIMS or num_bytes not in (4, 4 * num_values) or num_values > _MAX_VALUES:
        raise MalformedMessageError(f"'{name}' has {num_bytes} bytes and shape {shape[:_MAX_DIMS]}")
    return np.broadcast_to(np.frombuffer(content, "<f4"), num_values).reshape(shape)


def _read_size(dim: Fields) -> int:
    size = dim.get(1, [0])[0]
    if not isinstance(size, int):
        raise MalformedMessageError("a size is not a number")
    return size
