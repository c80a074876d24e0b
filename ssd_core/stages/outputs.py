"""Outputs of finished stages as the inputs of other stages."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from ssd_core.config import first_problem
from ssd_core.errors import DataError, UsageError, remedied
from ssd_core.model_dir import WEIGHTS_FILE, read_description
from ssd_core.stages.frame import (
    INVOCATION_FILE,
    RESULTS_FILE,
    RESULTS_VERSION,
    Input,
    Results,
    parse_json,
)
from ssd_core.stages.shapes import REPORTED, Frame, Request
from ssd_core.store import Location
from ssd_core.store.known_file import KnownFile

ShapeT = TypeVar("ShapeT", bound=BaseModel)
_ANY_OUTPUT = "the output directory of a stage"


@dataclass(frozen=True, slots=True, kw_only=True)
class StageOutput:
    """The content of the output directory of a finished stage."""

    directory: Location
    invocation: dict[str, Any]
    results: Results
    files: Mapping[str, KnownFile]
    """The other files, unless the stage writes them in place."""
    digest: str
    """SHA-256 of `results.json`."""

    def described(self) -> Input:
        """Return this output as the input of another stage."""
        return Input(self.directory.uri, self.digest)

    def read(self, name: str) -> bytes:
        """Return the content of one of its files.

        Raises:
            DataError: the file is damaged or missing, perhaps since an earlier version did not
                write it.
        """
        known = self.files.get(name)
        if known is None and self.files:
            raise DataError(
                f"{self.directory} has no {name}, since an earlier version of ssd-core wrote it; "
                "run the stage again"
            )
        if known is None:
            return _get(self.directory, name)
        with remedied("run the stage again"):
            return known.read(self.directory)


def read_output(directory: Location, expected: str = _ANY_OUTPUT) -> StageOutput:
    """Read the output directory of a finished stage.

    Args:
        directory: the output of the stage.
        expected: the kind of output, for the message.

    Raises:
        UsageError: the directory is not the output of a stage.
        DataError: the stage has not finished, or a file is damaged, of another run or version.
    """
    request = _get_request(directory, expected)
    invocation = parse_json(request, directory / INVOCATION_FILE)
    path, content = directory / RESULTS_FILE, _get(directory, RESULTS_FILE)
    results = parse_json(content, path)
    if (version := results.pop("format_version", None)) != RESULTS_VERSION:
        raise DataError(
            f"{path} has format version {version}, expected {RESULTS_VERSION}: another version of "
            f"ssd-core wrote it; run the stage again: {_command(invocation.get('stage'))}"
        )
    _check_shape(Request, invocation, directory / INVOCATION_FILE)
    frame = _check_shape(Frame, results, path)
    if results.pop("invocation") != hashlib.sha256(request).hexdigest():
        raise DataError(f"{path} belongs to another {INVOCATION_FILE}; run the stage again")
    del results["files"]
    return StageOutput(
        directory=directory,
        invocation=invocation,
        results=results,
        files={file.name: file for file in frame.files},
        digest=hashlib.sha256(content).hexdigest(),
    )


def _command(stage: object) -> str:
    """Return the command of a stage, which has the same name with two exceptions."""
    others = {
        "evaluate_files": "ssd evaluate --detections",
        "resolve_config": "python -m pipelines",
    }
    return others.get(str(stage), f"ssd {stage}")


def read_invocation(directory: Location) -> dict[str, Any]:
    """Return the invocation of a stage, finished or not.

    Raises:
        UsageError: the directory is not the output of a stage.
        DataError: the file is damaged.
    """
    path = directory / INVOCATION_FILE
    invocation = parse_json(_get_request(directory, _ANY_OUTPUT), path)
    _check_shape(Request, invocation, path)
    return invocation


def read_outputs(directories: Sequence[Location]) -> dict[str, StageOutput]:
    """Read outputs of the stages in REPORTED; return them by stage, in that order.

    Raises:
        UsageError: a directory is of another stage, or two are of the same one.
        DataError: an output is incomplete or damaged.
    """
    outputs = dict[str, StageOutput]()
    for directory in directories:
        output = read_output(directory)
        stage = output.invocation["stage"]
        if stage not in REPORTED:
            raise UsageError(
                f"{directory} is of stage '{stage}'; expected one of {', '.join(REPORTED)}"
            )
        if stage in outputs:
            first = outputs[stage].directory
            raise UsageError(f"{first} and {directory} are both of stage '{stage}'; give one")
        _check_measurement(stage, output)
        outputs[stage] = output
    return {stage: outputs[stage] for stage in REPORTED if stage in outputs}


def check_one_model(outputs: Mapping[str, StageOutput], *, takes_exports: bool = False) -> None:
    """Check that outputs are of the model that the first of them wrote or measured.

    Args:
        outputs: by stage, as `read_outputs` returns them.
        takes_exports: whether a file that was exported from the model counts as the model: its
            digest differs, its training and step do not.

    Raises:
        UsageError: an output is of another model.
        DataError: the first output has lost its model.
    """
    if len(outputs) < 2:
        return
    first = next(iter(outputs.values()))
    expected = _identify(first)
    for stage, output in outputs.items():
        found = expected if output is first else _identify(output)
        if found[0] != expected[0] and not (takes_exports and found[1:] == expected[1:]):
            raise UsageError(
                f"{output.directory} is of another model than {first.directory}; "
                f"expected the '{stage}' of that model"
            )


def _identify(output: StageOutput) -> tuple[str, str, int]:
    """Return the digest of the weights or of the exported file, and the training and its step."""
    if "model" in output.invocation["inputs"]:
        model = output.results["model"]
        digest = output.invocation["inputs"]["model"]["digest"]
        return digest, model["training_id"], model["step"]
    description = read_description(output.directory)
    return description.file(WEIGHTS_FILE).sha256, description.training_id, description.step


def _check_measurement(stage: str, output: StageOutput) -> None:
    request, results, inputs = REPORTED[stage]
    path = output.directory / INVOCATION_FILE
    _check_shape(request, output.invocation, path)
    for name in inputs:
        if name not in output.invocation["inputs"]:
            raise DataError(f"{path}: the input '{name}' is missing; run the stage again")
    _check_shape(results, output.results, output.directory / RESULTS_FILE)


def _get_request(directory: Location, expected: str) -> bytes:
    if directory.head(INVOCATION_FILE) is None:
        is_missing = directory.local is not None and not directory.local.exists()
        problem = "does not exist" if is_missing else f"has no {INVOCATION_FILE}"
        raise UsageError(f"{directory} {problem}; expected {expected}")
    return _get(directory, INVOCATION_FILE)


def _check_shape(kind: type[ShapeT], content: Results, path: Location) -> ShapeT:
    try:
        return kind.model_validate(content)
    except ValidationError as error:
        raise DataError(f"{path}: {first_problem(error)}; run the stage again") from None


def _get(directory: Location, name: str) -> bytes:
    try:
        return directory.get(name)
    except FileNotFoundError:
        raise DataError(
            f"{directory / name} is missing: the stage has not finished; run it again"
        ) from None
