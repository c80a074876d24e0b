"""A COCO annotation file: images and categories as entries, annotations as arrays.

Annotations are decoded in pieces: all objects at once would need as much memory as the text, and
only a piece with a malformed entry takes the slow path.
"""

import json
import re
from collections.abc import Mapping, Sequence
from contextlib import suppress
from itertools import chain
from operator import attrgetter
from typing import Annotated, Any, NamedTuple

import msgspec
import numpy as np
from msgspec import Meta, Struct

from ssd_core.data.sources.base import Source, decode_text
from ssd_core.errors import DataError
from ssd_core.structures import Annotations, Array, IntArray, make_annotations

Id = Annotated[int, Meta(ge=0, le=2**53)]
Side = Annotated[int, Meta(ge=0, lt=2**31)] | None


class CocoImage(Struct, gc=False):
    """An entry of `images`; a side of 0 pixels or none is unknown."""

    id: Id
    file_name: str
    width: Side = None
    height: Side = None


class CocoCategory(Struct, gc=False):
    """An entry of `categories`."""

    id: Id
    name: str


class _Annotation(Struct, gc=False):
    id: Id
    image_id: Id
    category_id: Id
    bbox: tuple[float, float, float, float]
    area: float | None = None
    iscrowd: int | bool = 0


class _Lists(Struct):
    images: list[Any]
    annotations: list[Any]
    categories: list[Any]


class _StrictLists(_Lists):
    images: list[CocoImage]
    categories: list[CocoCategory]


class CocoFile(NamedTuple):
    """A whole annotation file."""

    name: str
    images: Mapping[int, CocoImage]
    """The usable entries by their index."""
    num_listed: int
    categories: Sequence[CocoCategory]
    annotations: Annotations
    """One row per entry; `labels` are category ids."""
    image_ids: IntArray
    """[N] image of each annotation; UNUSABLE for a malformed entry."""
    faults: Sequence["Fault"]


class Fault(NamedTuple):
    """A malformed entry."""

    code: str
    """A key of RULES."""
    path: str
    """In JSON."""
    problem: str
    image_id: int
    """Of the image, or of the annotation's; UNUSABLE if it has none."""
    file_name: str = ""


UNUSABLE = -1

_TYPES = {"images": CocoImage, "annotations": _Annotation, "categories": CocoCategory}
_CODES = {"images": "image_malformed", "annotations": "object_malformed", "categories": ""}
"""Code of a malformed entry; without a category the class of its objects is unknown."""
_COLUMNS = {"id": int, "image_id": int, "category_id": int, "area": float, "iscrowd": bool}
_BLANK = _Annotation(0, UNUSABLE, 0, (0, 0, 0, 0))
_MAX_DIGITS = 100
_PIECE_BYTES = 2**18
_SMALL_BYTES = 2**23
"""In larger files annotations are not searched for repeated keys, which no program writes."""
_OPENING = re.compile(rb'"annotations"\s*:\s*\[')
_BETWEEN = re.compile(rb"\}\s*,\s*\{")
_NUMBER = re.compile(r"-?\d{1,18}(\.\d{0,18})?")
_TEXTS = {"file_name", "name"}
_WORD = re.compile(r"`([^`]*)`")
_WORDS = {
    "array": "a list",
    "bool": "true or false",
    "bool | int": "0 or 1",
    "float": "a number",
    "float | null": "a number",
    "int": "a whole number",
    "int | null": "a whole number",
    "object": "an object",
    "str": "text",
}
"""Types of the decoder in JSON's words."""
_PHRASES = {
    "Object missing required field": "has no",
    "`array` of length 4": "`array` of x, y, width and height",
    "got `float`": "got one with a point",
}
_EXPECTED = "expected COCO: an object with the lists 'images', 'annotations' and 'categories'"
_IN_PIECES = [0]
"""Replaces the annotations that were decoded in pieces."""


