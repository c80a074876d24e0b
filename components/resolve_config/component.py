"""KFP component: resolve a recipe and its overrides into one section per step."""

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
    """Check a recipe and its overrides before any other step runs.

    Args:
        recipe: Name of a recipe; empty with a model.
        overrides: Changes to the recipe, from `section.key` to value.
        model: A model whose recipe is used.

    Returns:
        recipe: The complete recipe, for `train`.
        convert: Section of `convert`.
        evaluate: Section of `evaluate`.
        benchmark: Section of `benchmark`.
        report: Section of `report`.
        publish: Section of `publish`.
    """
    from ssd_core.stages import resolve_config as stage
    from ssd_core.stages.doorway import doorway
    from ssd_core.store import Location

    with doorway():
        model_dir = Location.parse(model.path) if model else None
        return tuple(stage.run(recipe, overrides, model_dir=model_dir).values())
