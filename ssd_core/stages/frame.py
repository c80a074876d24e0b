"""The frame of every stage: invocation → work → results.

invocation.json   the request: enough to run the stage again
results.json      the results; written last, so a directory with results is complete; it has the
                  hashes of the invocation and of the other files
"""

import hashlib
import json
import os
import platform
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from pydantic_core import from_json

from ssd_core import __version__
from ssd_core.backends.ranks import ALONE, Ranks, read_rank_env
from ssd_core.config import Section
from ssd_core.errors import DataError, OwnershipError, UsageError
from ssd_core.store import LocalDirectory, Location
from ssd_core.store.known_file import KnownFile
from ssd_core.store.local import commit_file, explain_disk_errors, make_directory
from ssd_core.store.location import PARTIAL_PREFIX, is_empty, is_inside
from ssd_core.store.transfer import upload_directory

INVOCATION_FILE = "invocation.json"
RESULTS_FILE = "results.json"
RESULTS_VERSION = 2
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
    in_place: bool = False,
    is_measurement: bool = False,
) -> Results:
    """Write the invocation, do the work, and write its results.

    Every run that writes results ends here: code that follows a run, for example a notification,
    belongs at the end of this function.

    Args:
        invocation: the request; its inputs were opened and checked.
        out_dir: directory of the outputs.
        work: writes its outputs to a local folder and returns the content of `results.json`. The
            outputs move to `out_dir` at the end, so of two runs the later one gets it.
        ranks: the processes that work together; only the first one writes here.
        in_place: `work` writes to a local `out_dir` itself, which the stage has claimed.
        is_measurement: whether the results depend on the machine, so that they state where and when
            they were measured; other results are reproducible.

    Raises:
        UsageError: `out_dir` is inside the data set, or other ranks, which do not work together
            with this one, would write there too.
        OwnershipError: it belongs to something else, or a later run has claimed it.
    """
    if ranks is ALONE and (num_ranks := read_rank_env().world_size) > 1:
        raise UsageError(
            f"'{invocation.stage}' runs in one process, but {num_ranks} ranks were started; start "
            "it without torchrun, msrun and srun"
        )
    begun = datetime.now(timezone.utc)
    request = _format(invocation.content(), sort_keys=True)
    if data := invocation.inputs.get("dataset"):
        check_outside(out_dir, Location.parse(data.uri), "data set")
    ranks.on_first(lambda: _begin(invocation.stage, request, out_dir, in_place=in_place))
    with _work_folder(out_dir, ranks, in_place=in_place) as folder:
        results = work(folder)
        run = {"run": _describe_run(begun)} if is_measurement else {}
        ranks.on_first(
            lambda: _finish({**run, **results}, request, folder, out_dir, in_place=in_place)
        )
        return results


def check_outside(out_dir: Location, input_dir: Location, noun: str) -> None:
    """Refuse an output directory inside a source or a data set, which stays as it was checked.

    Raises:
        UsageError: `out_dir` is `input_dir` or below it.
    """
    if is_inside(out_dir, input_dir):
        raise UsageError(
            f"--out {out_dir} is inside the {noun} {input_dir}; choose a directory outside of it"
        )


def check_owner(stage: str, out_dir: Location) -> None:
    """Check that a directory is empty or holds an output of this stage.

    Raises:
        OwnershipError: it holds something else.
    """
    if is_empty(out_dir):
        return
    if out_dir.head(INVOCATION_FILE) is None:
        raise OwnershipError(
            f"{out_dir} holds files, but no {INVOCATION_FILE} of '{stage}'; choose an empty "
            "directory"
        )
    try:
        owner = parse_json(out_dir.get(INVOCATION_FILE), out_dir / INVOCATION_FILE).get("stage")
    except DataError:
        raise OwnershipError(
            f"{out_dir / INVOCATION_FILE} is damaged; choose another directory, or remove it"
        ) from None
    if owner != stage:
        raise OwnershipError(
            f"{out_dir} holds the output of '{owner}'; choose another directory for '{stage}'"
        )


def _begin(stage: str, request: bytes, out_dir: Location, *, in_place: bool) -> None:
    """Claim the directory, delete the results of an earlier run, and write the invocation."""
    if not in_place or out_dir.head(INVOCATION_FILE) is not None:
        check_owner(stage, out_dir)
    if out_dir.local is not None:
        make_directory(out_dir.local)
    out_dir.delete(RESULTS_FILE)
    out_dir.put(INVOCATION_FILE, request)


def _finish(
    results: Results, request: bytes, folder: Path, out_dir: Location, *, in_place: bool
) -> None:
    """Write the results and move them to `out_dir`, unless a later run has claimed it."""
    source = LocalDirectory(folder)
    files = [] if in_place else [found.key for found in source.list()]
    content = {
        "format_version": RESULTS_VERSION,
        "invocation": hashlib.sha256(request).hexdigest(),
        "files": [KnownFile.of(key, folder / key).model_dump() for key in files],
        **results,
    }
    if not in_place:
        _check_claim(request, out_dir)
    source.put(RESULTS_FILE, _format(content))
    if out_dir.local is None:
        upload_directory(folder, out_dir, last=RESULTS_FILE)
    elif not in_place:
        for key in (*files, RESULTS_FILE):
            make_directory((out_dir.local / key).parent)
            commit_file(folder / key, out_dir.local / key)
        _check_claim(request, out_dir)


def _describe_run(begun: datetime) -> dict[str, Any]:
    return {
        "host": platform.node(),
        "begun": begun.isoformat(timespec="seconds"),
        "seconds": round((datetime.now(timezone.utc) - begun).total_seconds(), 1),
    }


def _check_claim(request: bytes, out_dir: Location) -> None:
    try:
        is_ours = out_dir.get(INVOCATION_FILE) == request
    except FileNotFoundError:
        is_ours = False
    if not is_ours:
        raise OwnershipError(
            f"{out_dir}: a later run with other inputs has claimed it; repeat this one with "
            "another --out"
        )


@contextmanager
def _work_folder(out_dir: Location, ranks: Ranks, *, in_place: bool) -> Iterator[Path]:
    """Yield the output directory itself, or a temporary folder.

    That of rank 0 is on the disk of a local output directory, which other machines may lack.
    """
    if in_place and out_dir.local is not None:
        yield out_dir.local
        return
    disk = out_dir.local if ranks.rank == 0 else None
    parent = disk or Path(tempfile.gettempdir())
    with explain_disk_errors(parent):
        prefix = PARTIAL_PREFIX if disk else "ssd-stage-"
        folder = tempfile.TemporaryDirectory(prefix=prefix, dir=parent)
    with folder:
        yield Path(folder.name)


def _format(content: Mapping[str, Any], *, sort_keys: bool = False) -> bytes:
    text = json.dumps(content, indent=2, sort_keys=sort_keys, allow_nan=False)
    return f"{text}\n".encode()


def parse_json(content: bytes, path: Location) -> dict[str, Any]:
    """Parse a JSON object that a stage has written to `path`.

    Raises:
        DataError: the content is damaged.
    """
    try:
        parsed = from_json(content)  # unlike `json`, no text that cannot be written again
    except ValueError as error:
        raise DataError(f"{path} is not JSON: {error}; run the stage again") from None
    if not isinstance(parsed, dict):
        raise DataError(f"{path}: expected a JSON object; run the stage again")
    return parsed
