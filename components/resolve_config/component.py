"""KFP component: check a recipe and its overrides, and give every step its own section."""

from typing import Any, NamedTuple

from kfp import dsl

from components import images


@dsl.component(base_image=images.TOOLS, install_kfp_package=False)
def resolve_config(recipe: str, overrides: dict[str, Any]) -> NamedTuple(  # type: ignore[valid-type]
    "Sections",
    [
        ("convert", dict),
        ("train", dict),
        ("evaluate", dict),
        ("benchmark", dict),
        ("report", dict),
        ("publish", dict),
    ],
):
    """Check a recipe and its overrides before anything runs.

    Args:
        recipe: Name of a recipe.
        overrides: Changes of the recipe, `section.key` to value.

    Returns:
        convert: The section of the step `convert`.
        train: The section of the step `train`.
        evaluate: The section of the step `evaluate`.
        benchmark: The section of the step `benchmark`.
        report: The section of the step `report`.
        publish: The section of the step `publish`.
    """
    from ssd_core.stages import resolve_config as stage
    from ssd_core.stages.doorway import doorway

    with doorway():
        return tuple(stage.run(recipe, overrides).values())
