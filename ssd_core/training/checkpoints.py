"""Checkpoints that survive a kill at any instant; of several attempts only the newest may write.

attempt-00000002                     empty; the attempt with the highest number may write
step-00000100/                       a model directory (`model_dir.py`) with two more files:
step-00000100/state.safetensors      the state of the optimizer, and the best weights so far
step-00000100/checkpoint.json        progress, and the hashes of the other files; written last
"""

import hashlib
import re
import shutil
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from ssd_core.backends.weights import WEIGHTS
from ssd_core.errors import DataError, OwnershipError, TakenOverError, TransientError
from ssd_core.logs import logger
from ssd_core.model_dir import FILES, ModelDescription, is_whole, read_model, write_model
from ssd_core.store import Location
from ssd_core.store.known_file import KnownFile, read_arrays, write_arrays
from ssd_core.store.transfer import MirroredFile
from ssd_core.structures import Array, ClassInfo

CHECKPOINT_DIR = "checkpoints"
"""Name of their folder in the output of a training."""
_STATE_FILE = "state.safetensors"
_COMMIT_FILE = "checkpoint.json"
_ATTEMPT, _STEP = "attempt-", "step-"
_BEST = "best/"


def find_checkpoint(training_dir: Location, step: int | None) -> Location:
    """Return the checkpoint after `step`, which is a model directory; without one `training_dir`.

    Raises:
        DataError: the output of the training holds no such checkpoint.
    """
    if step is None:
        return training_dir
    directory = training_dir / CHECKPOINT_DIR
    if directory.head(f"{_step_name(step)}/{_COMMIT_FILE}") is None:
        keys = (found.key.partition("/") for found in directory.list(_STEP))
        steps = ", ".join(str(_step_of(name)) for name, _, file in keys if file == _COMMIT_FILE)
        if not steps:
            raise DataError(
                f"{training_dir} contains no checkpoints for --step to choose from; leave --step "
                "out, or use the output directory of 'ssd train'"
            )
        raise DataError(
            f"{training_dir} has no checkpoint after step {step}; expected one of: {steps}"
        )
    return directory / _step_name(step)


class TrainState(BaseModel):
    """The progress of a training: with the learner's arrays, all that the next step depends on."""

    model_config = ConfigDict(extra="forbid", use_attribute_docstrings=True)

    step: int = 0
    """Finished optimizer steps."""
    samples: int = 0
    """Images seen by all devices."""
    skipped: int = 0
    """Steps whose update was left out because a gradient was not finite."""
    seconds: float = 0.0
    """Time that all attempts spent in steps, waiting for data included."""
    loss: float | None = None
    """Mean of the last interval."""
    best_step: int | None = None
    """Step of the best evaluation so far."""
    best_metrics: dict[str, float] = {}
    """Results of that evaluation."""
    best_weights: dict[str, Any] = Field(default_factory=dict, exclude=True)
    """The arrays that were evaluated."""


