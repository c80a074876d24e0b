"""Read data sets, models and outputs of stages again and compare their files with their hashes."""

from collections.abc import Callable, Iterator
from typing import NamedTuple

from ssd_core.data.shards.files import find_faults
from ssd_core.data.shards.manifest import read_manifest
from ssd_core.errors import DataError, UsageError
from ssd_core.model_dir import (
    CLASSES_FILE,
    CONFIG_FILE,
    MODEL_DIR,
    WEIGHTS_FILE,
    read_description,
)
from ssd_core.stages.frame import INVOCATION_FILE, RESULTS_FILE
from ssd_core.stages.outputs import read_output
from ssd_core.store import Location
from ssd_core.store.known_file import KnownFile
from ssd_core.store.layout import MANIFEST_FILE

ListFiles = Callable[[Location], list[KnownFile]]


class Verified(NamedTuple):
    """A data set, a model or an output after its verification."""

    directory: Location
    faults: list[str]
    """One line per damaged or missing file."""


def run(root: Location) -> Iterator[Verified]:
    """Verify a data set, a model, the output of a stage, or all of them below a root.

    Raises:
        UsageError: the directory does not exist, contains nothing to verify, or cannot be listed.
    """
    if root.local is not None and not root.local.is_dir():
        raise UsageError(f"{root}: the directory does not exist")
    folders: dict[str, set[str]] = {}
    for found in root.list():
        folder, _, name = found.key.rpartition("/")
        folders.setdefault(folder, set()).add(name)
    kinds = {folder: _find_kinds((root / folder).name, names) for folder, names in folders.items()}
    if not any(kinds.values()):
        raise UsageError(
            f"{root} contains neither a converted data set ({MANIFEST_FILE}) nor a model "
            f"({CONFIG_FILE} and {WEIGHTS_FILE}) nor the output of a stage ({RESULTS_FILE})"
        )
    for folder, lists in kinds.items():
        if lists:
            directory = root / folder
            faults = [fault for each in lists for fault in _find_faults(directory, each)]
            yield Verified(directory, faults)


def _find_kinds(folder: str, names: set[str]) -> list[ListFiles]:
    """Return how to list the files of a folder that contains these; none if it is nothing."""
    is_model = folder == MODEL_DIR or not names.isdisjoint({CLASSES_FILE, WEIGHTS_FILE})
    kinds: dict[ListFiles, bool] = {
        _list_dataset: MANIFEST_FILE in names,
        _list_model: CONFIG_FILE in names and is_model,
        _list_output: names >= {INVOCATION_FILE, RESULTS_FILE},
    }
    return [list_files for list_files, is_kind in kinds.items() if is_kind]


def _list_dataset(data_dir: Location) -> list[KnownFile]:
    return list(read_manifest(data_dir).shards())


def _list_model(model_dir: Location) -> list[KnownFile]:
    return list(read_description(model_dir).files)


def _list_output(directory: Location) -> list[KnownFile]:
    return list(read_output(directory).files.values())


def _find_faults(directory: Location, list_files: ListFiles) -> list[str]:
    try:
        return list(find_faults(directory, list_files(directory)))
    except DataError as error:
        return [str(error)]
