"""MindSpore's checkpoint files (`.ckpt`), read and written without MindSpore.

A file is one protocol buffer message:

    Checkpoint   repeated Value value = 1
    Value        string tag = 1, TensorProto tensor = 2
    TensorProto  repeated int64 dims = 1, string tensor_type = 2, bytes tensor_content = 3

Values of text and of hash tables, which a network does not need, are skipped.
"""

import math
import zlib
from collections.abc import Mapping

import numpy as np

from ssd_core.errors import DataError
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
_INTEGER, _BYTES = 0, 2
"""The wire types of the format."""
_CHECKSUM = b"crc_num"
"""Begins the 17 bytes that MindSpore appends on request, behind the message."""
_MAX_NAME, _MAX_DIMS = 256, 8
"""No layer of a network exceeds them."""

Fields = dict[int, list[int | memoryview]]


def read_ckpt(content: bytes) -> dict[str, Array]:
    """Return the arrays of a checkpoint by name; they share the memory of `content`.

    Raises:
        DataError: it is not a checkpoint, or it is damaged or encrypted.
    """
    arrays: dict[str, Array] = {}
    for value in _read_fields(memoryview(_verify(content))).get(1, []):
        fields = _read_fields(value)
        name = _text(fields, 1)
        tensor = _read_fields(fields[2][0]) if 2 in fields else {}
        if name in arrays:
            raise DataError(f"'{name}' occurs twice; save the checkpoint again")
        if tensor and _text(tensor, 2) != "str":
            arrays[name] = _read_array(name, tensor)
    if not arrays:
        raise _damaged("it holds no arrays")
    return arrays


def write_ckpt(arrays: Mapping[str, Array]) -> bytes:
    """Return the content of a checkpoint; MindSpore's `load_checkpoint` reads it."""
    parts = []
    for name, array in arrays.items():
        dims = array.shape or (0,)  # MindSpore's own sign for a scalar
        tensor = b"".join(_key(1, _INTEGER) + _varint(size) for size in dims)
        tensor += _field(2, _NAMES[array.dtype].encode()) + _field(3, array.tobytes())
        parts.append(_field(1, _field(1, name.encode()) + _field(2, tensor)))
    return b"".join(parts)


def _verify(content: bytes) -> bytes:
    """Return the message, compared with the checksum behind it if there is one."""
    if content[-17:-10] != _CHECKSUM:
        return content
    message = content[:-17]
    if zlib.crc32(message) != int.from_bytes(content[-10:], "big"):
        raise _damaged("its content does not give its checksum")
    return message


def _read_array(name: str, tensor: Fields) -> Array:
    kind = _text(tensor, 2)
    if kind not in _TYPES:
        raise DataError(f"'{name}' has type {kind}; expected one of {', '.join(_TYPES)}")
    content = _bytes(tensor, 3)
    dims = [size for size in tensor.get(1, []) if isinstance(size, int)]
    shape = () if dims == [0] and content else tuple(dims)
    sizes_fit = len(shape) <= _MAX_DIMS and all(size <= len(content) for size in shape)
    if not sizes_fit or math.prod(shape) * np.dtype(_TYPES[kind]).itemsize != len(content):
        raise _damaged(f"'{name}' has {len(content)} bytes and shape {shape[:_MAX_DIMS]} of {kind}")
    return np.frombuffer(content, _TYPES[kind]).reshape(shape)


def _text(fields: Fields, number: int) -> str:
    try:
        return str(_bytes(fields, number)[:_MAX_NAME], "utf-8")
    except UnicodeDecodeError:
        raise _damaged("a name is not text") from None


def _bytes(fields: Fields, number: int) -> memoryview:
    values = fields.get(number, [])
    if len(values) != 1 or not isinstance(values[0], memoryview):
        raise _damaged(f"field {number} is missing")
    return values[0]


def _read_fields(message: int | memoryview) -> Fields:
    """Return the values of a message by number: integers; text, bytes and messages as views."""
    if isinstance(message, int):
        raise _damaged("a message is missing")
    fields: Fields = {}
    position = 0
    while position < len(message):
        key, position = _read_varint(message, position)
        value, position = _read_varint(message, position)
        number, kind = key >> 3, key & 7
        if kind == _INTEGER:
            fields.setdefault(number, []).append(value)
        elif kind == _BYTES and value <= len(message) - position:
            fields.setdefault(number, []).append(message[position : position + value])
            position += value
        else:
            raise _damaged("it is cut off, or of another format")
    return fields


def _read_varint(message: memoryview, position: int) -> tuple[int, int]:
    """Return an integer, seven bits per byte, lowest first, and the position behind it."""
    number = 0
    for index, byte in enumerate(message[position : position + 10]):
        number |= (byte & 0x7F) << 7 * index
        if byte < 0x80:
            return number, position + index + 1
    raise _damaged("it is cut off, or of another format")


def _varint(number: int) -> bytes:
    parts = []
    while number > 0x7F:
        parts.append(number & 0x7F | 0x80)
        number >>= 7
    return bytes([*parts, number])


def _key(number: int, kind: int) -> bytes:
    return _varint(number << 3 | kind)


def _field(number: int, content: bytes) -> bytes:
    return _key(number, _BYTES) + _varint(len(content)) + content


def _damaged(problem: str) -> DataError:
    return DataError(
        f"not a checkpoint of MindSpore, or damaged or encrypted: {problem}; copy it again, or "
        "save it without a key"
    )
