"""Names of the classes of a YOLO data set, and the `data.yaml` that describes it."""

import posixpath
import re
from collections.abc import Mapping
from typing import Any, NamedTuple

import yaml

from ssd_core.data.sources.base import Source, read_text
from ssd_core.errors import DataError

_SPLIT_KEYS = ("train", "val", "valid", "test")
_ANY_KEY = re.compile(rf"""\b({"|".join(_SPLIT_KEYS)}|names|nc)["']?\s*:""")
"""A file without any of these keys is about something else, and may be whatever it is."""
_MAX_CLASSES = 10_000
_MAX_BYTES = 2**20
"""A longer file is no description of a data set; the reader of YAML is slow."""


class DataFile(NamedTuple):
    """What a `data.yaml` says."""

    names: Mapping[int, str] | None = None
    """By number from 0; `nc` alone gives the numbers themselves."""
    root: str = ""
    """Folder from which the places count; often one of another machine."""
    places: Mapping[str, list[str]] = {}
    """Folders or lists of images by split, as they are written."""


def is_data_file(name: str) -> bool:
    """Say whether a file may describe a data set."""
    return name.lower().endswith((".yaml", ".yml"))


def is_names_file(name: str) -> bool:
    """Say whether a file has a class name in each line."""
    base = posixpath.basename(name).lower()
    return base in {"classes.txt", "names.txt", "labels.txt"} or base.endswith(".names")


def read_data_file(source: Source, name: str) -> DataFile:
    """Read a `data.yaml`; one that is about something else has neither names nor places.

    Raises:
        DataError: it is no YAML, or its entries are not what they should be.
    """
    values = _read_yaml(source, name)
    if not isinstance(values, dict):
        return DataFile()
    places = {key: _as_list(values[key]) for key in _SPLIT_KEYS if values.get(key) is not None}
    for key, paths in places.items():
        if not all(isinstance(path, str) and path for path in paths):
            raise DataError(f"{name}: '{key}' is no path; expected a folder or a list of folders")
    root = values.get("path")
    return DataFile(_names(values, name), root if isinstance(root, str) else "", places)


def find_names(source: Source, folder: str) -> Mapping[int, str] | None:
    """Return the class names by number from 0, None where no file says them.

    A file of names, one a line, or a `data.yaml` is looked for in `folder`, then in its parents.

    Raises:
        DataError: the file cannot be used.
    """
    while True:
        beside = [name for name in source.files if posixpath.dirname(name) == folder]
        for name in filter(is_names_file, beside):
            return _read_lines(source, name)
        for name in filter(is_data_file, beside):
            names = read_data_file(source, name).names
            if names is not None:
                return names
        if not folder:
            return None
        folder = posixpath.dirname(folder)


def _as_list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


def _names(values: Mapping[str, Any], name: str) -> Mapping[int, str] | None:
    names, count = values.get("names"), values.get("nc")
    if not names:
        if count is None:
            return None
        if isinstance(count, bool) or not isinstance(count, int) or not 0 < count <= _MAX_CLASSES:
            raise DataError(f"{name}: nc: '{count}' is no number of classes")
        return {number: str(number) for number in range(count)}
    pairs = list(names.items() if isinstance(names, dict) else enumerate(_as_list(names)))
    for key, value in pairs:
        if isinstance(key, bool) or not isinstance(key, int) or key < 0:
            raise DataError(f"{name}: names: '{key}' is no class number; expected 0, 1, ...")
        if isinstance(value, bool) or not isinstance(value, str | int) or not str(value).strip():
            raise DataError(f"{name}: names: the name of class {key} is no text; put it in quotes")
    return {key: str(value).strip() for key, value in sorted(pairs)}


def _read_lines(source: Source, name: str) -> Mapping[int, str]:
    lines = [line.strip() for line in read_text(source, name).strip().split("\n")]
    if not all(lines):
        raise DataError(f"{name}: line {lines.index('') + 1} is empty; expected a class name")
    return dict(enumerate(lines))


def _read_yaml(source: Source, name: str) -> Any:
    """Read YAML without references, which can make a small file huge."""
    if source.files[name].num_bytes > _MAX_BYTES:
        return None
    try:
        text = read_text(source, name)
        if not _ANY_KEY.search(text):
            return None
        if any(isinstance(event, yaml.AliasEvent) for event in yaml.parse(text, yaml.SafeLoader)):
            raise DataError(f"{name}: has references (*name); expected plain values")
        return yaml.load(text, yaml.SafeLoader)  # noqa: S506 - the safe one; the C one can crash
    except RecursionError:
        problem = "is nested too deeply"
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark
        where = f"line {mark.line + 1} column {mark.column + 1}: " if mark else ""
        problem = f"{where}{error.problem}"
    except (yaml.YAMLError, ValueError, TypeError) as error:
        problem = f"is no YAML: {' '.join(str(error).split())}"
    raise DataError(f"{name}: {problem}")
