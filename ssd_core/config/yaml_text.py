"""YAML of any origin: one error, in bounded time."""

from typing import Any

import yaml

from ssd_core.errors import DataError

_MAX_DEPTH = 20


def parse_yaml(content: bytes | str, *, as_text: bool = False) -> Any:
    """Parse YAML, or JSON, which is a part of it.

    Args:
        content: of the file.
        as_text: keep numbers and words like `yes` as text, and refuse references (`*name`), which
            make a small file huge.

    Raises:
        DataError: it is not YAML, or nested too deeply.
    """
    loader = yaml.BaseLoader if as_text else yaml.SafeLoader
    try:
        _check_events(content, with_references=not as_text)
        return yaml.load(content, loader)  # noqa: S506 - neither creates objects of other types
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark
        where = f"line {mark.line + 1} column {mark.column + 1}: " if mark else ""
        raise DataError(f"{where}{error.problem}") from None
    except DataError:
        raise
    except Exception as error:  # a malformed value with a tag raises any
        raise DataError(f"is not YAML: {' '.join(str(error).split())}") from None


def _check_events(content: bytes | str, *, with_references: bool) -> None:
    """Refuse deep nesting, which takes time with the square of its depth."""
    depth = 0
    for event in yaml.parse(content, yaml.BaseLoader):
        depth += isinstance(event, yaml.CollectionStartEvent)
        depth -= isinstance(event, yaml.CollectionEndEvent)
        if depth > _MAX_DEPTH:
            raise DataError("is nested too deeply")
        if isinstance(event, yaml.AliasEvent) and not with_references:
            raise DataError("has references (*name); expected plain values")
