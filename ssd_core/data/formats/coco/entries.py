"""A COCO file entry by entry: slower, and it finds all that is malformed instead of the first."""

import json
from collections.abc import Callable, Container, Iterator, Mapping, Sequence
from typing import Any, TypeVar

import msgspec
from msgspec import Raw, Struct

from ssd_core.data.findings import Findings
from ssd_core.data.formats.coco.types import (
    CocoAnnotation,
    CocoCategory,
    CocoFile,
    CocoImage,
    to_columns,
)
from ssd_core.errors import DataError

EntryT = TypeVar("EntryT", CocoImage, CocoAnnotation, CocoCategory)
Entries = Iterator[tuple[str, Any]]
"""Place and content of each."""


class KeyTwiceError(Exception):
    """A key occurs twice in one object, so that one of its values is lost."""


class _Lists(Struct):
    images: list[Any]
    annotations: list[Any]
    categories: list[Any]


class _RawLists(Struct):
    images: list[Raw]
    annotations: list[Raw]
    categories: list[Raw]


def read_entries(raw: bytes, name: str, findings: Findings) -> CocoFile:
    """Read an annotation file, with a finding for each entry that is malformed.

    What is not strict JSON goes to Python's own reader. That one accepts NaN, which is then found
    at its box, and names line and column of a mistake.

    Raises:
        JSONDecodeError, UnicodeError, RecursionError, KeyTwiceError: the file is no JSON.
        ValidationError: it is no COCO.
        DataError: a category is malformed, so that nobody knows what its objects are.
    """
    lists, load = _load_lists(raw)
    check_keys(raw, len(lists.images), len(lists.annotations))
    entries = {
        part: _number(getattr(lists, part), f"{name}: $.{part}", load)
        for part in ("images", "annotations", "categories")
    }
    images = list(_read_images(entries["images"], findings))
    names = {image.id: image.file_name for image in images}
    annotations, dropped = _read_annotations(entries["annotations"], names, findings)
    return CocoFile(
        images=images,
        objects=to_columns(annotations),
        categories=[_read_category(item, place, findings) for place, item in entries["categories"]],
        num_listed=len(lists.images),
        dropped=frozenset(dropped),
    )


def _load_lists(raw: bytes) -> tuple[_RawLists | _Lists, Callable[[Any], Any]]:
    """Return the lists, and what makes an entry of them plain."""
    try:
        return msgspec.json.decode(raw, type=_RawLists), _load_raw
    except msgspec.ValidationError:
        raise
    except (msgspec.DecodeError, UnicodeDecodeError):
        content = json.loads(raw.decode("utf-8"), object_pairs_hook=_with_unique_keys)
        return msgspec.convert(content, _Lists), _load_plain


def _read_images(entries: Entries, findings: Findings) -> Iterator[CocoImage]:
    for place, item in entries:
        image = _convert(item, CocoImage, place, findings)
        if isinstance(image, CocoImage):
            yield image
        else:
            findings.add("image_malformed", place, image, image=_text(item, "file_name"))


def _read_annotations(
    entries: Entries, names: Mapping[int, str], findings: Findings
) -> tuple[list[CocoAnnotation], set[int]]:
    """Return the annotations, and the ids of images that must be dropped; `names` are by id."""
    annotations, dropped = [], set()
    for place, item in entries:
        annotation = _convert(item, CocoAnnotation, place, findings)
        if isinstance(annotation, CocoAnnotation):
            annotations.append(annotation)
            continue
        owner = _owner(item, names)
        if findings.add("object_malformed", place, annotation, image=names.get(owner, "")):
            dropped.add(owner)
    return annotations, dropped


def _read_category(item: Any, place: str, findings: Findings) -> CocoCategory:
    category = _convert(item, CocoCategory, place, findings)
    if isinstance(category, str):
        raise DataError(f"{place}: {category}; expected COCO annotations")
    category.name.encode()  # Python's reader lets half of a surrogate pair through
    return category


def check_keys(raw: bytes | bytearray, num_images: int, num_annotations: int) -> None:
    """Look for keys that hide another of the same name: cheaply, unless there are too many of one.

    Raises:
        KeyTwiceError: there is one.
    """
    limits = {
        **dict.fromkeys((b'"images"', b'"annotations"', b'"categories"'), 1),
        **dict.fromkeys((b'"image_id"', b'"category_id"', b'"bbox"'), num_annotations),
        b'"file_name"': num_images,
    }
    if any(raw.count(key) > limit for key, limit in limits.items()):
        json.loads(raw, object_pairs_hook=_with_unique_keys)


def _with_unique_keys(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        keys = [key for key, _ in pairs]
        key = next(key for key in keys if keys.count(key) > 1)
        where = f" of the object with id {found['id']}" if "id" in found else ""
        raise KeyTwiceError(f"the key '{key}'{where} is there twice")
    return found


def _load_raw(item: Any) -> Any:
    return json.loads(bytes(item), object_pairs_hook=_with_unique_keys)


def _load_plain(item: Any) -> Any:
    return item


def _number(items: Sequence[Any], place: str, load: Callable[[Any], Any]) -> Entries:
    for index, item in enumerate(items):
        yield f"{place}[{index}]", load(item)


def _convert(item: Any, kind: type[EntryT], place: str, findings: Findings) -> EntryT | str:
    """Return the entry, or what is wrong with it."""
    try:
        return msgspec.convert(item, kind)
    except msgspec.ValidationError as error:
        problem = describe(error)
    if isinstance(item, dict):
        whole = {key: _whole(value) for key, value in item.items()}
        try:
            entry = msgspec.convert(whole, kind)
        except msgspec.ValidationError:
            return problem
        findings.add("number_not_whole", place, problem)
        return entry
    return problem


def _whole(value: Any) -> Any:
    return int(value) if isinstance(value, float) and value.is_integer() else value


def _owner(item: Any, known: Container[int]) -> int:
    """Return the id of the image that an object is of, -1 where that is nobody."""
    value = _whole(item.get("image_id")) if isinstance(item, dict) else None
    return value if isinstance(value, int) and value in known else -1


def _text(item: Any, key: str) -> str:
    value = item.get(key) if isinstance(item, dict) else None
    return value if isinstance(value, str) else ""


def describe(error: msgspec.ValidationError) -> str:
    """Return what does not fit, and where, in the words of our messages."""
    text = str(error).replace("`", "").replace(" - at ", " at ")
    return text[:1].lower() + text[1:]
