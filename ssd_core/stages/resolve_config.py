"""Turn a recipe and overrides into one plain dict a stage, checked before anything runs."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

from ssd_core.recipes import load_recipe
from ssd_core.recipes.overrides import override

Sections = dict[str, dict[str, Any]]

STAGES = ("convert", "train", "evaluate", "benchmark", "report", "publish")


def run(recipe: str, overrides: Mapping[str, Any] | Sequence[str] = ()) -> Sections:
    """Return the section of every stage, ready to travel as JSON.

    Absent values are left out, because a parameter of Kubeflow Pipelines cannot hold null; every
    field that may be absent has None as its default, so nothing is lost.

    Args:
        recipe: name of a recipe.
        overrides: `section.key=value` assignments, or the same as a mapping. A text is read as JSON
            where it is JSON, so `"12"` and `12` mean the same.

    Raises:
        UsageError: an unknown recipe or key (with the nearest known one), or a value that does not
            fit.
    """
    assignments = _assignments(overrides) if isinstance(overrides, Mapping) else overrides
    resolved = override(load_recipe(recipe), assignments)
    sections = resolved.model_dump(mode="json", include=set(STAGES), exclude_none=True)
    return {stage: sections[stage] for stage in STAGES}


def _assignments(overrides: Mapping[str, Any]) -> list[str]:
    return [
        f"{key}={value if isinstance(value, str) else json.dumps(value)}"
        for key, value in overrides.items()
    ]
