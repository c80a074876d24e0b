"""The `data.yaml` of a YOLO data set, and its class names."""

import posixpath
import re
from collections.abc import Collection, Iterator, Mapping
from typing import Any, NamedTuple

from ssd_core.config.yaml_text import parse_yaml
from ssd_core.data.formats.classes import MAX_CLASSES
from ssd_core.data.sources.base import Source, read_text
from ssd_core.errors import DataError, located

_SPLIT_KEYS = ("train", "val", "valid", "test")
_ANY_KEY = re.compile(rf"""\b({"|".join(_SPLIT_KEYS)}|names|nc)["']?\s*:""")
"""A file without any of these keys is about something else, valid or not."""
_DIGITS = re.compile(r"[0-9]{1,9}")
_MAX_BYTES = 2**18
"""A longer file does not describe a data set, and parsing YAML is slow."""


class DataFile(NamedTuple):
    """The content of a `data.yaml`."""

    names: Mapping[int, str] = {}
    """By number from 0; `nc` alone gives the numbers themselves."""
    root: str = ""
    """Folder of the places; often one of another machine."""
    places: Mapping[str, list[str]] = {}
    """Folders or lists of images by split, as they are written."""
    nc: int | None = None
    """The number of classes, which need not be that of the names."""


def is_data_file(name: str) -> bool:
    """Return whether a file may describe a data set."""
    return name.lower().endswith((".yaml", ".yml"))


def is_names_file(name: str) -> bool:
    """Return whether a file has one class name per line."""
    base = posixpath.basename(name).lower()
    return base in {"classes.txt", "names.txt", "labels.txt"} or base.endswith(".names")


def read_data_file(source: Source, name: str) -> DataFile:
    """Read a `data.yaml`; one that is about something else has neither names nor places.

    Raises:
        DataError: it is not YAML, or an entry is malformed.
    """
    values = _read_yaml(source, name)
    if not isinstance(values, dict):
        return DataFile()
    places = {key: _as_list(values[key]) for key in _SPLIT_KEYS if values.get(key)}
    for key, paths in places.items():
        if not all(isinstance(path, str) and path for path in paths):
            raise DataError(f"{name}: '{key}' is not a path; expected a folder or a list of them")
    root = values.get("path")
    return DataFile(
        _names(values, name),
        root if isinstance(root, str) else "",
        places,
        _number(values.get("nc")),
    )


class ClassTable(NamedTuple):
    """The class names of a split."""

    place: str
    """File of the names; the split if no file has any."""
    names: Mapping[int, str] = {}
    """By number from 0."""
    nc: int | None = None
    """The number of classes that is written beside them."""


def find_names(source: Source, place: str, labels: Collection[str]) -> ClassTable:
    """Return the class names of a split; none if no file has them.

    They are those of the split's `data.yaml`, else of the nearest file of names or `data.yaml` in
    the folder of the `labels`, or above it. An image may be called `names.jpg`.
    """
    for name in _files_with_names(source, place.partition(":")[0], labels):
        if not is_data_file(name):
            return ClassTable(name, _read_lines(source, name))
        described = read_data_file(source, name)
        if described.names:
            return ClassTable(name, described.names, described.nc)
    return ClassTable(place)


def _files_with_names(source: Source, file: str, labels: Collection[str]) -> Iterator[str]:
    if is_data_file(file) and file in source.files:
        yield file
    folder = next(iter(labels), file)
    while folder:
        folder = posixpath.dirname(folder)
        beside = [name for name in source.files if posixpath.dirname(name) == folder]
        yield from (name for name in filter(is_names_file, beside) if name not in labels)
        yield from filter(is_data_file, beside)


def _as_list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


def _names(values: Mapping[str, Any], name: str) -> Mapping[int, str]:
    names, nc = values.get("names"), values.get("nc")
    if not names:
        if not nc:
            return {}
        count = _number(nc)
        if not count or count > MAX_CLASSES:
            raise DataError(f"{name}: nc: '{str(nc):.20}' is not a number of classes")
        return {number: str(number) for number in range(count)}
    found: dict[int, str] = {}
    pairs = names.items() if isinstance(names, dict) else enumerate(_as_list(names))
    for key, value in pairs:
        number = key if isinstance(key, int) else _number(key)
        if number is None:
            raise DataError(
                f"{name}: names: '{str(key):.20}' is not a class number; expected 0, 1, ..."
            )
        if not isinstance(value, str) or not value.strip():
            raise DataError(f"{name}: names: the name of class {key} is not text; put it in quotes")
        found[number] = value
    return dict(sorted(found.items()))


def _number(text: Any) -> int | None:
    """Return a number of few digits, None for anything else."""
    return int(text) if isinstance(text, str) and _DIGITS.fullmatch(text) else None


def _read_lines(source: Source, name: str) -> Mapping[int, str]:
    lines = [line.strip() for line in read_text(source, name).strip().split("\n")]
    if not all(lines):
        raise DataError(f"{name}: line {lines.index('') + 1} is empty; expected a class name")
    return dict(enumerate(lines))


def _read_yaml(source: Source, name: str) -> Any:
    """Read YAML with the keys of a data set; None if it has none of them."""
    if source.files[name].num_bytes > _MAX_BYTES:
        return None
    text = read_text(source, name)
    if not _ANY_KEY.search(text):
        return None
    with located(name):
        return parse_yaml(text, as_text=True)
