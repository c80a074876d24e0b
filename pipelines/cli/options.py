"""Options that several verbs share, so that a word means the same everywhere."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from pipelines.catalogue import PIPELINES, check_pipeline
from ssd_core.errors import UsageError
from ssd_core.recipes import RECIPES
from ssd_core.stages import resolve_config
from ssd_core.store import Location
from ssd_core.store.places import Places

Pipeline = Annotated[
    str, typer.Argument(metavar="PIPELINE", help=f"One of: {', '.join(PIPELINES)}.")
]
PlacementName = Annotated[
    str,
    typer.Option(
        "--placement", metavar="NAME", help="Where the steps run: a row of placements.yaml."
    ),
]
Placements = Annotated[
    Path | None,
    typer.Option("--placements", metavar="FILE", help="Rows of your own, which come first."),
]
Nodes = Annotated[int, typer.Option("--nodes", min=1, help="Machines that train together.")]
Recipe = Annotated[str | None, typer.Option("--recipe", metavar="NAME", help="See `ssd recipes`.")]
Dataset = Annotated[
    str | None,
    typer.Option(
        "--dataset", metavar="DIR", help="Labelled photographs, as `ssd convert` takes them."
    ),
]
Model = Annotated[
    str | None,
    typer.Option("--model", metavar="DIR", help="A model that exists: a folder or s3://..."),
]
Series = Annotated[
    str | None, typer.Option("--series", metavar="NAME", help="Series of benchmarks to add to.")
]
ModelName = Annotated[
    str | None, typer.Option("--model-name", metavar="NAME", help="Publish the model as this.")
]
ModelVersion = Annotated[
    str | None,
    typer.Option(
        "--model-version", metavar="TEXT", help="Version; by default the id of its training."
    ),
]


def pipeline_arguments(
    pipeline: str, root: str, assignments: Sequence[str] | None, **words: str | None
) -> dict[str, Any]:
    """Return the parameters of a pipeline from what the user gave, checked without any server.

    Args:
        pipeline: its name.
        root: path or URI that keeps everything.
        assignments: `section.key=value` changes of the recipe.
        words: the other options by the name of their parameter; None where it was not given.

    Raises:
        UsageError: an unknown pipeline or recipe, a word that the pipeline needs and has not or
            does not take, or a change that does not fit.
    """
    check_pipeline(pipeline)
    entry = PIPELINES[pipeline]
    given: dict[str, Any] = {name: word for name, word in words.items() if word is not None}
    if unasked := sorted(set(given) - {*entry.required, *entry.optional}):
        raise UsageError(f"the pipeline '{pipeline}' takes no {_option(unasked[0])}")
    given["data_root"] = Location.parse(root).uri
    _check_names(Places(given["data_root"]), given)
    if missing := [name for name in entry.required if not given.get(name)]:
        raise UsageError(f"the pipeline '{pipeline}' needs {_option(missing[0])}")
    if "model_version" in given and "model_name" not in given:
        raise UsageError("--model-version without --model-name: nothing would be published")
    # Any recipe knows the keys; that of a model is only known where the model is.
    resolve_config.run(given.get("recipe", next(iter(RECIPES))), assignments or ())
    given["overrides"] = dict(text.split("=", 1) for text in assignments or ())
    return given


def _check_names(places: Places, given: Mapping[str, str]) -> None:
    """Refuse what cannot name a place, before a run ends with it."""
    if "series" in given:
        places.benchmarks(given["series"])
    for name in {"model_name", "model_version"} & set(given):
        places.model(given[name], given[name])


def _option(parameter: str) -> str:
    return f"--{parameter.replace('_', '-')}"
