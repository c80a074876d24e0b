"""Weights that a training starts from, in place of random ones.

They come from a model directory, a checkpoint or a file. An array is taken if the network has one
of the same name and shape; head rows are taken class by class, so the classes may change.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from ssd_core.backends.base import Learner
from ssd_core.backends.weights import WEIGHTS
from ssd_core.config import InitConfig
from ssd_core.errors import DataError, unlisted_name
from ssd_core.layouts.torchvision import number_vgg16
from ssd_core.logs import logger
from ssd_core.model_dir import WEIGHTS_FILE, read_description, read_model
from ssd_core.store import Location
from ssd_core.store.known_file import KnownFile, read_arrays
from ssd_core.structures import Array, ClassInfo

_SUFFIX = ".safetensors"
_BACKGROUND = ""
"""Stands for the class 0 in a list of names."""
_IN_SCOPE: dict[str, Callable[[str], bool]] = {
    "all": lambda name: True,
    "backbone": lambda name: name.startswith("backbone."),
    "without-heads": lambda name: not name.startswith("heads."),
}
_CLASS_ROWS = re.compile(r"heads\.cls\.\d+(\.conv)?\.(weight|bias)")
"""Arrays whose first dimension counts anchors of a cell times classes."""
_COUNTS = {
    "loaded": "arrays loaded",
    "skipped": "skipped",
    "initial": "left at initial values",
}


def find_digest(config: InitConfig) -> str:
    """Return the SHA-256 of the file with the initial weights; "" for random ones.

    Raises:
        DataError: there are no weights at `config.source`.
    """
    if not config.source:
        return ""
    return config.sha256 or _find_file(config.source).sha256


def start_from(
    config: InitConfig, learner: Learner, classes: Sequence[ClassInfo]
) -> dict[str, Any]:
    """Load initial weights into a learner; return what was loaded, or {} for random weights.

    Raises:
        DataError: the weights are missing or damaged, have another hash, or fit nowhere.
        UsageError: `config.renamed` names a class that neither side has.
    """
    if not config.source:
        if config.expected:
            logger.warning(
                "training starts from random weights, but the recipe expects %s; give --init FILE",
                config.expected,
            )
        return {}
    file, given, there = _read(config.source, config.sha256)
    here = [_BACKGROUND, *(each.name for each in classes)]
    there = _rename(there, config.renamed, here)
    own = learner.weights()
    loaded = _fit(config.scope, own, given, here, there)
    if not loaded:
        raise DataError(
            f"{config.source}: none of its {len(given)} arrays fits this network; choose weights "
            f"of the same backbone, or another scope than '{config.scope}'"
        )
    if there and config.scope == "all" and not _common(here, there):
        logger.warning(
            "%s has no class of the data set, so the heads start from initial values; its classes "
            "are %s; map them with train.init.renamed, or import the weights with --classes",
            config.source,
            ", ".join(there[1:]),
        )
    has_rows = any(map(_CLASS_ROWS.fullmatch, loaded))
    learner.load_state(learner.state() | {WEIGHTS + name: loaded[name] for name in loaded})
    origin = {
        "source": config.source,
        "sha256": file.sha256,
        "scope": config.scope,
        "classes": _common(here, there) if has_rows else [],
        "loaded": sorted(loaded),
        "skipped": sorted(given.keys() - loaded.keys()),
        "initial": sorted(own.keys() - loaded.keys()),
    }
    logger.info("%s", _describe(origin))
    return origin


def _describe(origin: Mapping[str, Any]) -> str:
    """Say in one line what `start_from` returned."""
    counts = [f"{len(origin[name])} {text}" for name, text in _COUNTS.items()]
    kept = f"; classes kept: {', '.join(origin['classes'])}" if origin["classes"] else ""
    return f"starting from {origin['source']}: {', '.join(counts)}{kept}"


def _find_file(source: str) -> KnownFile:
    """Return the file with the weights; of a model directory, as its description lists it."""
    location = Location.parse(source)
    if not source.endswith(_SUFFIX):
        return read_description(location).file(WEIGHTS_FILE)
    try:
        return KnownFile.of(location.name, location.parent.get(location.name))
    except FileNotFoundError:
        raise DataError(
            f"{source} does not exist; expected a model directory, a checkpoint or a {_SUFFIX} "
            "file as train.init.source"
        ) from None


def _read(source: str, expected: str | None) -> tuple[KnownFile, dict[str, Array], list[str]]:
    """Return the file, its arrays under our names, and the class names, which a mere file lacks."""
    location, file = Location.parse(source), _find_file(source)
    if expected not in {None, file.sha256}:
        raise DataError(f"{source}: sha256 {file.sha256}, expected train.init.sha256={expected}")
    if not source.endswith(_SUFFIX):
        model = read_model(location)
        return file, model.weights, [_BACKGROUND, *(each.name for each in model.classes)]
    arrays = read_arrays(location.parent, file)
    return file, {_neutral_name(name): array for name, array in arrays.items()}, []


def _neutral_name(name: str) -> str:
    """Return our name for an array of VGG16, which other programs number by its layer.

    torchvision writes `features.28.weight` for conv5_3, the first programs of SSD `28.weight`, with
    the convolutions fc6 and fc7 behind it. Every other name stays.
    """
    layers = {place: layer for layer, place in number_vgg16().items()}
    match = re.fullmatch(r"(?:features\.)?(\d+)\.(weight|bias)", name)
    layer = layers.get(int(match[1])) if match else None
    return f"backbone.{layer}.{match[2]}" if match and layer else name


def _rename(there: Sequence[str], entries: Sequence[str], here: Sequence[str]) -> list[str]:
    """Return the class names of the weights as they are called here."""
    names = {}
    for entry in entries:
        old, _, new = entry.partition("=")
        for name, known in ((old, there[1:]), (new, here[1:])):  # the background has no name
            if name not in known:
                raise unlisted_name("class", name, known)
        names[old] = new
    return [names.get(name, name) for name in there]


def _common(here: Sequence[str], there: Sequence[str]) -> list[str]:
    """Return the classes of both sides, without the background."""
    return [name for name in here[1:] if name in there]


def _fit(
    scope: str,
    own: Mapping[str, Array],
    given: Mapping[str, Array],
    here: Sequence[str],
    there: Sequence[str],
) -> dict[str, Array]:
    """Return the given arrays that the network can take, by name."""
    fitting = {}
    for name in filter(_IN_SCOPE[scope], own.keys() & given.keys()):
        array: Array | None = given[name]
        if there and _CLASS_ROWS.fullmatch(name):
            array = _move_rows(own[name], given[name], here, there)
        if array is None or array.shape != own[name].shape:
            continue
        if not np.isfinite(array).all():
            raise DataError(f"'{name}' of the initial weights has values that are not finite")
        fitting[name] = array.astype(own[name].dtype)
    return fitting


def _move_rows(own: Array, given: Array, here: Sequence[str], there: Sequence[str]) -> Array | None:
    """Return the rows of a head with those of the classes of both sides taken from `given`.

    The rows are ordered by anchor of a cell, then by class. None if `given` has other anchors, or
    no class of ours: a background alone is not worth a head.
    """
    num_anchors, tail = len(own) // len(here), own.shape[1:]
    if given.shape != (num_anchors * len(there), *tail) or not _common(here, there):
        return None
    moved = own.reshape(num_anchors, len(here), *tail).copy()
    pairs = [(row, there.index(name)) for row, name in enumerate(here) if name in there]
    to, of = map(list, zip(*pairs, strict=True))
    moved[:, to] = given.reshape(num_anchors, len(there), *tail)[:, of]
    return moved.reshape(own.shape)
