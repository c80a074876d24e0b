"""The base of every configuration section, and the step from plain values to a section."""

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Annotated, Any, TypeVar, get_args, get_origin

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    ValidationError,
    model_validator,
)
from pydantic_core import ErrorDetails

from ssd_core.errors import UsageError, closest_name, unlisted_name

Share = Annotated[float, Field(ge=0, le=1)]
"""A fraction of a whole, or a probability."""


class Section(BaseModel):
    """Base of all configuration: frozen, and an unknown key is an error."""

    model_config = ConfigDict(
        frozen=True, extra="forbid", use_attribute_docstrings=True, allow_inf_nan=False
    )

    @model_validator(mode="before")
    @classmethod
    def _split_lists(cls, values: Any) -> Any:
        """Accept `1,2` and `1` for a list."""
        if not isinstance(values, Mapping):
            return values
        lists = {
            name: value.split(",") if isinstance(value, str) else [value]
            for name, value in values.items()
            if name in cls.model_fields
            and isinstance(value, str | int | float)
            and _is_list(cls.model_fields[name].annotation)
        }
        return {**values, **lists}


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
            raise _unknown_key(kind, details, path) from None
        keys, _ = _follow(kind, details["loc"])
        raise UsageError(_describe(details, keys, path)) from None


def first_problem(error: ValidationError) -> str:
    """Describe the first invalid value in one line: its location, what was expected and found."""
    details = error.errors(include_url=False)[0]
    return _describe(details, details["loc"], "")


def differences(old: Mapping[str, Any], new: Mapping[str, Any], path: str = "") -> list[str]:
    """List the leaves that differ between two nested mappings, as `path: old -> new`.

    Of lists of mappings, such as the levels of anchors, the mappings with the same index compare.
    """
    lines = []
    for key in sorted({*old, *new}, key=str):  # an earlier version may lack a list of mappings
        leaf = f"{path}{key}"
        before, after = (_number(each.get(key)) for each in (old, new))
        if isinstance(before, Mapping) and isinstance(after, Mapping):
            lines += differences(before, after, f"{leaf}.")
        elif before != after:
            lines.append(f"{leaf}: {json.dumps(before)} -> {json.dumps(after)}")
    return lines


def _number(value: Any) -> Any:
    """Return a list of mappings as a mapping by index, every other value as it is."""
    has_mappings = isinstance(value, list) and all(isinstance(each, Mapping) for each in value)
    return dict(enumerate(value)) if value and has_mappings else value


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


def explain(section: Section, path: str = "") -> Iterator[tuple[str, str]]:
    """Yield every field, as `name = value` or `name:` of a section, with its documentation."""
    values = section.model_dump(mode="json")
    for name, field in type(section).model_fields.items():
        value, key = getattr(section, name), _join(path, [name])
        if isinstance(value, Section):
            yield f"{key}:", field.description or type(value).__doc__ or ""
            yield from explain(value, key)
        else:
            yield f"{key} = {json.dumps(values.get(name))}", field.description or ""


def keys_of(kind: type[Section], path: str = "") -> Iterator[str]:
    """Yield the dotted names of all fields, those of sections too."""
    for name, field in kind.model_fields.items():
        key = _join(path, [name])
        yield key
        for model in _models(field.annotation):
            yield from keys_of(model, key)


def _unknown_key(kind: type[Section], details: ErrorDetails, path: str) -> UsageError:
    parents, model = _follow(kind, details["loc"][:-1])
    name = _join(path, [*parents, details["loc"][-1]])
    noun = "section" if details["input"] and isinstance(details["input"], dict) else "key"
    siblings = [_join(path, [*parents, each]) for each in (model.model_fields if model else ())]
    if close := closest_name(name, [*siblings, *keys_of(kind, path)]):
        return UsageError(f"unknown {noun} '{name}'; did you mean '{close}'?")
    return unlisted_name(noun, name, siblings)


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
            models = _models(model.model_fields[part].annotation)
            if len(models) > 1:
                tag = next(parts, None)
                models = [each for each in models if each.model_fields["name"].default == tag]
            model = models[0] if models else None
    return keys, model


def _is_list(annotation: Any) -> bool:
    return tuple in {get_origin(each) for each in (annotation, *get_args(annotation))}


def _models(annotation: Any) -> list[type[Section]]:
    """Return the sections among the types of a field."""
    return [each for each in (annotation, *get_args(annotation)) if hasattr(each, "model_fields")]
