"""The step that hands a model out: past a gate, under a name and a version, with a card."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from ssd_core import __version__
from ssd_core.config import PublishConfig
from ssd_core.errors import GateError, OwnershipError, UsageError
from ssd_core.logs import logger
from ssd_core.model_dir import (
    CLASSES_FILE,
    CONFIG_FILE,
    MODEL_DIR,
    WEIGHTS_FILE,
    ModelDescription,
    read_model,
)
from ssd_core.report.model_card import write_card
from ssd_core.stages.frame import Invocation, Results, StageOutput, run_stage
from ssd_core.stages.report import read_outputs
from ssd_core.store import LocalDirectory, Location
from ssd_core.store.known_file import KnownFile
from ssd_core.store.places import Places
from ssd_core.structures import StageResult

PUBLISHED_FILE = "published.json"
"""Lists the files; `manifest.json` would make it look like a data set."""
CARD_FILE = "README.md"


@dataclass(frozen=True, slots=True, kw_only=True)
class Label:
    """What a model is published as."""

    name: str
    version: str = ""
    """Empty for the id of its training, so that the same training has the same version."""


def run(
    config: PublishConfig,
    inputs: Sequence[Path],
    out_dir: Location,
    *,
    places: Places,
    label: Label | None,
) -> StageResult:
    """Check a model against its bars, and put it under `models/<name>/<version>/`.

    There it lies as a model directory with a card (README.md) and `published.json`, which comes
    last. Of several models for one version the first wins; the same model again returns at once.
    `results.json` in `out_dir` says where it is.

    Args:
        config: the `publish` section.
        inputs: output directories of train and evaluate, and of benchmark where speed is asked for.
        out_dir: place of the results.
        places: the root that holds the published models.
        label: name and version; None only checks the bars.

    Raises:
        GateError: a bar was not reached; the message names figure and bar.
        OwnershipError: another model has this name and version.
        UsageError: an input is missing, or is about another model.
        DataError: the model is incomplete.
    """
    outputs = read_outputs(inputs)
    description = _check_inputs(outputs)
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
            "metrics": _check_bars(config, outputs),
            "training_id": description.training_id,
        }
        if label is None:
            logger.info("the model is not published: it was given no name")
            return results
        version = label.version or description.training_id
        place = places.model(label.name, version)
        _publish(place, f"{label.name} {version}", outputs, description)
        return results | {"uri": place.uri, "name": label.name, "version": version}

    results = run_stage(invocation, out_dir, work)
    metrics = results.pop("metrics")
    return StageResult(metrics=metrics, metadata=results)


def _check_inputs(outputs: Mapping[str, StageOutput]) -> ModelDescription:
    """Return the model, after a look at whether the measurements are about it."""
    for stage in ("train", "evaluate"):
        if stage not in outputs:
            raise UsageError(f"nothing to publish without the output directory of '{stage}'")
    description = read_model(LocalDirectory(outputs["train"].directory / MODEL_DIR)).description
    digest = description.file(WEIGHTS_FILE).sha256
    for stage in set(outputs) - {"train"}:
        if outputs[stage].invocation["inputs"]["model_dir"]["digest"] != digest:
            raise UsageError(
                f"{outputs[stage].directory} is about another model than "
                f"{outputs['train'].directory}; expected the '{stage}' of this one"
            )
    return description


def _check_bars(section: PublishConfig, outputs: Mapping[str, StageOutput]) -> dict[str, float]:
    """Return the figures that have a bar in the configuration, all of them above it."""
    bars = {
        "ap": ("evaluate", section.min_ap),
        "images_per_second": ("benchmark", section.min_images_per_second),
    }
    figures: dict[str, float] = {}
    for name, (stage, bar) in bars.items():
        figure = outputs[stage].results["metrics"].get(name) if stage in outputs else None
        if bar and (figure is None or figure < bar):
            shown = "was not measured" if figure is None else f"is {figure:.4g}"
            raise GateError(f"{name} {shown}; publish.min_{name} requires at least {bar:.4g}")
        if figure is not None:
            figures[name] = figure
    return figures


def _publish(
    place: Location,
    title: str,
    outputs: Mapping[str, StageOutput],
    description: ModelDescription,
) -> None:
    """Copy the model: first its config.json, which claims the place, and last the manifest.

    config.json holds the hashes of the other files, so it stands for the model.
    """
    model_dir = outputs["train"].directory / MODEL_DIR
    config = (model_dir / CONFIG_FILE).read_bytes()
    if not place.put_if_absent(CONFIG_FILE, config) and place.get(CONFIG_FILE) != config:
        raise OwnershipError(
            f"{place} holds another model; choose another version, or remove that one"
        )
    if place.head(PUBLISHED_FILE) is not None:
        logger.info("%s: is published already", place)
        return
    for name in (CLASSES_FILE, WEIGHTS_FILE):
        place.put(name, model_dir / name)
    results = {stage: output.results for stage, output in outputs.items()}
    card = write_card(title, place.uri, description, results).encode()
    if not place.put_if_absent(CARD_FILE, card):
        card = place.get(CARD_FILE)  # of another run of the same model, whose figures differ a bit
    own = (KnownFile.of(CONFIG_FILE, config), KnownFile.of(CARD_FILE, card))
    manifest = {
        "format_version": 2,
        "version": __version__,
        "files": [file.model_dump() for file in (*own, *description.files)],
    }
    place.put_if_absent(PUBLISHED_FILE, (json.dumps(manifest, indent=2) + "\n").encode())
    logger.info("published as %s", place)
