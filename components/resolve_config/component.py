"""KFP component: resolve a recipe and its overrides."""

from typing import NamedTuple

from kfp import dsl

from components import images


@dsl.component(base_image=images.TOOLS, install_kfp_package=False)
def resolve_config(
    recipe: str,
    overrides: list[str],
    data_root: str,
    run: str,
    model: dsl.Input[dsl.Model] = None,
) -> NamedTuple("Resolved", [("recipe", dict)]):  # type: ignore[valid-type]
    """Check a recipe and its overrides before any other step runs.

    Args:
        recipe: Name of a recipe; empty with a model.
        overrides: Changes of the recipe, each `section.key=value`.
        data_root: Path or URI of the root.
        run: Id of the pipeline run.
        model: A model whose recipe is used.

    Returns:
        recipe: The complete recipe without the values that are null, which Kubeflow Pipelines
            refuses; null is the default of each.
    """
    from ssd_core.stages import resolve_config as stage
    from ssd_core.stages.doorway import doorway, find_input
    from ssd_core.store.layout import Layout

    with doorway():
        record = Layout(data_root).run(run, "resolve_config")
        model_dir = find_input(model) if model else None
        return (stage.run_step(recipe, overrides, record, model_dir=model_dir),)
