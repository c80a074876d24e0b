"""The options that say what a cluster is to run."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

import typer

from pipelines.cli.options import (
    Dataset,
    Model,
    ModelName,
    ModelVersion,
    Nodes,
    PlacementName,
    Placements,
    Recipe,
    Series,
    pipeline_arguments,
)
from ssd_core.cli.options import Assignments

if TYPE_CHECKING:
    from pipelines.package import Package


@dataclass(frozen=True, slots=True, kw_only=True)
class PackageOptions:
    """Options of every verb that sends a pipeline."""

    root: Annotated[
        str, typer.Option("--root", metavar="URI", help="Keeps everything: s3://bucket/prefix.")
    ]
    recipe: Recipe = None
    dataset: Dataset = None
    model: Model = None
    series: Series = None
    model_name: ModelName = None
    model_version: ModelVersion = None
    assignments: Assignments = None
    placement: PlacementName = "torch-cpu"
    placements: Placements = None
    nodes: Nodes = 1
    experiment: Annotated[
        str,
        typer.Option(
            "--experiment",
            envvar="KF_PIPELINES_DEFAULT_EXPERIMENT_NAME",
            metavar="NAME",
            help="Group of runs on the pages of Kubeflow; made where it is missing.",
        ),
    ] = "Default"
    service_account: Annotated[
        str | None,
        typer.Option(
            "--service-account", metavar="NAME", help="Of the pods; by default the cluster's."
        ),
    ] = None

    def compile(self, pipeline: str) -> "Package":
        """Check every word and compile the pipeline; nothing is sent.

        Raises:
            UsageError: whatever is wrong with a word.
        """
        words = {"recipe": self.recipe, "dataset": self.dataset, "model": self.model}
        words |= {"series": self.series, "model_name": self.model_name}
        words["model_version"] = self.model_version
        arguments = pipeline_arguments(pipeline, self.root, self.assignments, **words)
        from pipelines.package import compile_package

        return compile_package(
            pipeline,
            arguments,
            placement=self.placement,
            placements=self.placements,
            nodes=self.nodes,
        )
