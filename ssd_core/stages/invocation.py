"""The two files every stage leaves beside its outputs: what it was asked, what it found."""

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ssd_core import __version__
from ssd_core.errors import DataError, OwnershipError, UsageError
from ssd_core.store import Location
from ssd_core.store.local import LocalDirectory, file_sha256, make_directory

INVOCATION_FILE = "invocation.json"
RESULTS_FILE = "results.json"
RESULTS_VERSION = 1
"""Raised when a stage could not use the results that its predecessor used to write."""
IMAGE_VARIABLE = "SSD_IMAGE"
"""Environment variable: the container image, set by the image itself; unset outside of one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StageOutput:
    """What a finished stage left in its output directory."""

    directory: Path
    invocation: dict[str, Any]
    results: dict[str, Any]

    def described(self) -> dict[str, str]:
        """Return what the invocation of a stage that reads this output says of it."""
        digest = file_sha256(self.directory / RESULTS_FILE)
        return {"uri": LocalDirectory(self.directory).uri, "digest": digest}


def prepare_out_dir(out_dir: Location, stage: str) -> None:
    """Make the output directory of `stage` and forget an earlier run, before the work starts.

    Raises:
        OwnershipError: another stage has worked there.
        UsageError: nothing can be written there.
        SurroundingsError: the store is away.
    """
    if out_dir.head(INVOCATION_FILE) is not None:
        owner = _read_json(out_dir, INVOCATION_FILE).get("stage")
        if owner != stage:
            raise OwnershipError(
                f"{out_dir} holds the output of '{owner}'; choose another place for '{stage}'"
            )
    if out_dir.local is not None:
        make_directory(out_dir.local)
    out_dir.delete(RESULTS_FILE)


def write_invocation(
    out_dir: Location,
    stage: str,
    config: Mapping[str, Any],
    *,
    inputs: Mapping[str, Mapping[str, str]],
    **options: Any,
) -> None:
    """Record what is needed to run the stage again.

    Args:
        out_dir: the output directory of the stage, also in a store.
        stage: its name.
        config: its section of the configuration, complete.
        inputs: by parameter name the `uri` and `digest` of what was read.
        options: everything else that was chosen: framework, device, ...
    """
    content = {
        "stage": stage,
        "version": __version__,
        "image": os.environ.get(IMAGE_VARIABLE, ""),
        "config": config,
        "inputs": inputs,
        "options": options,
    }
    text = json.dumps(content, indent=2, sort_keys=True) + "\n"
    out_dir.put(INVOCATION_FILE, text.encode())


def write_results(out_dir: Location, results: Mapping[str, Any]) -> None:
    """Write the numbers of a stage; it comes last, so a directory with results is complete."""
    content = {"format_version": RESULTS_VERSION, **results}
    text = json.dumps(content, indent=2, allow_nan=False) + "\n"
    out_dir.put(RESULTS_FILE, text.encode())


def read_output(directory: Path) -> StageOutput:
    """Read the two files again.

    Raises:
        UsageError: no stage has worked in this directory.
        DataError: the stage has not finished, or a file is broken.
    """
    invocation, results = read_record(LocalDirectory(directory))
    return StageOutput(directory=directory, invocation=invocation, results=results)


def read_record(place: Location) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return invocation and results of a finished stage, wherever it left them.

    Raises:
        UsageError: no stage has worked there.
        DataError: the stage has not finished, or a file is broken or of another version.
        SurroundingsError: the store is away.
    """
    return read_invocation(place), _read_results(place)


def read_invocation(place: Location) -> dict[str, Any]:
    """Return what a stage was asked, finished or not.

    Raises:
        UsageError: no stage has worked there.
        DataError: the file is broken.
        SurroundingsError: the store is away.
    """
    if place.head(INVOCATION_FILE) is None:
        raise UsageError(
            f"{place}: no {INVOCATION_FILE} here; expected the output directory of a stage"
        )
    return _read_json(place, INVOCATION_FILE)


def _read_results(directory: Location) -> dict[str, Any]:
    results = _read_json(directory, RESULTS_FILE)
    version = results.pop("format_version", None)
    if version != RESULTS_VERSION:
        raise DataError(
            f"{directory / RESULTS_FILE} has format version {version}, this program "
            f"reads {RESULTS_VERSION}; run the stage again"
        )
    return results


def _read_json(directory: Location, name: str) -> dict[str, Any]:
    place = directory / name
    try:
        content = json.loads(directory.get(name))
    except FileNotFoundError:
        raise DataError(f"{place} is missing: the stage has not finished; run it again") from None
    except ValueError as error:
        raise DataError(f"{place} is not JSON: {error}; run the stage again") from None
    except RecursionError:
        raise DataError(f"{place} is not JSON: nested too deeply; run the stage again") from None
    if not isinstance(content, dict):
        raise DataError(f"{place}: expected a JSON object; run the stage again")
    return content
