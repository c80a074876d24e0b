"""The two files every stage leaves beside its outputs: what it was asked, what it found."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ssd_core import __version__
from ssd_core.errors import DataError, OwnershipError, UsageError
from ssd_core.store.local import explain_disk_errors, write_file

INVOCATION_FILE = "invocation.json"
RESULTS_FILE = "results.json"


@dataclass(frozen=True, slots=True, kw_only=True)
class StageOutput:
    """What a finished stage left in its output directory."""

    directory: Path
    invocation: dict[str, Any]
    results: dict[str, Any]


def prepare_out_dir(out_dir: Path, stage: str) -> None:
    """Make the output directory of `stage` and forget an earlier run, before the work starts.

    Raises:
        OwnershipError: another stage has worked there.
        UsageError: nothing can be written there.
    """
    with explain_disk_errors(out_dir):
        if (out_dir / INVOCATION_FILE).is_file():
            owner = _read_json(out_dir / INVOCATION_FILE).get("stage")
            if owner != stage:
                raise OwnershipError(
                    f"{out_dir} holds the output of '{owner}'; choose another place for '{stage}'"
                )
        out_dir.mkdir(parents=True, exist_ok=True)
        (out_dir / RESULTS_FILE).unlink(missing_ok=True)


def write_invocation(
    out_dir: Path,
    stage: str,
    config: Mapping[str, Any],
    *,
    inputs: Mapping[str, Mapping[str, str]],
    **options: Any,
) -> None:
    """Record what is needed to run the stage again.

    Args:
        out_dir: the output directory of the stage.
        stage: its name.
        config: its section of the configuration, complete.
        inputs: by parameter name the `uri` and `digest` of what was read.
        options: everything else that was chosen: framework, device, ...
    """
    content = {
        "stage": stage,
        "version": __version__,
        "config": config,
        "inputs": inputs,
        "options": options,
    }
    write_file(out_dir / INVOCATION_FILE, json.dumps(content, indent=2, sort_keys=True) + "\n")


def write_results(out_dir: Path, results: Mapping[str, Any]) -> None:
    """Write the numbers of a stage; it comes last, so a directory with results is complete."""
    write_file(out_dir / RESULTS_FILE, json.dumps(results, indent=2, allow_nan=False) + "\n")


def read_output(directory: Path) -> StageOutput:
    """Read the two files again.

    Raises:
        UsageError: no stage has worked in this directory.
        DataError: the stage has not finished, or a file is broken.
    """
    if not (directory / INVOCATION_FILE).is_file():
        raise UsageError(
            f"{directory}: no {INVOCATION_FILE} here; expected the output directory of a stage"
        )
    return StageOutput(
        directory=directory,
        invocation=_read_json(directory / INVOCATION_FILE),
        results=_read_json(directory / RESULTS_FILE),
    )


def _read_json(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_bytes())
    except FileNotFoundError:
        raise DataError(f"{path} is missing: the stage has not finished; run it again") from None
    except ValueError as error:
        raise DataError(f"{path} is not JSON: {error}; run the stage again") from None
    if not isinstance(content, dict):
        raise DataError(f"{path}: expected a JSON object; run the stage again")
    return content
