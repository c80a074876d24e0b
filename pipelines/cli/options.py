"""Options that several verbs share, so that a flag means the same everywhere."""

import dataclasses
import functools
import inspect
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from pipelines.catalogue import PIPELINES, check_pipeline
from ssd_core.backends.formats import FORMATS
from ssd_core.cli.options import Assignments, one_of
from ssd_core.errors import UsageError
from ssd_core.recipes import RECIPES
from ssd_core.stages import resolve_config
from ssd_core.store import Location
from ssd_core.store.layout import Layout

DEFAULT_ROOT = "out"
"""Of runs on this machine."""

Pipeline = Annotated[
    str, typer.Argument(metavar="PIPELINE", help=f"One of: {', '.join(PIPELINES)}.")
]
PlacementName = Annotated[
    str,
    typer.Option("--placement", metavar="NAME", help="Row of placements.yaml to run the steps on."),
]
Placements = Annotated[
    Path | None,
    typer.Option(metavar="FILE", help="Your own rows, which take precedence."),
]
Nodes = Annotated[int, typer.Option(metavar="N", min=1, help="Machines that train together.")]

_recipe = typer.Option(metavar="NAME", help="See `ssd recipes`.")
_dataset = typer.Option(metavar="DIR", help="Labelled images, as `ssd convert` takes them.")
_model = typer.Option(metavar="DIR", help="An existing model: a directory or s3://...")
_series = typer.Option(metavar="NAME", help="Series of benchmarks to add to.")
_model_name = typer.Option(metavar="NAME", help="Publish the model under this name.")
_model_version = typer.Option(metavar="TEXT", help="Version; by default the id of the training.")
_export_format = one_of(
    "export-format",
    tuple(FORMATS),
    "Export a model that meets its requirements in this format.",
)


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class PipelineOptions:
    """Parameters of a pipeline."""

    recipe: Annotated[str | None, _recipe] = None
    dataset: Annotated[str | None, _dataset] = None
    model: Annotated[str | None, _model] = None
    series: Annotated[str | None, _series] = None
    model_name: Annotated[str | None, _model_name] = None
    model_version: Annotated[str | None, _model_version] = None
    export_format: Annotated[str | None, _export_format] = None
    assignments: Assignments = None

    def arguments(self, pipeline: str, root: str) -> dict[str, Any]:
        """Return the arguments of a pipeline, checked without any server.

        Args:
            pipeline: its name.
            root: path or URI of the data, trainings and results.

        Raises:
            UsageError: an unknown pipeline or recipe, an option that the pipeline lacks or does not
                take, or a change that does not fit the recipe.
        """
        check_pipeline(pipeline)
        entry = PIPELINES[pipeline]
        given: dict[str, Any] = dataclasses.asdict(self)
        changes = given.pop("assignments") or []
        taken = [_flag(name) for name in (*entry.required, *entry.optional) if name in given]
        given = {name: value for name, value in given.items() if value is not None}
        if foreign := sorted(set(given) - {*entry.required, *entry.optional}):
            raise UsageError(
                f"the pipeline '{pipeline}' does not take {_flag(foreign[0])}; it takes "
                f"{', '.join(taken)} and --set"
            )
        given["data_root"] = Location.parse(root).uri
        _check_names(Layout(given["data_root"]), given)
        if missing := [name for name in entry.required if not given.get(name)]:
            raise UsageError(f"the pipeline '{pipeline}' needs {_flag(missing[0])}")
        if "model_version" in given and "model_name" not in given:
            raise UsageError("--model-version without --model-name: nothing would be published")
        # The keys are those of any recipe; the recipe of a model is unknown before it is fetched.
        resolve_config.run(given.get("recipe", next(iter(RECIPES))), changes)
        if "recipe" not in given:
            resolve_config.refuse_training_changes(changes)
        given["overrides"] = changes
        return given


def with_bundles(verb: Callable[..., None]) -> Callable[..., None]:
    """Replace each parameter of a verb that is a dataclass by its fields, as options for typer."""
    entries = inspect.signature(verb).parameters.values()
    bundles = {one.name: one.annotation for one in entries if _is_bundle(one.annotation)}
    fields = [field for kind in bundles.values() for field in dataclasses.fields(kind)]

    @functools.wraps(verb)
    def wrapped(**options: Any) -> None:
        for name, kind in bundles.items():
            values = {field.name: options.pop(field.name) for field in dataclasses.fields(kind)}
            options[name] = kind(**values)
        verb(**options)

    parameters = [
        *(one.replace(kind=one.KEYWORD_ONLY) for one in entries if one.name not in bundles),
        *map(_parameter, fields),
    ]
    wrapped.__annotations__ = {one.name: one.annotation for one in parameters}
    vars(wrapped)["__signature__"] = inspect.Signature(parameters)
    return wrapped


def _is_bundle(annotation: Any) -> bool:
    return inspect.isclass(annotation) and dataclasses.is_dataclass(annotation)


def _parameter(field: "dataclasses.Field[Any]") -> inspect.Parameter:
    is_required = field.default is dataclasses.MISSING
    return inspect.Parameter(
        field.name,
        inspect.Parameter.KEYWORD_ONLY,
        annotation=field.type,
        default=inspect.Parameter.empty if is_required else field.default,
    )


def _check_names(layout: Layout, given: Mapping[str, str]) -> None:
    """Refuse names that are not valid in a path, before a run fails at its end."""
    if "series" in given:
        layout.benchmarks(given["series"])
    for name in {"model_name", "model_version"} & set(given):
        layout.model(given[name], given[name])


def _flag(parameter: str) -> str:
    return f"--{parameter.replace('_', '-')}"