def read_coco(source: Source, name: str) -> CocoFile:
    """Read an annotation file.

    Raises:
        DataError: it is not JSON (with line and column) or not COCO (with the JSON path).
    """
    raw = source.read(name)
    try:
        return _read(raw, name)
    except json.JSONDecodeError as error:
        problem = f"line {error.lineno} column {error.colno}: {describe_problem(error.msg)}"
    except RecursionError:
        problem = "is nested too deeply"
    except UnicodeEncodeError:
        problem = "holds half of a surrogate pair"
    except msgspec.ValidationError as error:
        problem = describe_problem(str(error))
    except DataError as error:
        problem = str(error)
    raise DataError(f"{name}: {problem}; {_EXPECTED}") from None


def _read(raw: bytes, name: str) -> CocoFile:
    faults: list[Fault] = []
    pieces: list[list[Array]] = []
    opening = _OPENING.search(raw)
    frame = raw
    try:
        if opening is not None:
            end = _decode_pieces(raw, opening.end(), pieces, faults)
            frame = b"%b0%b" % (raw[: opening.end()], raw[end:])
        lists = _decode(frame)
    except (json.JSONDecodeError, DataError):  # not JSON, or a cut inside of an entry
        frame, lists, pieces = raw, _decode(raw), []
    if not pieces or lists.annotations != _IN_PIECES:  # or those of another list with this name
        faults = []
        pieces = [_to_columns(_convert(lists.annotations, "annotations", faults))]
    columns = map(np.concatenate, zip(*pieces, strict=True))
    ids, image_ids, category_ids, areas, is_crowd, boxes = columns
    _check_keys(raw if len(raw) <= _SMALL_BYTES else frame, len(lists.images), len(ids))
    with np.errstate(over="ignore", invalid="ignore"):  # the checks find values that are not finite
        areas = np.where((areas > 0) & (areas < np.inf), areas, boxes[:, 2] * boxes[:, 3])
        boxes[:, 2:] += boxes[:, :2]
        boxes = boxes.astype(np.float32)
    annotations = make_annotations(boxes, category_ids, areas=areas, is_crowd=is_crowd, box_ids=ids)
    found = enumerate(_convert(lists.images, "images", faults))
    images = {index: image for index, image in found if image is not None}
    categories = _convert(lists.categories, "categories", faults)
    return CocoFile(name, images, len(lists.images), categories, annotations, image_ids, faults)


def _decode_pieces(raw: bytes, start: int, pieces: list[list[Array]], faults: list[Fault]) -> int:
    """Decode the list whose first entry begins at `start`, and return where its last one ends."""
    index = 0
    while True:
        between = _BETWEEN.search(raw, start + _PIECE_BYTES)
        piece = b"[%b]" % raw[start : between.start() + 1 if between else len(raw)]
        try:
            entries, length = _ANNOTATIONS.decode(piece), len(piece)
        except (msgspec.DecodeError, UnicodeDecodeError):
            text = decode_text(piece)
            items, stop = _PYTHON.raw_decode(text)
            entries = _convert(items, "annotations", faults, index)
            length = len(text[:stop].encode())
        pieces.append(_to_columns(entries))
        if length < len(piece):
            return start + length - 2
        if between is None:
            raise DataError("has no end")
        index += len(entries)
        start = between.end() - 1


def _decode(text: bytes) -> _Lists:
    """Decode a whole file; Python's reader accepts NaN and names the line of a mistake."""
    try:
        return _FRAME.decode(text)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return msgspec.convert(_PYTHON.decode(decode_text(text)), _Lists)