class _Commit(BaseModel):
    """The content of `checkpoint.json`."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    format_version: Literal[3] = 3
    training_id: str
    state: TrainState
    state_sha256: str
    model: str
    """Digest of the model directory."""
    arrays: KnownFile


class CheckpointDir:
    """The checkpoints of one training, in the hands of one attempt; call `resume` first."""

    def __init__(
        self,
        directory: Location,
        description: ModelDescription,
        classes: Sequence[ClassInfo],
        *,
        keep: int = 2,
        continues: Collection[str] | None = (),
        log: MirroredFile | None = None,
    ) -> None:
        """Read and write nothing yet.

        The directory holds nothing else. The log is published with each checkpoint, unless it is
        written in its final location.

        Args:
            directory: of the checkpoints.
            description: of the model, whose step does not matter here.
            classes: of the model.
            keep: number of the newest checkpoints that stay.
            continues: further trainings whose checkpoints count; those of any other are skipped.
                None removes all checkpoints.
            log: the log of the training.
        """
        self._directory, self._log, self._keep = directory, log, keep
        self._description, self._classes = description, classes
        self._continues = continues
        self._attempt = 0
        self._names: set[str] = set()
        """Checkpoints that this attempt found or wrote; it never removes those of a newer one."""
        self._useless: set[str] = set()
        """Those among them that are damaged, unfinished or of another training."""
        self.is_continued = False
        """Whether `resume` returned a checkpoint of a training that this one continues."""
        self.last_dir: Location | None = None
        """The newest checkpoint that was verified."""

    def resume(self) -> tuple[TrainState, dict[str, Array]] | None:
        """Become the newest attempt; return state and arrays of the newest complete checkpoint.

        A damaged one is skipped with a warning; one without its last file was never finished.
        """
        self._attempt = self._claim()
        if self._log is not None:
            self._log.fetch()
        checkpoints = self._checkpoints()
        self._names = set(checkpoints)
        for name, files in sorted(checkpoints.items(), reverse=True):
            if self._continues is None:
                self._remove(name)
            elif _COMMIT_FILE in files:
                try:
                    state, arrays = self._read(name)
                except DataError as error:
                    logger.warning("%s; falling back to an earlier checkpoint", error)
                else:
                    self.last_dir = self._directory / name
                    return state, arrays
            self._useless.add(name)
        return None

    def _claim(self) -> int:
        first = self._newest_attempt() + 1
        attempt = self._directory.put_numbered(_attempt_name, first, b"")
        for found in list(self._directory.list(_ATTEMPT)):
            if found.key < _attempt_name(attempt):
                self._directory.delete(found.key)
        return attempt

    def _newest_attempt(self) -> int:
        words = [found.key.removeprefix(_ATTEMPT) for found in self._directory.list(_ATTEMPT)]
        return max((int(word) for word in words if word.isdecimal()), default=0)

    def check_newest(self) -> None:
        """Verify that no newer attempt has taken over since `resume`."""
        newest = self._newest_attempt()
        if newest != self._attempt:
            raise TakenOverError(
                f"{self._directory}: attempt {newest} at this training has taken over; "
                f"attempt {self._attempt} stops"
            )

    def save(
        self,
        state: TrainState,
        learner_arrays: Mapping[str, Array],
        stays: Callable[[int], bool] = lambda step: False,
    ) -> None:
        """Commit a checkpoint; only then remove earlier ones.

        The newest stay, and those of steps for which `stays` returns True.
        """
        self.check_newest()
        name = _step_name(state.step)
        self._remove(name)
        self._names.add(name)
        self._useless.discard(name)
        best = {_BEST + key: array for key, array in state.best_weights.items()}
        weights, others = _split(learner_arrays)
        step_dir = self._directory / name
        entry = write_arrays(step_dir, _STATE_FILE, others | best)
        description = self._description.model_copy(update={"step": state.step})
        model = write_model(step_dir, description, self._classes, weights)
        commit = _Commit(
            training_id=model.training_id,
            state=state,
            state_sha256=_digest(state),
            model=model.digest,
            arrays=entry,
        )
        self.check_newest()
        if self._log is not None:
            self._log.publish()
        content = commit.model_dump_json(indent=2) + "\n"
        self._directory.put(f"{name}/{_COMMIT_FILE}", content.encode())
        if not (entry.is_in(step_dir) and is_whole(step_dir, model)):
            raise TransientError(
                f"{step_dir} is damaged although it was just written; check the disk, and repeat "
                "the command"
            )
        self.last_dir = step_dir
        self._remove_others(stays)

    def _remove_others(self, stays: Callable[[int], bool]) -> None:
        self.check_newest()
        usable = sorted(self._names - self._useless)
        replaced = {name for name in usable[: -self._keep] if not stays(_step_of(name))}
        for name in self._useless | replaced:
            self._remove(name)
        self._names -= self._useless | replaced
        self._useless.clear()

    def _checkpoints(self) -> dict[str, set[str]]:
        checkpoints: dict[str, set[str]] = {}
        for found in self._directory.list(_STEP):
            name, _, file = found.key.partition("/")
            if re.fullmatch(rf"{_STEP}\d{{8,}}", name):
                checkpoints.setdefault(name, set()).add(file)
        return checkpoints

    def _remove(self, name: str) -> None:
        """Remove a checkpoint, its commit first: a partly removed one must not look complete."""
        for file in (_COMMIT_FILE, _STATE_FILE, *FILES):
            self._directory.delete(f"{name}/{file}")
        if folder := (self._directory / name).local:  # with partly written files
            shutil.rmtree(folder, ignore_errors=True)

    def _read(self, name: str) -> tuple[TrainState, dict[str, Array]]:
        step_dir = self._directory / name
        path = step_dir / _COMMIT_FILE
        try:
            content = self._directory.get(f"{name}/{_COMMIT_FILE}")
        except FileNotFoundError:
            raise DataError(f"{path} is missing") from None
        try:
            commit = _Commit.model_validate_json(content)
        except ValidationError as error:
            if error.errors()[0]["loc"] == ("format_version",):
                raise OwnershipError(
                    f"another version of ssd-core wrote {path}, so its training cannot continue; "
                    "choose another --out, or --resume fresh starts again in its place"
                ) from None
            raise DataError(f"{path} is damaged") from None
        if _digest(commit.state) != commit.state_sha256:
            raise DataError(f"{path} is damaged: the hash of its state differs")
        own_id = self._description.training_id
        if commit.training_id not in {own_id, *(self._continues or ())}:
            raise DataError(f"{path} belongs to training {commit.training_id}")
        model = read_model(step_dir)
        if model.description.digest != commit.model:
            raise DataError(f"{path} belongs to another model than the one beside it")
        arrays = read_arrays(step_dir, commit.arrays)
        commit.state.best_weights, others = _split(arrays, _BEST)
        self.is_continued = commit.training_id != own_id
        return commit.state, others | {WEIGHTS + key: each for key, each in model.weights.items()}


def _split(
    arrays: Mapping[str, Array], prefix: str = WEIGHTS
) -> tuple[dict[str, Array], dict[str, Array]]:
    """Return the arrays whose names begin with `prefix`, without it, and the others."""
    found = {name.removeprefix(prefix): arrays[name] for name in arrays if name.startswith(prefix)}
    return found, {name: arrays[name] for name in arrays if not name.startswith(prefix)}


def _step_name(step: int) -> str:
    return f"{_STEP}{step:08}"


def _step_of(name: str) -> int:
    return int(name.removeprefix(_STEP))


def _attempt_name(attempt: int) -> str:
    return f"{_ATTEMPT}{attempt:08}"


def _digest(state: TrainState) -> str:
    return hashlib.sha256(state.model_dump_json().encode()).hexdigest()
