"""The base of every configuration section, and the step from plain values to a section."""

import json
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, TypeVar, get_args

from pydantic import BaseModel, ConfigDict, Field, ValidationError
from pydantic_core import ErrorDetails

from ssd_core.errors import UsageError, unknown_name

Share = Annotated[float, Field(ge=0, le=1)]
"""A fraction of a whole, or a probability."""


class Section(BaseModel):
    """Base of all configuration: frozen, and an unknown key is an error."""

    model_config = ConfigDict(
        frozen=True, extra="forbid", use_attribute_docstrings=True, allow_inf_nan=False
    )


SectionT = TypeVar("SectionT", bound=Section)


def parse_section(kind: type[SectionT], values: Mapping[str, Any], path: str) -> SectionT:
    """Turn plain values, for example from JSON, into the frozen model `kind`.

    Error messages name the invalid value by its keys, which begin with `path`: "train" for that
    section, "" for a whole recipe.
    """
    try:
        return kind.model_validate(values)
    except ValidationError as error:
        errors = error.errors(include_url=False)
        # A misspelled key is also missing under its right name; naming the typo helps more.
        unknown = (each for each in errors if each["type"] == "extra_forbidden")
        details = next(unknown, errors[0])
        if details["type"] == "extra_forbidden":
            raise _unknown_key(kind, details["loc"], path) from None
        keys, _ = _follow(kind, details["loc"])
        raise UsageError(_describe(details, keys, path)) from None


def first_problem(error: ValidationError, path: str = "") -> str:
    """Describe the first invalid value in one line: its location, what was expected and found."""
    details = error.errors(include_url=False)[0]
    return _describe(details, details["loc"], path)


def differences(old: Mapping[str, Any], new: Mapping[str, Any], path: str = "") -> list[str]:
    """List the leaves that differ between two nested mappings, as `path: old -> new`."""
    lines = []
    for key in sorted({*old, *new}):
        leaf, before, after = f"{path}{key}", old.get(key), new.get(key)
        if isinstance(before, Mapping) and isinstance(after, Mapping):
            lines += differences(before, after, f"{leaf}.")
        elif before != after:
            lines.append(f"{leaf}: {json.dumps(before)} -> {json.dumps(after)}")
    return lines


def _describe(details: ErrorDetails, keys: Sequence[int | str], path: str) -> str:
    location = _join(path, keys)
    if details["type"] == "missing":
        return f"{location} is missing"
    prefix = f"{location}: " if location else ""
    if details["type"] == "value_error":  # raised by a validator of this package
        return f"{prefix}{details['ctx']['error']}"
    expected = details["msg"].lower().partition(" or instance of")[0]
    if details["type"] == "json_invalid":  # the input is the whole file
        return f"{prefix}{expected}"
    shown = json.dumps(details["input"], default=str)
    return f"{prefix}{expected}, got {shown[:80]}"


def _unknown_key(kind: type[Section], location: tuple[int | str, ...], path: str) -> UsageError:
    parents, model = _follow(kind, location[:-1])
    names = model.model_fields if model else {}
    known = [_join(path, [*parents, name]) for name in names]
    return unknown_name("key", _join(path, [*parents, location[-1]]), known)


def _join(path: str, keys: Sequence[int | str]) -> str:
    return ".".join(str(part) for part in (path, *keys) if part != "")


def _follow(
    kind: type[Section], location: Sequence[int | str]
) -> tuple[list[int | str], type[Section] | None]:
    """Return the keys that lead to a value, and its model; None where it is not a section.

    pydantic's location of an error has one part more per discriminated union: the tag.
    """
    keys: list[int | str] = []
    model: type[Section] | None = kind
    parts = iter(location)
    for part in parts:
        keys.append(part)
        if model is not None and isinstance(part, str):  # a number is an index of a list
            annotation = model.model_fields[part].annotation
            candidates = (annotation, *get_args(annotation))
            models = [each for each in candidates if hasattr(each, "model_fields")]
            if len(models) > 1:
                tag = next(parts, None)
                models = [each for each in models if each.model_fields["name"].default == tag]
            model = models[0] if models else None
    return keys, model
