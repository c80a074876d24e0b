"""KFP component: check a recipe and its overrides, and give every step its own section."""

from typing import Any, NamedTuple

from kfp import dsl

from components import images


@dsl.component(base_image=images.TOOLS, install_kfp_package=False)
def resolve_config(
    recipe: str,
    overrides: dict[str, Any],
    model: dsl.Input[dsl.Model] = None,
) -> NamedTuple(  # type: ignore[valid-type]
    "Sections",
    [
        ("recipe", dict),
        ("convert", dict),
        ("evaluate", dict),
        ("benchmark", dict),
        ("report", dict),
        ("publish", dict),
    ],
):
    """Check a recipe and its overrides before anything runs.

    Args:
        recipe: Name of a recipe; empty with a model.
        overrides: Changes of the recipe, `section.key` to value.
        model: A model, whose own recipe is taken.

    Returns:
        recipe: The complete recipe, for the step `train`.
        convert: The section of the step `convert`.
        evaluate: The section of the step `evaluate`.
        benchmark: The section of the step `benchmark`.
        report: The section of the step `report`.
        publish: The section of the step `publish`.
    """
    from ssd_core.stages import resolve_config as stage
    from ssd_core.stages.doorway import doorway
    from ssd_core.store import Location

    with doorway():
        model_dir = Location.parse(model.path) if model else None
        return tuple(stage.run(recipe, overrides, model_dir=model_dir).values())
