"""The wire format of protocol buffers: messages of numbered fields, without their descriptions."""

from collections.abc import Iterator
from contextlib import contextmanager

from ssd_core.errors import DataError

INTEGER, FIXED64, BYTES, FIXED32 = 0, 1, 2, 5
"""The kinds of values."""
_KINDS = (INTEGER, FIXED64, BYTES, FIXED32)
_NUM_BYTES = {FIXED64: 8, FIXED32: 4}
_MAX_NAME = 256
"""No layer of a network has a longer one."""

Fields = dict[int, list[int | memoryview]]
"""The values of a message by number: integers; all else as views of its content."""


class MalformedMessageError(Exception):
    """The content is not a message of the expected kind; the text is a clause."""


@contextmanager
def explained(kind: str, remedy: str) -> Iterator[None]:
    """Turn a MalformedMessageError in the block into a DataError about a file of this kind."""
    try:
        yield
    except MalformedMessageError as error:
        raise DataError(f"not {kind}: {error}; {remedy}") from None


def read_fields(message: bytes | memoryview) -> Fields:
    """Return the fields of a message; they share its memory.

    Raises:
        MalformedMessageError: it is cut off, or no message at all.
    """
    message = memoryview(message)
    fields: Fields = {}
    position = 0
    while position < len(message):
        key, position = _read_varint(message, position)
        number, kind = key >> 3, key & 7
        value: int | memoryview
        if kind == INTEGER:
            value, position = _read_varint(message, position)
        else:
            size = _NUM_BYTES.get(kind, 0)
            if kind == BYTES:
                size, position = _read_varint(message, position)
            value, position = message[position : position + size], position + size
        if number == 0 or kind not in _KINDS or position > len(message):
            raise MalformedMessageError("it is cut off, or of another format")
        fields.setdefault(number, []).append(value)
    return fields


def read_messages(fields: Fields, number: int) -> Iterator[Fields]:
    """Yield the messages that a field holds.

    Raises:
        MalformedMessageError: one of its values is not a message.
    """
    for value in fields.get(number, []):
        if isinstance(value, int):
            raise MalformedMessageError("a message is missing")
        yield read_fields(value)


def data(fields: Fields, number: int) -> memoryview:
    """Return the bytes of a field.

    Raises:
        MalformedMessageError: it is missing, or occurs twice.
    """
    values = fields.get(number, [])
    if len(values) != 1 or not isinstance(values[0], memoryview):
        raise MalformedMessageError(f"field {number} is missing")
    return values[0]


def text(fields: Fields, number: int) -> str:
    """Return the text of a field, cut at 256 characters.

    Raises:
        MalformedMessageError: it is missing, or is not text.
    """
    try:
        return str(data(fields, number)[:_MAX_NAME], "utf-8")
    except UnicodeDecodeError:
        raise MalformedMessageError("a name is not text") from None


def _read_varint(message: memoryview, position: int) -> tuple[int, int]:
    """Return an integer, seven bits per byte, lowest first, and the position behind it."""
    number = 0
    for index, byte in enumerate(message[position : position + 10]):
        number |= (byte & 0x7F) << 7 * index
        if byte < 0x80:
            return number, position + index + 1
    raise MalformedMessageError("it is cut off, or of another format")
