"""Read everything under a place again and compare it with what its manifests promise."""

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from ssd_core.data.shards.integrity import find_faults
from ssd_core.data.shards.manifest import MANIFEST_FILE, read_manifest
from ssd_core.errors import DataError, UsageError
from ssd_core.model_dir import CLASSES_FILE, CONFIG_FILE, WEIGHTS_FILE, read_model


class Verified(NamedTuple):
    """What became of one data set or model."""

    path: Path
    faults: list[str]
    """A line each; none where all is right."""


def run(directory: Path) -> Iterator[Verified]:
    """Verify a data set, a model, or all of them that lie somewhere below a directory.

    Raises:
        UsageError: there is no such directory.
        DataError: it holds neither.
    """
    if not directory.is_dir():
        raise UsageError(f"{directory}: no such directory")
    manifests = sorted(directory.rglob(MANIFEST_FILE))
    models = sorted(path.parent for path in directory.rglob(CONFIG_FILE) if _is_model(path.parent))
    if not manifests and not models:
        raise DataError(
            f"{directory} holds neither a converted data set nor a model: "
            f"no {MANIFEST_FILE}, no {CONFIG_FILE} with {WEIGHTS_FILE}"
        )
    for path in manifests:
        yield Verified(path.parent, _dataset_faults(path.parent))
    for path in models:
        yield Verified(path, _model_faults(path))


def _is_model(directory: Path) -> bool:
    return any((directory / name).exists() for name in (CLASSES_FILE, WEIGHTS_FILE))


def _dataset_faults(data_dir: Path) -> list[str]:
    try:
        return list(find_faults(data_dir, read_manifest(data_dir)))
    except DataError as error:
        return [str(error)]


def _model_faults(model_dir: Path) -> list[str]:
    try:
        read_model(model_dir)
    except DataError as error:
        return [str(error)]
    return []
