"""The command that takes over the weights of other programs."""

from typing import Annotated

import typer

from ssd_core.backends.programs import PROGRAMS
from ssd_core.cli.data import read_classes
from ssd_core.cli.options import (
    Assignments,
    ConfigFile,
    Framework,
    Json,
    Out,
    RecipeName,
    choose_recipe,
    finish,
    one_of,
)
from ssd_core.recipes.overrides import override
from ssd_core.store import Location


def import_weights(
    weights: Annotated[
        Location,
        typer.Argument(
            metavar="FILE",
            parser=Location.parse,
            help="MindSpore's .ckpt, a state dict of PyTorch, or a frozen graph of TensorFlow; "
            "also s3://bucket/file.",
        ),
    ],
    layout: Annotated[str, one_of("layout", [*PROGRAMS], "The program whose names FILE has.")],
    out: Out,
    recipe: RecipeName = None,
    config: ConfigFile = None,
    assignments: Assignments = None,
    classes: Annotated[
        str | None,
        typer.Option(
            metavar="FILE|a,b,c",
            help="Classes in label order, without the background. Default: their numbers.",
        ),
    ] = None,
    framework: Framework = "torch",
    as_json: Json = False,
) -> None:
    """Turn weights that another program has trained into a model.

    The recipe has the network of the weights. Arrays of the file that it has no place for are
    listed, the state of an optimizer apart.

    Example: ssd import-weights a.ckpt --layout mindspore --recipe ssd300_mobilenet_v2 --out model
    """
    from ssd_core.model_dir import MODEL_DIR
    from ssd_core.stages import import_weights as stage

    result = stage.run(
        weights,
        out,
        layout_name=layout,
        recipe=override(choose_recipe(recipe, config), assignments or ()),
        classes=read_classes(classes),
        framework=framework,
    )
    finish(result, out / MODEL_DIR, as_json=as_json)
