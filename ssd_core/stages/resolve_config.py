"""Resolve a recipe and its overrides, before anything runs."""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from ssd_core.config import Recipe, parse_section
from ssd_core.config.yaml_text import parse_yaml
from ssd_core.errors import DataError, UsageError
from ssd_core.model_dir import read_description
from ssd_core.recipes import load_recipe
from ssd_core.recipes.overrides import override
from ssd_core.stages.frame import Input, Invocation, Results, run_stage
from ssd_core.store import Location

_EXPECTED = "expected a recipe as 'ssd recipes NAME' prints it"


def run(
    recipe: str,
    assignments: Sequence[str] = (),
    *,
    model_dir: Location | None = None,
) -> Recipe:
    """Return the complete recipe.

    Args:
        recipe: name of a recipe; ignored with a model.
        assignments: `section.key=value` changes of the recipe.
        model_dir: a model whose recipe is used.

    Raises:
        UsageError: an unknown recipe or key, or an invalid value.
    """
    if model_dir is None:
        return override(load_recipe(recipe), assignments)
    refuse_training_changes(assignments)
    return override(read_description(model_dir).recipe, assignments)


def run_step(
    recipe: str, assignments: Sequence[str], record: Location, *, model_dir: Location | None
) -> dict[str, Any]:
    """Return the recipe as plain values, and keep the record of the step in the run.

    None is omitted, because a parameter of Kubeflow Pipelines cannot be null; it is the default of
    every optional field.
    """
    invocation = Invocation(
        stage="resolve_config",
        config={},
        inputs={"model": Input(model_dir.uri)} if model_dir else {},
        options={"recipe": recipe, "overrides": list(assignments)},
    )

    def work(_: Path) -> Results:
        resolved = run(recipe, assignments, model_dir=model_dir)
        return {"metrics": {}, "recipe": resolved.model_dump(mode="json", exclude_none=True)}

    values: dict[str, Any] = run_stage(invocation, record, work)["recipe"]
    return values


def read_recipe(uri: str) -> Recipe:
    """Read a complete recipe from a JSON or YAML file, as `ssd recipes NAME` prints it.

    Raises:
        UsageError: the file does not exist, is neither JSON nor YAML, or is not a recipe.
    """
    path = Location.parse(uri)
    try:
        content = path.parent.get(path.name)
    except FileNotFoundError:
        is_folder = path.local is not None and path.local.is_dir()
        problem = "is a folder" if is_folder else "does not exist"
        raise UsageError(f"{uri}: {problem}; {_EXPECTED}") from None
    try:
        values = parse_yaml(content)
    except DataError as error:
        raise UsageError(f"{uri}: neither JSON nor YAML: {error}") from None
    if not isinstance(values, dict):
        raise UsageError(f"{uri}: {_EXPECTED}")
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
                "expected a key of another section"
            )
