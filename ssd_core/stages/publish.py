"""Publish a model that meets its requirements, under a name and version, with a card."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from ssd_core import __version__
from ssd_core.config import PublishConfig
from ssd_core.errors import GateError, OwnershipError, UsageError
from ssd_core.logs import announce
from ssd_core.model_dir import (
    CONFIG_FILE,
    MODEL_DIR,
    ModelDescription,
    read_description,
    read_model,
)
from ssd_core.report.page import write_card
from ssd_core.stages.frame import Invocation, Results, run_stage
from ssd_core.stages.outputs import StageOutput, check_one_model, read_outputs
from ssd_core.store import Location
from ssd_core.store.known_file import KnownFile
from ssd_core.store.layout import Layout
from ssd_core.structures import StageResult

PUBLISHED_FILE = "published.json"
"""List of the files; named `manifest.json`, it would be taken for a data set."""
CARD_FILE = "README.md"
_SOURCES = ("train", "import-weights")
"""Stages whose output holds a model."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Label:
    """Name and version of a published model."""

    name: str
    version: str = ""
    """Empty for the id of the training, so that the same training has the same version."""


def run(
    config: PublishConfig,
    inputs: Sequence[Location],
    out_dir: Location,
    *,
    layout: Layout,
    label: Label | None,
) -> StageResult:
    """Check the requirements of a model and publish it as `models/<name>/<version>/`.

    That is a model directory with a card (README.md) and, written last, `published.json`. The first
    of several models for one version wins; publishing the same model again changes nothing.

    Args:
        config: the `publish` section.
        inputs: output directories of train or import-weights, of evaluate, and of benchmark if
            speed is required.
        out_dir: directory of `results.json`, which has the `uri` of the published model.
        layout: the root of the published models.
        label: name and version; None only checks the requirements.

    Raises:
        GateError: a metric is below its requirement.
        OwnershipError: another model has this name and version.
        UsageError: an input is missing, or is of another model.
        DataError: the model is incomplete.
    """
    outputs = read_outputs(inputs)
    source = _find_source(outputs)
    description = read_model(source.directory).description
    invocation = Invocation(
        stage="publish",
        config=config,
        inputs={stage: output.described() for stage, output in outputs.items()},
        options={
            "name": label.name if label else None,
            "version": label.version if label else None,
        },
    )

    def work(folder: Path) -> Results:
        results = {
            "metrics": check_requirements(
                config,
                {stage: output.results.get("metrics", {}) for stage, output in outputs.items()},
            ),
            "training_id": description.training_id,
        }
        if label is None:
            announce("the model is not published: it has no name (--model-name)")
            return results
        version = label.version or description.training_id
        published = layout.model(label.name, version)
        results_of = {stage: output.results for stage, output in outputs.items()}
        card = write_card(f"{label.name} {version}", published.uri, description, results_of)
        _publish(source.directory / MODEL_DIR, published, description, card.encode())
        return results | {"uri": published.uri, "name": label.name, "version": version}

    results = run_stage(invocation, out_dir, work)
    metrics = results.pop("metrics")
    return StageResult(metrics=metrics, metadata=results)


def _find_source(outputs: Mapping[str, StageOutput]) -> StageOutput:
    """Return the output that holds the model, after a check that the others measure it."""
    sources = [outputs[stage] for stage in _SOURCES if stage in outputs]
    if len(sources) > 1:
        both = " and ".join(str(each.directory) for each in sources)
        raise UsageError(f"{both} both hold a model; give one of them")
    if not sources or "evaluate" not in outputs:
        missing = "evaluate" if sources else "' or '".join(_SOURCES)
        raise UsageError(f"the output directory of '{missing}' is missing")
    [source] = sources
    check_one_model(outputs)
    return source


def check_requirements(
    config: PublishConfig, metrics: Mapping[str, Mapping[str, float | None]]
) -> dict[str, float]:
    """Check the metrics that can have a requirement, given by stage; return the measured ones.

    Raises:
        GateError: one is below its requirement.
    """
    requirements = {
        "ap": ("evaluate", config.min_ap),
        "images_per_second": ("benchmark", config.min_images_per_second),
    }
    measured: dict[str, float] = {}
    for name, (stage, minimum) in requirements.items():
        value = metrics.get(stage, {}).get(name)
        if minimum and (value is None or value < minimum):
            shown = "was not measured" if value is None else f"is {value:.4g}"
            raise GateError(f"{name} {shown}; publish.min_{name} requires at least {minimum:.4g}")
        if value is not None:
            measured[name] = value
    return measured


def _publish(
    model_dir: Location, published: Location, description: ModelDescription, card: bytes
) -> None:
    """Copy the model: first its config.json, which claims the directory, and last the manifest.

    config.json contains the hashes of the other files, which identify the model.
    """
    config = model_dir.get(CONFIG_FILE)
    if not published.put_if_absent(CONFIG_FILE, config):
        if read_description(published).files != description.files:
            raise OwnershipError(
                f"{published} holds another model; choose another version, or remove that one"
            )
        config = published.get(CONFIG_FILE)  # the same weights, perhaps other sections
    if published.head(PUBLISHED_FILE) is not None:
        announce("already published, unchanged")
        return
    for file in description.files:
        published.put(file.name, file.read(model_dir))
    if not published.put_if_absent(CARD_FILE, card):
        card = published.get(CARD_FILE)  # another run's card of this model: its speeds may differ
    own = (KnownFile.of(CONFIG_FILE, config), KnownFile.of(CARD_FILE, card))
    manifest = {
        "format_version": 2,
        "version": __version__,
        "files": [file.model_dump() for file in (*own, *description.files)],
    }
    published.put_if_absent(PUBLISHED_FILE, (json.dumps(manifest, indent=2) + "\n").encode())
    announce("published as %s", published)
