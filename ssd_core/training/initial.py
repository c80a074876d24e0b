"""Weights that a training starts from, in place of random ones.

They come from a model directory, a checkpoint or a file. An array is taken if the network has one
of the same name and shape; head rows are taken class by class, so the classes may change.
"""

import hashlib
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np

from ssd_core.backends.base import Learner
from ssd_core.backends.weights import replace_weights
from ssd_core.config import InitConfig, ModelConfig, differences
from ssd_core.errors import DataError, unlisted_name
from ssd_core.layouts.base import OURS
from ssd_core.layouts.torchvision import CLASSIFIERS
from ssd_core.logs import logger
from ssd_core.model_dir import WEIGHTS_FILE, read_description, read_model
from ssd_core.store import Location
from ssd_core.store.known_file import parse_arrays
from ssd_core.store.location import read_input
from ssd_core.structures import Array, ClassInfo

_SUFFIX = ".safetensors"
_INPUTS = {"mean", "std", "padding", "resize"}
"""Fields of `ModelConfig` that all weights depend on."""
_OUTPUTS = {"anchors", "variances"}
"""Those that the heads depend on too."""
_NUM_NAMED = 3
"""Other values that a warning names."""
_BACKGROUND = ""
"""Stands for the class 0 in a list of names."""
_IN_SCOPE: dict[str, Callable[[str], bool]] = {
    "all": lambda name: True,
    "backbone": lambda name: name.startswith("backbone."),
    "without-heads": lambda name: not name.startswith("heads."),
}
_CLASS_ROWS = re.compile(r"heads\.cls\.(\d+\.)?(conv\.)?(weight|bias)")
"""Arrays whose first dimension counts anchors of a cell times classes."""
_COUNTS = {
    "loaded": "arrays loaded",
    "skipped": "skipped",
    "initial": "left at initial values",
}


class InitialWeights:
    """The weights of a model, a checkpoint or a file, which are read when they are needed."""

    def __init__(self, config: InitConfig) -> None:
        """Read nothing yet."""
        self._config = config

    @cached_property
    def _content(self) -> bytes:
        """Of a file; read once, for its digest and for its arrays."""
        location = Location.parse(self._config.source or "")
        return read_input(location, f"a model directory, a checkpoint or a {_SUFFIX} file")

    @property
    def sha256(self) -> str:
        """SHA-256 of the file with the weights; "" for random ones.

        Raises:
            UsageError: the file or the model does not exist.
        """
        if not self._config.source:
            return ""
        return self._config.sha256 or self._find_sha256(self._config.source)

    def _find_sha256(self, source: str) -> str:
        if source.endswith(_SUFFIX):
            return hashlib.sha256(self._content).hexdigest()
        return read_description(Location.parse(source)).file(WEIGHTS_FILE).sha256

    def load(
        self, learner: Learner, model: ModelConfig, classes: Sequence[ClassInfo]
    ) -> dict[str, Any]:
        """Load the weights into a learner; return a record of the load, or {} for random ones.

        Raises:
            DataError: the weights are missing or damaged, have another hash, or fit nowhere.
            UsageError: `renamed` names a class that neither side has.
        """
        config = self._config
        if not config.source:
            if config.expected:
                logger.warning(
                    "training starts from random weights, but the recipe expects %s; give --init "
                    "FILE",
                    config.expected,
                )
            return {}
        sha256 = self._find_sha256(config.source)
        if config.sha256 not in {None, sha256}:
            raise DataError(
                f"{config.source}: sha256 {sha256}, expected train.init.sha256={config.sha256}"
            )
        given = self._read(config.source)
        vars(self).pop("_content", None)  # not needed while the training lasts
        return {"source": config.source, "sha256": sha256} | _load(
            config, given, learner, model, [_BACKGROUND, *(each.name for each in classes)]
        )

    def _read(self, source: str) -> "_Given":
        location = Location.parse(source)
        if source.endswith(_SUFFIX):
            arrays = parse_arrays(self._content, location)
            return _Given(arrays)
        found = read_model(location)
        names = [_BACKGROUND, *(each.name for each in found.classes)]
        return _Given(found.weights, names, found.description.model)


class _Given(NamedTuple):
    """Weights as they are stored."""

    arrays: dict[str, Array]
    """By our names, or by those of torchvision's classifiers."""
    classes: Sequence[str] = ()
    """With the background; a mere file has none."""
    model: ModelConfig | None = None


def _load(
    config: InitConfig, given: _Given, learner: Learner, model: ModelConfig, here: Sequence[str]
) -> dict[str, Any]:
    there = _rename(given.classes, config.renamed, here)
    own = learner.weights()
    arrays = _by_our_names(given.arrays, own, model.backbone)
    loaded = _fit(config.scope, own, arrays, here, there)
    if not loaded:
        raise DataError(
            f"{config.source}: none of its {len(arrays)} arrays fits this network; choose "
            f"weights of the same backbone, or another scope than '{config.scope}'"
        )
    if there and config.scope == "all" and not _common(here, there):
        logger.warning(
            "%s has no class of the data set, so the heads start from initial values; its classes "
            "are %s; map them with train.init.renamed, or import the weights with --classes",
            config.source,
            ", ".join(there[1:]),
        )
    if given.model:
        _compare(given.model, model, config)
    has_rows = any(map(_CLASS_ROWS.fullmatch, loaded))
    learner.load_state(replace_weights(learner.state(), loaded))
    origin = {
        "scope": config.scope,
        "classes": _common(here, there) if has_rows else [],
        "loaded": sorted(loaded),
        "skipped": sorted(arrays.keys() - loaded.keys()),
        "initial": sorted(own.keys() - loaded.keys()),
    }
    logger.info("starting from %s: %s", config.source, _describe(origin))
    return origin


def _compare(there: ModelConfig, here: ModelConfig, config: InitConfig) -> None:
    """Warn if the weights were trained for other inputs or outputs than they will have."""
    fields = _INPUTS | (_OUTPUTS if config.scope == "all" else set())
    before, now = (each.model_dump(mode="json", include=fields) for each in (there, here))
    if changes := differences(before, now, "train.model."):
        more = len(changes) - _NUM_NAMED
        logger.warning(
            "%s was trained with other values (%s%s); use the same values, unless the training is "
            "meant to adapt the weights",
            config.source,
            "; ".join(changes[:_NUM_NAMED]),
            f" and {more} more" if more > 0 else "",
        )


def _describe(origin: Mapping[str, Any]) -> str:
    """Describe a load in a few words."""
    counts = [f"{len(origin[name])} {text}" for name, text in _COUNTS.items()]
    kept = f"; classes kept: {', '.join(origin['classes'])}" if origin["classes"] else ""
    return f"{', '.join(counts)}{kept}"


def _by_our_names(
    arrays: Mapping[str, Array], own: Iterable[str], backbone: str
) -> dict[str, Array]:
    """Return arrays by our names, which a classifier of torchvision does not have."""
    layout = CLASSIFIERS.get(backbone, OURS)
    ours = {layout.name(name): name for name in own}
    return {
        ours.get(name.removeprefix(layout.prefix), name): array for name, array in arrays.items()
    }


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
        if array is None or _kind(array) != _kind(own[name]):
            continue
        if not np.isfinite(array).all():
            raise DataError(f"'{name}' of the initial weights has values that are not finite")
        fitting[name] = array.astype(own[name].dtype)
    return fitting


def _kind(array: Array) -> tuple[object, ...]:
    """Return what must be equal: the shape, and whether the values are floats or integers."""
    return array.shape, array.dtype.kind


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
