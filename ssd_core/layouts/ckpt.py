"""MindSpore's checkpoint files (`.ckpt`), read and written without MindSpore.

A file is one protocol buffer message:

    Checkpoint   repeated Value value = 1
    Value        string tag = 1, TensorProto tensor = 2
    TensorProto  repeated int64 dims = 1, string tensor_type = 2, bytes tensor_content = 3

Values of text and of hash tables, which a network does not need, are skipped.
"""

import math
import zlib
from collections.abc import Iterator, Mapping

import numpy as np

from ssd_core.errors import DataError
from ssd_core.layouts.protobuf import (
    BYTES,
    INTEGER,
    Fields,
    MalformedMessageError,
    data,
    explained,
    read_fields,
    read_messages,
    text,
)
from ssd_core.structures import Array

_TYPES = {
    "Float16": "<f2",
    "Float32": "<f4",
    "Float64": "<f8",
    "Int32": "<i4",
    "Int64": "<i8",
    "Bool": "?",
}
_NAMES = {np.dtype(code): name for name, code in _TYPES.items()}
_CHECKSUM = b"crc_num"
"""Begins the 17 bytes that MindSpore appends on request, behind the message."""
_MAX_DIMS = 8
"""No array of a network has more."""


def read_ckpt(content: bytes) -> dict[str, Array]:
    """Return the arrays of a checkpoint by name; they share the memory of `content`.

    Raises:
        DataError: it is not a checkpoint, or it is damaged or encrypted.
    """
    kind = "a checkpoint of MindSpore, or damaged or encrypted"
    with explained(kind, "copy it again, or save it without a key"):
        return dict(_read_values(_verify(content)))


def write_ckpt(arrays: Mapping[str, Array]) -> bytes:
    """Return the content of a checkpoint; MindSpore's `load_checkpoint` reads it."""
    parts = []
    for name, array in arrays.items():
        dims = array.shape or (0,)  # MindSpore's own sign for a scalar
        tensor = b"".join(_key(1, INTEGER) + _varint(size) for size in dims)
        tensor += _field(2, _NAMES[array.dtype].encode()) + _field(3, array.tobytes())
        parts.append(_field(1, _field(1, name.encode()) + _field(2, tensor)))
    return b"".join(parts)


def _read_values(message: bytes) -> Iterator[tuple[str, Array]]:
    names = set()
    for fields in read_messages(read_fields(message), 1):
        name = text(fields, 1)
        if name in names:
            raise DataError(f"'{name}' occurs twice; save the checkpoint again")
        for tensor in read_messages(fields, 2):
            if text(tensor, 2) != "str":
                names.add(name)
                yield name, _read_array(name, tensor)
    if not names:
        raise MalformedMessageError("it holds no arrays")


def _verify(content: bytes) -> bytes:
    """Return the message, compared with the checksum behind it if there is one."""
    if content[-17:-10] != _CHECKSUM:
        return content
    message = content[:-17]
    if zlib.crc32(message) != int.from_bytes(content[-10:], "big"):
        raise MalformedMessageError("its content does not give its checksum")
    return message


def _read_array(name: str, tensor: Fields) -> Array:
    kind = text(tensor, 2)
    if kind not in _TYPES:
        raise DataError(f"'{name}' has type {kind}; expected one of {', '.join(_TYPES)}")
    content = data(tensor, 3)
    dims = [size for size in tensor.get(1, []) if isinstance(size, int)]
    shape = () if dims == [0] and content else tuple(dims)
    sizes_fit = len(shape) <= _MAX_DIMS and all(size <= len(content) for size in shape)
    if not sizes_fit or math.prod(shape) * np.dtype(_TYPES[kind]).itemsize != len(content):
        raise MalformedMessageError(
            f"'{name}' has {len(content)} bytes and shape {shape[:_MAX_DIMS]} of {kind}"
        )
    return np.frombuffer(content, _TYPES[kind]).reshape(shape)


def _varint(number: int) -> bytes:
    parts = []
    while number > 0x7F:
        parts.append(number & 0x7F | 0x80)
        number >>= 7
    return bytes([*parts, number])


def _key(number: int, kind: int) -> bytes:
    return _varint(number << 3 | kind)


def _field(number: int, content: bytes) -> bytes:
    return _key(number, BYTES) + _varint(len(content)) + content
