"""Checkpoints that survive a kill at any instant; of two attempts the newer one may write.

attempt-00000002                     one empty file; the highest number may write
step-00000100/state.safetensors      the arrays of the learner, and the best weights so far
step-00000100/checkpoint.json        everything else, with size and hash of the arrays; written last
"""

import re
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from ssd_core.errors import DataError, SurroundingsError
from ssd_core.logs import logger
from ssd_core.store.arrays import FileEntry, describe, read_arrays, read_verified, write_arrays
from ssd_core.store.local import LocalStore, explain_disk_errors, write_file
from ssd_core.structures import Array

_ARRAYS_FILE = "state.safetensors"
_COMMIT_FILE = "checkpoint.json"
_ATTEMPTS = "attempt-" + 8 * "[0-9]"
_LEARNER, _BEST = "learner/", "best/"


class TrainState(BaseModel):
    """Where a training stands: with the learner's arrays, all that the next step depends on."""

    model_config = ConfigDict(extra="forbid", use_attribute_docstrings=True)

    step: int = 0
    """Finished optimizer steps."""
    samples: int = 0
    """Images seen, over all devices."""
    seconds: float = 0.0
    """Time spent in steps by all attempts, waiting for data included."""
    loss: float | None = None
    """Mean of the last interval."""
    best_step: int | None = None
    """Step of the best evaluation so far."""
    best_metrics: dict[str, float] = {}
    """What that evaluation measured."""
    best_weights: dict[str, Any] = Field(default_factory=dict, exclude=True)
    """The arrays that were evaluated."""

    @property
    def images_per_second(self) -> float:
        """Mean over all steps."""
        return self.samples / self.seconds if self.seconds else 0.0


class _Commit(BaseModel):
    """The content of `checkpoint.json`."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    format_version: Literal[1] = 1
    training_id: str
    state: TrainState
    state_sha256: str
    arrays: FileEntry


class CheckpointDir:
    """The checkpoints of one training, in the hands of one attempt at it; begins with `resume`."""

    def __init__(self, directory: Path, training_id: str) -> None:
        self._directory, self._training_id = directory, training_id
        self._attempt = 0
        self.last_dir: Path | None = None
        """The newest checkpoint known to be good."""

    def resume(self) -> tuple[TrainState, dict[str, Array]] | None:
        """Become the newest attempt, and return the newest whole checkpoint, or None.

        A damaged one is passed over with a warning; one without its last file was never finished.

        Returns:
            The state, and the arrays of the learner.

        Raises:
            SurroundingsError: the disk is full or fails.
        """
        self._attempt = self._claim()
        for step_dir in sorted(self._step_dirs(), reverse=True):
            if not (step_dir / _COMMIT_FILE).exists():
                continue
            try:
                state, arrays = self._read(step_dir)
            except DataError as error:
                logger.warning("%s; falling back to an earlier checkpoint", error)
                continue
            self.last_dir = step_dir
            return state, arrays
        return None

    def _claim(self) -> int:
        store = LocalStore(self._directory)
        attempt = self._newest_attempt() + 1
        while not store.put_if_absent(_attempt_name(attempt), b""):
            attempt += 1
        for path in self._directory.glob(_ATTEMPTS):
            if path.name < _attempt_name(attempt):
                path.unlink(missing_ok=True)
        return attempt

    def _newest_attempt(self) -> int:
        names = [path.name for path in self._directory.glob(_ATTEMPTS)]
        return max((int(name.partition("-")[2]) for name in names), default=0)

    def check_newest(self) -> None:
        """Make sure that no newer attempt has taken over since `resume`.

        Raises:
            SurroundingsError: one has.
        """
        newest = self._newest_attempt()
        if newest != self._attempt:
            raise SurroundingsError(
                f"{self._directory}: attempt {newest} at this training has taken over; "
                f"attempt {self._attempt} stops"
            )

    def save(self, state: TrainState, learner_arrays: Mapping[str, Array]) -> None:
        """Commit a checkpoint; only then remove all others but the one before it.

        Raises:
            SurroundingsError: a newer attempt has taken over, or the disk is full or fails.
        """
        self.check_newest()
        step_dir = self._directory / f"step-{state.step:08}"
        _remove(step_dir)
        arrays = {_LEARNER + name: array for name, array in learner_arrays.items()}
        arrays |= {_BEST + name: array for name, array in state.best_weights.items()}
        entry = write_arrays(step_dir / _ARRAYS_FILE, arrays)
        commit = _Commit(
            training_id=self._training_id,
            state=state,
            state_sha256=_digest(state),
            arrays=entry,
        )
        self.check_newest()
        write_file(step_dir / _COMMIT_FILE, commit.model_dump_json(indent=2) + "\n")
        try:
            read_verified(step_dir / _ARRAYS_FILE, entry)
        except DataError as error:
            raise SurroundingsError(f"{error}, though it was just written") from None
        for other_dir in self._step_dirs():
            if other_dir not in {step_dir, self.last_dir}:
                _remove(other_dir)
        self.last_dir = step_dir

    def _step_dirs(self) -> list[Path]:
        dirs = self._directory.glob("step-*")
        return [path for path in dirs if re.fullmatch(r"step-\d{8,}", path.name)]

    def _read(self, step_dir: Path) -> tuple[TrainState, dict[str, Array]]:
        commit_path = step_dir / _COMMIT_FILE
        try:
            with explain_disk_errors(commit_path):
                commit = _Commit.model_validate_json(commit_path.read_bytes())
        except (ValidationError, FileNotFoundError):
            raise DataError(f"{commit_path} is damaged") from None
        if _digest(commit.state) != commit.state_sha256:
            raise DataError(f"{commit_path} is damaged: its state has another hash")
        if commit.training_id != self._training_id:
            raise DataError(f"{commit_path} belongs to training {commit.training_id}")
        arrays = read_arrays(step_dir / _ARRAYS_FILE, commit.arrays)
        commit.state.best_weights = _select(arrays, _BEST)
        return commit.state, _select(arrays, _LEARNER)


def _attempt_name(attempt: int) -> str:
    return f"attempt-{attempt:08}"


def _digest(state: TrainState) -> str:
    return describe(state.model_dump_json().encode()).sha256


def _select(arrays: Mapping[str, Array], prefix: str) -> dict[str, Array]:
    return {name[len(prefix) :]: array for name, array in arrays.items() if name.startswith(prefix)}


def _remove(step_dir: Path) -> None:
    """Remove a checkpoint, its commit first, so that a half-removed one never looks whole."""
    with explain_disk_errors(step_dir):
        (step_dir / _COMMIT_FILE).unlink(missing_ok=True)
        if step_dir.exists():
            shutil.rmtree(step_dir)
