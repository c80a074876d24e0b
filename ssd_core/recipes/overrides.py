"""Assignments `section.key=value` that change a recipe or one of its sections."""

import json
from collections.abc import Iterable, Mapping
from typing import Any

from ssd_core.config import Recipe, keys_of, parse_section
from ssd_core.errors import UsageError, closest_name, unlisted_name


def override(recipe: Recipe, assignments: Iterable[str]) -> Recipe:
    """Return `recipe` with assignments applied; a later one for the same key wins.

    A value that is valid JSON (`12`, `true`, `[0.5, 0.9]`, `null`) is parsed; any other is text.
    """
    values, assignments = recipe.model_dump(mode="json"), list(assignments)
    _apply(values, assignments)
    changed = parse_section(Recipe, values, "")
    has_epochs = any(each.partition("=")[0].strip() == "train.epochs" for each in assignments)
    if has_epochs and changed.train.steps is not None:
        raise UsageError(
            f"train.steps={changed.train.steps} makes train.epochs meaningless; set one of them, "
            "and train.steps=null for epochs"
        )
    return changed


def assign(section: str, values: Mapping[str, Any], assignments: Iterable[str]) -> dict[str, Any]:
    """Return the plain values of one section with assignments applied.

    `parse_section` validates keys and values later.
    """
    whole: dict[str, Any] = {section: dict(values)}
    _apply(whole, assignments)
    if others := whole.keys() - {section}:
        raise unlisted_name("section", min(others), [section])
    changed: dict[str, Any] = whole[section]
    return changed


def _apply(values: dict[str, Any], assignments: Iterable[str]) -> None:
    for assignment in assignments:
        path, separator, text = assignment.partition("=")
        keys = path.strip().split(".")
        if not separator or len(keys) < 2:
            close = closest_name(keys[-1], keys_of(Recipe)) if separator else None
            hint = f"; did you mean '{close}={text}'?" if close and close not in values else ""
            raise UsageError(f"'{assignment}' is not of the form section.key=value{hint}")
        _assign(values, keys, _parse_value(text.strip()))


def _parse_value(text: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):  # also of a number that is too long for Python
        return text


def _assign(values: dict[str, Any], keys: list[str], value: Any) -> None:
    """Set a nested key; the model validates it later."""
    node = values
    for depth, key in enumerate(keys[:-1]):
        node = node.setdefault(key, {})
        if not isinstance(node, dict):
            raise UsageError(f"'{'.'.join(keys[: depth + 1])}' is a value, without keys of its own")
    node[keys[-1]] = value
