"""Read everything under a place again and compare it with what its manifests promise."""

from collections.abc import Callable, Iterator
from typing import NamedTuple

from ssd_core.data.shards.files import find_faults
from ssd_core.data.shards.manifest import MANIFEST_FILE, read_manifest
from ssd_core.errors import DataError, UsageError
from ssd_core.model_dir import CLASSES_FILE, CONFIG_FILE, WEIGHTS_FILE, read_description
from ssd_core.store import Location
from ssd_core.store.known_file import KnownFile


class Verified(NamedTuple):
    """What became of one data set or model."""

    place: Location
    faults: list[str]
    """A line each; none where all is right."""


def run(place: Location) -> Iterator[Verified]:
    """Verify a data set, a model, or all of them that lie somewhere below a place.

    Args:
        place: a local directory or the URI of a store.

    Raises:
        UsageError: there is no such directory, or the store refuses.
        DataError: it holds neither.
        SurroundingsError: the store is away.
    """
    if place.local is not None and not place.local.is_dir():
        raise UsageError(f"{place}: no such directory")
    folders: dict[str, set[str]] = {}
    for found in place.list():
        folder, _, name = found.key.rpartition("/")
        if name in {MANIFEST_FILE, CONFIG_FILE, CLASSES_FILE, WEIGHTS_FILE}:
            folders.setdefault(folder, set()).add(name)
    datasets = [folder for folder, names in folders.items() if MANIFEST_FILE in names]
    models = [folder for folder, names in folders.items() if _is_model(names)]
    if not datasets and not models:
        raise DataError(
            f"{place} holds neither a converted data set nor a model: "
            f"no {MANIFEST_FILE}, no {CONFIG_FILE} with {WEIGHTS_FILE}"
        )
    for promises, found_in in ((_dataset_promises, datasets), (_model_promises, models)):
        for folder in found_in:
            directory = place / folder
            yield Verified(directory, _faults(directory, promises))


def _is_model(names: set[str]) -> bool:
    return CONFIG_FILE in names and not names.isdisjoint({CLASSES_FILE, WEIGHTS_FILE})


def _dataset_promises(place: Location) -> list[KnownFile]:
    return list(read_manifest(place).shards())


def _model_promises(place: Location) -> list[KnownFile]:
    return list(read_description(place).files)


def _faults(place: Location, promises: Callable[[Location], list[KnownFile]]) -> list[str]:
    try:
        return list(find_faults(place, promises(place)))
    except DataError as error:
        return [str(error)]
