"""Resolve a recipe and its overrides into one plain dict per stage, before anything runs."""

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import yaml

from ssd_core.config import Recipe, parse_section
from ssd_core.errors import UsageError
from ssd_core.model_dir import read_description
from ssd_core.recipes import load_recipe
from ssd_core.recipes.overrides import override
from ssd_core.store import Location

Sections = dict[str, dict[str, Any]]

STAGES = ("convert", "evaluate", "benchmark", "report", "publish")


def run(
    recipe: str,
    overrides: Mapping[str, Any] | Sequence[str] = (),
    *,
    model_dir: Location | None = None,
) -> Sections:
    """Return the complete `recipe`, and the section of each stage that needs only its own.

    None is omitted, because a parameter of Kubeflow Pipelines cannot be null; it is the default of
    every optional field.

    Args:
        recipe: name of a recipe; ignored with a model.
        overrides: `section.key=value` assignments, or the same as a mapping. Text that is valid
            JSON is parsed, so `"12"` and `12` are equivalent.
        model_dir: a model whose recipe is used.

    Raises:
        UsageError: an unknown recipe or key, or an invalid value.
    """
    assignments = _assignments(overrides) if isinstance(overrides, Mapping) else overrides
    if model_dir is None:
        base = load_recipe(recipe)
    else:
        refuse_training_changes(assignments)
        base = read_description(model_dir).recipe
    resolved = override(base, assignments).model_dump(mode="json", exclude_none=True)
    return {"recipe": resolved, **{stage: resolved[stage] for stage in STAGES}}


def read_recipe(uri: str) -> Recipe:
    """Read a complete recipe from a JSON or YAML file, as `ssd recipes NAME` prints it.

    Raises:
        UsageError: the file does not exist, is neither JSON nor YAML, or is not a recipe.
    """
    path = Location.parse(uri)
    try:
        values = yaml.safe_load(path.parent.get(path.name))
    except FileNotFoundError:
        raise UsageError(f"{uri}: the file does not exist") from None
    except (yaml.YAMLError, UnicodeDecodeError, RecursionError):
        raise UsageError(f"{uri}: neither JSON nor YAML") from None
    if not isinstance(values, dict):
        raise UsageError(f"{uri}: expected a recipe as `ssd recipes NAME` prints it")
    try:
        return parse_section(Recipe, values, "")
    except UsageError as error:
        raise UsageError(f"{uri}: {error}") from None


def refuse_training_changes(assignments: Iterable[str]) -> None:
    """Refuse changes of the training of an existing model, which would have no effect.

    Raises:
        UsageError: an assignment in the section `train`.
    """
    for assignment in assignments:
        if assignment.strip().startswith("train."):
            raise UsageError(
                f"'{assignment}' cannot change a model that is already trained; "
                f"expected a key of {', '.join(STAGES)}"
            )


def _assignments(overrides: Mapping[str, Any]) -> list[str]:
    return [
        f"{key}={value if isinstance(value, str) else json.dumps(value)}"
        for key, value in overrides.items()
    ]
