"""`ssd recipes`: what can be trained."""

import json
from typing import Annotated

import typer

from ssd_core.cli.options import Assignments
from ssd_core.recipes import RECIPES, load_recipe
from ssd_core.recipes.overrides import override


def recipes(
    name: Annotated[str | None, typer.Argument(metavar="[NAME]")] = None,
    assignments: Assignments = None,
) -> None:
    """List the recipes, or show one of them complete, as JSON.

    Example: ssd recipes demo --set train.steps=100
    """
    if name is None:
        width = max(map(len, RECIPES))
        for each in RECIPES:
            print(f"{each:{width}}  {load_recipe(each).description}")
        return
    print(
        json.dumps(override(load_recipe(name), assignments or ()).model_dump(mode="json"), indent=2)
    )
