"""The frame of every stage: invocation → work → results.

invocation.json   the request: enough to run the stage again
results.json      the results; written last, so a directory with results is complete
"""

import json
import os
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from ssd_core import __version__
from ssd_core.backends.ranks import ALONE, Ranks
from ssd_core.config import Section
from ssd_core.errors import DataError, OwnershipError, UsageError
from ssd_core.store import LocalDirectory, Location
from ssd_core.store.known_file import KnownFile
from ssd_core.store.local import explain_disk_errors, make_directory
from ssd_core.store.transfer import upload_directory

INVOCATION_FILE = "invocation.json"
RESULTS_FILE = "results.json"
RESULTS_VERSION = 1
"""Incremented when results of an earlier version of this package become unusable."""
IMAGE_VARIABLE = "SSD_IMAGE"
"""Environment variable: name of the container image, set by the image itself."""

Results = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Input:
    """Where an input is, and the digest of its content if that is known in advance."""

    uri: str
    digest: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Invocation:
    """The request to a stage."""

    stage: str
    config: Section | Mapping[str, Any]
    """Its section of the configuration, complete."""
    inputs: Mapping[str, Input]
    """By parameter name."""
    options: Mapping[str, Any] = field(default_factory=dict)
    """All other arguments of the user: framework, device, ..."""

    def content(self) -> dict[str, Any]:
        """Return the content of `invocation.json`."""
        config = self.config
        return {
            "stage": self.stage,
            "version": __version__,
            "image": os.environ.get(IMAGE_VARIABLE, ""),
            "config": config.model_dump(mode="json") if isinstance(config, Section) else config,
            "inputs": {name: asdict(each) for name, each in self.inputs.items()},
            "options": self.options,
        }


def run_stage(
    invocation: Invocation,
    out_dir: Location,
    work: Callable[[Path], Results],
    *,
    ranks: Ranks = ALONE,
) -> Results:
    """Write the invocation, do the work, and write its results.

    Every run that writes results ends here: code that follows a run, for example a notification,
    belongs at the end of this function.

    Args:
        invocation: the request; its inputs were opened and checked.
        out_dir: directory of the outputs.
        work: writes its outputs to a local folder and returns the content of `results.json`. The
            folder is `out_dir` itself, or is uploaded to an `out_dir` in a store.
        ranks: the processes that work together; only the first one writes here.

    Raises:
        OwnershipError: `out_dir` belongs to another stage.
    """
    ranks.on_first(lambda: _begin(invocation, out_dir))
    with _local_folder(out_dir) as folder:
        results = work(folder)
        ranks.on_first(lambda: _finish(results, folder, out_dir))
        return results


def _begin(invocation: Invocation, out_dir: Location) -> None:
    """Claim the directory, delete the results of an earlier run, and write the invocation."""
    if out_dir.head(INVOCATION_FILE) is not None:
        try:
            owner = _read_json(out_dir, INVOCATION_FILE).get("stage")
        except DataError:
            raise OwnershipError(
                f"{out_dir / INVOCATION_FILE} is damaged; choose another directory, or remove it"
            ) from None
        if owner != invocation.stage:
            raise OwnershipError(
                f"{out_dir} holds the output of '{owner}'; choose another directory for "
                f"'{invocation.stage}'"
            )
    if out_dir.local is not None:
        make_directory(out_dir.local)
    out_dir.delete(RESULTS_FILE)
    out_dir.put(INVOCATION_FILE, _format(invocation.content(), sort_keys=True))


def _finish(results: Results, folder: Path, out_dir: Location) -> None:
    content = _format({"format_version": RESULTS_VERSION, **results})
    LocalDirectory(folder).put(RESULTS_FILE, content)
    if out_dir.local is None:
        upload_directory(folder, out_dir, last=RESULTS_FILE)


@contextmanager
def _local_folder(out_dir: Location) -> Iterator[Path]:
    """Yield the output directory itself, or an empty temporary folder for a store."""
    if out_dir.local is not None:
        yield out_dir.local
        return
    with explain_disk_errors(Path(tempfile.gettempdir())):
        folder = tempfile.TemporaryDirectory(prefix="ssd-stage-")
    with folder:
        yield Path(folder.name)


def _format(content: Mapping[str, Any], *, sort_keys: bool = False) -> bytes:
    text = json.dumps(content, indent=2, sort_keys=sort_keys, allow_nan=False)
    return f"{text}\n".encode()


@dataclass(frozen=True, slots=True, kw_only=True)
class StageOutput:
    """The content of the output directory of a finished stage."""

    directory: Location
    invocation: dict[str, Any]
    results: Results

    def described(self) -> Input:
        """Return this output as the input of another stage."""
        digest = KnownFile.of(RESULTS_FILE, self.read(RESULTS_FILE)).sha256
        return Input(self.directory.uri, digest)

    def read(self, name: str) -> bytes:
        """Return the content of one of its files.

        Raises:
            DataError: the file does not exist.
        """
        return _read(self.directory, name)


def read_output(directory: Location) -> StageOutput:
    """Read the output directory of a finished stage."""
    return StageOutput(
        directory=directory,
        invocation=read_invocation(directory),
        results=read_stage_results(directory),
    )


def read_invocation(directory: Location) -> dict[str, Any]:
    """Return the invocation of a stage, finished or not.

    Raises:
        UsageError: the directory is not the output of a stage.
        DataError: the file is damaged.
    """
    if directory.head(INVOCATION_FILE) is None:
        raise UsageError(
            f"{directory} has no {INVOCATION_FILE}; expected the output directory of a stage"
        )
    return _read_json(directory, INVOCATION_FILE)


def read_stage_results(directory: Location) -> Results:
    """Return the results of a finished stage.

    Raises:
        DataError: the stage has not finished, or the file is damaged or of another version.
    """
    results = _read_json(directory, RESULTS_FILE)
    version = results.pop("format_version", None)
    if version != RESULTS_VERSION:
        raise DataError(
            f"{directory / RESULTS_FILE} has format version {version}, expected {RESULTS_VERSION}; "
            "run the stage again"
        )
    return results


def _read(directory: Location, name: str) -> bytes:
    try:
        return directory.get(name)
    except FileNotFoundError:
        raise DataError(
            f"{directory / name} is missing: the stage has not finished; run it again"
        ) from None


def _read_json(directory: Location, name: str) -> dict[str, Any]:
    path, text = directory / name, _read(directory, name)
    try:
        content = json.loads(text)
    except ValueError as error:
        raise DataError(f"{path} is not JSON: {error}; run the stage again") from None
    except RecursionError:
        raise DataError(f"{path} is not JSON: nested too deeply; run the stage again") from None
    if not isinstance(content, dict):
        raise DataError(f"{path}: expected a JSON object; run the stage again")
    return content
