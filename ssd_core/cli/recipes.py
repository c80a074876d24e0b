"""`ssd recipes`: the configurations that have a name."""

import textwrap
from typing import Annotated

import typer

from ssd_core.cli.options import Assignments, Json, print_json
from ssd_core.config import explain
from ssd_core.errors import UsageError
from ssd_core.logs import align, announce
from ssd_core.recipes import load_recipe
from ssd_core.recipes.overrides import override

_INDENT = " " * 4


def recipes(
    name: Annotated[str | None, typer.Argument(metavar="NAME", help="Print this one.")] = None,
    assignments: Assignments = None,
    is_explained: Annotated[
        bool, typer.Option("--explain", help="Print every value with its documentation.")
    ] = False,
    as_json: Json = False,
) -> None:
    """List the recipes with their figures, or print one of them as JSON with all its values.

    Example: ssd recipes demo --explain
    """
    if name is None:
        if is_explained or assignments:
            raise UsageError("--explain and --set expect the NAME of a recipe; see 'ssd recipes'")
        _list(as_json=as_json)
        return
    recipe = override(load_recipe(name), assignments or ())
    if is_explained:
        for line, text in explain(recipe):
            print(line, textwrap.indent(textwrap.fill(text, 96), _INDENT), sep="\n")
    else:
        print_json(recipe.model_dump(mode="json"))


def _list(*, as_json: bool) -> None:
    from ssd_core.recipes.facts import TITLES, describe_recipes, format_figures

    described = [*describe_recipes()]
    if as_json:
        print_json({each["recipe"]: each for each in described})
        return
    for line in align([TITLES, *map(format_figures, described)]):
        print(line)
    announce(
        "for 80 classes; a multiply-add counts as two operations; * without images with crowds"
    )
    announce("train one with 'ssd train --recipe NAME --data DIR --out DIR'")
