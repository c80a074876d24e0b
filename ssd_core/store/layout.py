"""The layout of directories below a root, which no other module knows, and of a data set."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

from ssd_core.errors import UsageError
from ssd_core.store import Location
from ssd_core.store.location import is_empty

MANIFEST_FILE = "manifest.json"
"""Of a converted data set; written last."""


@dataclass(frozen=True)
class Layout:
    """The directories below `root`, a path, `file://` or `s3://bucket/prefix`."""

    root: str

    def dataset(self, digest: str) -> Location:
        """Return the directory of a converted data set."""
        return self._join("datasets", digest)

    def training(self, training_id: str) -> Location:
        """Return the output directory of a training: its checkpoints, log and model."""
        return self._join("training", training_id)

    def run(self, run_id: str, step: str) -> Location:
        """Return the output directory of one step of a pipeline run."""
        return step_of(self._join("runs", run_id), step)

    def has_run(self, run_id: str) -> bool:
        """Return whether a step of this pipeline run has begun."""
        return not is_empty(self._join("runs", run_id))

    def last_run(self) -> str:
        """Return the id of the pipeline run that has written last.

        Raises:
            UsageError: the root holds no runs.
        """
        found = max(self._join("runs").list(), key=lambda each: each.changed, default=None)
        if found is None:
            raise UsageError(f"{self.root} holds no runs; give the id of a run, or another --root")
        return found.key.partition("/")[0]

    def benchmarks(self, series: str) -> Location:
        """Return the directory of the history of a series of benchmarks."""
        return self._join("benchmarks", series)

    def model(self, name: str, version: str) -> Location:
        """Return the directory of a published model."""
        return self._join("models", name, version)

    @cached_property
    def _location(self) -> Location:
        return Location.parse(self.root)

    def _join(self, *names: str) -> Location:
        return _descend(self._location, names)


def step_of(run: Location, step: str) -> Location:
    """Return the output directory of one step, given the directory of a pipeline run."""
    return _descend(run, [step])


def _descend(location: Location, names: Sequence[str]) -> Location:
    for name in names:
        if not re.fullmatch(r"[A-Za-z0-9_-][A-Za-z0-9._-]{0,127}", name):
            raise UsageError(
                f"'{name[:200]}' is not a valid name; expected at most 128 letters, digits, "
                "'-', '_' and '.', which is not the first"
            )
        location /= name
    return location
