"""Read data sets and models again and compare their files with the manifests."""

from collections.abc import Callable, Iterator
from typing import NamedTuple

from ssd_core.data.shards.files import find_faults
from ssd_core.data.shards.manifest import read_manifest
from ssd_core.errors import DataError, UsageError
from ssd_core.model_dir import CLASSES_FILE, CONFIG_FILE, WEIGHTS_FILE, read_description
from ssd_core.store import Location
from ssd_core.store.known_file import KnownFile
from ssd_core.store.layout import MANIFEST_FILE


class Verified(NamedTuple):
    """A data set or model after its verification."""

    directory: Location
    faults: list[str]
    """One line per damaged or missing file."""


def run(root: Location) -> Iterator[Verified]:
    """Verify a data set, a model, or all of them below a root.

    Raises:
        UsageError: the directory does not exist.
        DataError: it contains neither a data set nor a model.
    """
    if root.local is not None and not root.local.is_dir():
        raise UsageError(f"{root}: the directory does not exist")
    folders: dict[str, set[str]] = {}
    for found in root.list():
        folder, _, name = found.key.rpartition("/")
        if name in {MANIFEST_FILE, CONFIG_FILE, CLASSES_FILE, WEIGHTS_FILE}:
            folders.setdefault(folder, set()).add(name)
    datasets = [folder for folder, names in folders.items() if MANIFEST_FILE in names]
    models = [folder for folder, names in folders.items() if _is_model(names)]
    if not datasets and not models:
        raise DataError(
            f"{root} contains neither a converted data set ({MANIFEST_FILE}) nor a model "
            f"({CONFIG_FILE} and {WEIGHTS_FILE})"
        )
    for list_files, paths in ((_dataset_files, datasets), (_model_files, models)):
        for path in paths:
            directory = root / path
            yield Verified(directory, _faults(directory, list_files))


def _is_model(names: set[str]) -> bool:
    return CONFIG_FILE in names and not names.isdisjoint({CLASSES_FILE, WEIGHTS_FILE})


def _dataset_files(data_dir: Location) -> list[KnownFile]:
    return list(read_manifest(data_dir).shards())


def _model_files(model_dir: Location) -> list[KnownFile]:
    return list(read_description(model_dir).files)


def _faults(directory: Location, list_files: Callable[[Location], list[KnownFile]]) -> list[str]:
    try:
        return list(find_faults(directory, list_files(directory)))
    except DataError as error:
        return [str(error)]