def _with_unique_keys(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        keys = [key for key, _ in pairs]
        key = next(key for key in keys if keys.count(key) > 1)
        where = f" of the object with id {found['id']}" if "id" in found else ""
        raise DataError(f"the key '{key}'{where} occurs twice")
    return found


def _parse_int(text: str) -> int | float:
    """Return an integer; Python refuses those of thousands of digits, which no field holds."""
    return int(text) if len(text) < _MAX_DIGITS else float(text)


_PYTHON = json.JSONDecoder(object_pairs_hook=_with_unique_keys, parse_int=_parse_int)
_ANNOTATIONS = msgspec.json.Decoder(list[_Annotation])
_FRAME = msgspec.json.Decoder(_StrictLists)


def _check_keys(text: bytes, num_images: int, num_annotations: int) -> None:
    """Look for repeated keys: cheaply, unless one occurs more often than there are entries."""
    limits = {
        **dict.fromkeys(_TYPES, 1),
        **dict.fromkeys(("image_id", "category_id", "bbox"), num_annotations),
        "file_name": num_images,
    }
    if any(text.count(b'"%b"' % key.encode()) > limit for key, limit in limits.items()):
        _PYTHON.decode(decode_text(text))


def _to_columns(entries: Sequence[_Annotation | None]) -> list[Array]:
    rows = [entry or _BLANK for entry in entries]
    boxes = np.fromiter(chain.from_iterable(row.bbox for row in rows), float).reshape(-1, 4)
    columns: list[Array] = [np.fromiter(map(attrgetter(k), rows), t) for k, t in _COLUMNS.items()]
    return [*columns, boxes]


def _convert(items: Sequence[Any], key: str, faults: list[Fault], first: int = 0) -> list[Any]:
    """Return the entries, None for each that is malformed, and list the faults."""
    entries: list[Any] = []
    for index, item in enumerate(items, first):
        entry = None
        try:
            entry = msgspec.convert(item, _TYPES[key])
        except msgspec.ValidationError as error:
            code, problem = _CODES[key], describe_problem(str(error))
            with suppress(msgspec.ValidationError, AttributeError):
                names = item.keys() & _TYPES[key].__struct_fields__
                plain = {name: _to_number(item[name], name) for name in names}
                outline = None if plain.get("bbox") else _box_around(item.get("segmentation"))
                if outline:
                    plain["bbox"] = outline
                entry = msgspec.convert(plain, _TYPES[key])
                code = "box_from_outline" if outline else "number_rewritten"
                problem = "has no bbox, but an outline" if outline else problem
            faults.append(_fault_of(item, key, code, f"$.{key}[{index}]", problem))
        entries.append(entry)
    return entries


def _to_number(value: Any, name: str) -> Any:
    """Return the value of a field, with numbers for `5.0` and `"5"`, also in a list."""
    if isinstance(value, list):
        return [_to_number(each, name) for each in value]
    if isinstance(value, str) and name not in _TEXTS and _NUMBER.fullmatch(value):
        value = float(value) if "." in value else int(value)
    return int(value) if isinstance(value, float) and value.is_integer() else value


def _box_around(outline: Any) -> list[float] | None:
    """Return x, y, width and height of polygons, None if they are not polygons of numbers."""
    with suppress(TypeError, ValueError):
        points = np.array(list(chain.from_iterable(outline)), np.float64).reshape(-1, 2)
        low, high = points.min(axis=0), points.max(axis=0)
        return [*low.tolist(), *(high - low).tolist()]
    return None


def describe_problem(problem: str) -> str:
    """Return a decoder's message in JSON's words, the field first."""
    for theirs, ours in _PHRASES.items():
        problem = problem.replace(theirs, ours)
    text, _, path = problem.partition(" - at ")
    text = _WORD.sub(lambda found: _WORDS.get(found[1], found[1]), text)
    field = path.strip("`$.")
    return f"{field}{': ' * bool(field)}{text[:1].lower()}{text[1:]}"


def _fault_of(item: Any, key: str, code: str, path: str, problem: str) -> Fault:
    if not code:
        raise DataError(f"{path}: {problem}")
    fields: Mapping[str, Any] = item if isinstance(item, dict) else {}
    id_name = "id" if key == "images" else "image_id"
    image_id = _to_number(fields.get(id_name), id_name)
    name = fields.get("file_name")
    return Fault(
        code,
        path,
        problem,
        image_id if isinstance(image_id, int) else UNUSABLE,
        name if isinstance(name, str) else "",
    )
