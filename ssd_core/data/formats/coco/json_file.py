"""The COCO annotation file, its objects as columns; what is not asked for is skipped unread."""

import codecs
import gc
import json
import re
from collections.abc import Iterator
from contextlib import contextmanager

import msgspec
import numpy as np

from ssd_core.data.findings import Findings
from ssd_core.data.formats.coco.entries import (
    KeyTwiceError,
    check_keys,
    describe,
    read_entries,
)
from ssd_core.data.formats.coco.types import (
    CocoAnnotation,
    CocoContent,
    CocoFile,
    CocoObjects,
    to_columns,
)
from ssd_core.data.sources.base import Source, read_head
from ssd_core.errors import DataError

_BOM = codecs.BOM_UTF8
_UTF16 = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)
_SNIFFED_BYTES = 2**16


def is_coco(source: Source, name: str) -> bool:
    """Say whether a file begins like COCO annotations."""
    head = read_head(source, name, _SNIFFED_BYTES)
    if head.startswith(_UTF16):
        head = head.decode("utf-16", errors="ignore").encode()
    head = head.removeprefix(_BOM).lstrip()
    keys = (b'"images"', b'"annotations"', b'"categories"')
    return head.startswith(b"{") and any(key in head for key in keys)


def read_coco(source: Source, name: str, findings: Findings) -> CocoFile:
    """Read an annotation file; malformed entries are findings.

    Raises:
        DataError: it is no JSON (with line and column) or no COCO (with the JSON path).
    """
    raw = b""
    try:
        with _without_garbage_collection():
            file = _decode_in_pieces(source, name)
            if file is None:
                raw = source.read(name).removeprefix(_BOM)
                file = read_entries(raw, name, findings)
            return file
    except json.JSONDecodeError as error:
        message = f"{error.msg[:1].lower()}{error.msg[1:]}"
        problem = f"line {error.lineno} column {error.colno}: {message}"
    except UnicodeDecodeError:
        is_utf16 = raw.startswith(_UTF16)
        problem = f"is {'text in UTF-16' if is_utf16 else 'not text'}, expected UTF-8"
    except UnicodeEncodeError:
        problem = "a category name holds half of a surrogate pair"
    except RecursionError:
        problem = "is nested too deeply"
    except msgspec.ValidationError as error:
        problem = describe(error)
    except KeyTwiceError as error:
        problem = str(error)
    raise DataError(f"{name}: {problem}; expected COCO annotations") from None


_PIECE_BYTES = 2**20
_SMALL_BYTES = 2**23
"""In larger files annotations are not searched for keys given twice, which no program writes."""
_TAIL_BYTES = 2**16
_BEFORE_OBJECTS = re.compile(rb'"annotations"\s*:\s*\[')
_BETWEEN_OBJECTS = re.compile(rb"\}\s*,(?=\s*\{)")
_AFTER_OBJECTS = re.compile(rb"\}(?=\s*\])")
_OBJECTS_DECODER = msgspec.json.Decoder(list[CocoAnnotation])
_DECODER = msgspec.json.Decoder(CocoContent)
_MARK = CocoAnnotation(id=0, image_id=0, category_id=0)


def _decode_in_pieces(source: Source, name: str) -> CocoFile | None:
    """Decode the annotations a piece of the file at a time; None where that does not work out.

    Text and objects of a large file would need gigabytes; columns need a tenth of that.
    """
    num_bytes = source.files[name].num_bytes
    starts = range(0, num_bytes, _PIECE_BYTES)
    pieces = (source.read_part(name, start, _PIECE_BYTES) for start in starts)
    text = bytearray(next(pieces, b"").removeprefix(_BOM))  # grows in place: images fill it
    searched = 0
    while (opening := _BEFORE_OBJECTS.search(text, searched)) is None:
        piece = next(pieces, None)
        if piece is None:
            return None
        searched = max(0, len(text) - _TAIL_BYTES)
        text += piece
    beginning = bytes(text[opening.end() :])
    del text[opening.end() :]
    found = _decode_objects(beginning, pieces)
    if found is None:
        return None
    objects, rest = found
    for part in (msgspec.json.encode(_MARK), rest, *pieces):
        text += part
    try:
        content = _DECODER.decode(text)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return None
    if content.annotations != [_MARK]:  # those in pieces were another list of this name
        return None
    is_small = num_bytes <= _SMALL_BYTES
    check_keys(source.read(name) if is_small else text, len(content.images), len(objects.ids))
    return CocoFile(content.images, objects, content.categories, len(content.images))


def _decode_objects(text: bytes, pieces: Iterator[bytes]) -> tuple[CocoObjects, bytes] | None:
    """Decode the list whose first entries are in `text`, and return what follows the last.

    Where an object ends is guessed: a wrong guess, inside of an object or of a string, leaves that
    open, and one behind the list closes too much, so that it is no JSON.
    """
    found: list[CocoObjects] = []
    while True:
        between = _BETWEEN_OBJECTS.search(text, max(0, len(text) - _TAIL_BYTES))
        objects = None if between is None else _to_objects(text[: between.start() + 1])
        if between is not None and objects is not None:
            found.append(objects)
            text = text[between.end() :]
        else:
            last = _AFTER_OBJECTS.search(text)
            objects = None if last is None else _to_objects(text[: last.end()])
            if last is not None and objects is not None:
                columns = zip(*[*found, objects], strict=True)
                return CocoObjects(*map(np.concatenate, columns)), text[last.end() :]
            if between is not None:
                return None
        piece = next(pieces, b"")
        if not piece and between is None:
            return None
        text += piece


def _to_objects(text: bytes) -> CocoObjects | None:
    try:
        return to_columns(_OBJECTS_DECODER.decode(b"[%b]" % text))
    except (msgspec.DecodeError, UnicodeDecodeError):
        return None


@contextmanager
def _without_garbage_collection() -> Iterator[None]:
    """Many small objects and no cycles: collecting in between doubles the time."""
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()
