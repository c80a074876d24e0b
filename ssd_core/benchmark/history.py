"""The history of a series of benchmarks: a file for each result, and how a new one compares.

A record is named by its number in the series, so the order needs no clock; of writers that race
for a number one wins, and the others take the next.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timezone
from itertools import count
from statistics import median
from typing import Literal

from pydantic import BaseModel, ConfigDict, ValidationError

from ssd_core.config import first_problem
from ssd_core.errors import DataError
from ssd_core.metrics import METRICS
from ssd_core.store import Location, open_store

Word = Literal["first", "faster", "same", "slower"]

_JUDGED = METRICS["images_per_second"]


class Record(BaseModel):
    """One result of a series."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    format_version: Literal[1] = 1
    run: str
    """Id of the run that measured; a run has at most one record."""
    time: str
    """ISO 8601, UTC; for people, nothing is ordered by it."""
    conditions: dict[str, str]
    """Device, precision, input: only results under equal conditions are compared."""
    metrics: dict[str, float]
    model: dict[str, str]
    """Which model was measured."""
    version: str
    """Of this package."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """How a result compares with the earlier ones of its series under the same conditions."""

    word: Word
    images_per_second: float
    median: float | None
    """Of the earlier results; None for the first."""
    compared: int
    """Number of earlier results."""

    def describe(self) -> str:
        """Say it in a line."""
        ours = _JUDGED.describe(self.images_per_second)
        if self.median is None:
            return f"{ours}, the first of the series on this device"
        change = 100 * (self.images_per_second / self.median - 1)
        return (
            f"{ours} is {self.word}: {change:+.1f} % from "
            f"{_JUDGED.format(self.median)}, the median of {self.compared} before"
        )


def now() -> str:
    """Return the present time for a record."""
    return datetime.now(timezone.utc).isoformat(timespec="seconds")


def judge(record: Record, earlier: Sequence[Record], tolerance: float) -> Verdict:
    """Compare throughput with the median of the earlier records under the same conditions.

    Args:
        record: the new result; records of its own run are left out of the comparison.
        earlier: the series.
        tolerance: part of the median within which a result counts as the same.
    """
    ours = record.metrics[_JUDGED.name]
    others = [
        other.metrics[_JUDGED.name]
        for other in earlier
        if other.conditions == record.conditions and other.run != record.run
    ]
    if not others:
        return Verdict(word="first", images_per_second=ours, median=None, compared=0)
    usual = median(others)
    is_same = abs(ours - usual) <= tolerance * usual
    word: Word = "same" if is_same else "faster" if _JUDGED.is_better(ours, usual) else "slower"
    return Verdict(word=word, images_per_second=ours, median=usual, compared=len(others))


def read_series(place: Location) -> list[Record]:
    """Return the records of a series, oldest first; none where there is no series yet.

    Raises:
        DataError: a record is not what this module writes.
        SurroundingsError: the store is away.
    """
    store = open_store(place)
    keys = [stored.key for stored in store.list() if stored.key.endswith(".json")]
    return [_parse(f"{place}/{key}", store.get(key)) for key in keys]


def append(place: Location, record: Record, earlier: Sequence[Record]) -> None:
    """Add a record at the end of a series, unless its run is there already.

    Raises:
        UsageError: nothing can be written there.
        SurroundingsError: the store is away or full.
    """
    if any(other.run == record.run for other in earlier):
        return
    store = open_store(place)
    content = (json.dumps(record.model_dump(), indent=2, sort_keys=True) + "\n").encode()
    for number in count(len(earlier) + 1):
        if store.put_if_absent(f"{number:06}.json", content):
            return


def conditions(
    environment: Mapping[str, str], batch_sizes: Sequence[int], photos: str
) -> dict[str, str]:
    """Return what must be equal for two results to be comparable.

    Args:
        environment: of `describe_environment`; versions may differ, they are what is watched.
        batch_sizes: that were measured.
        photos: where the input came from.
    """
    hardware = ("device", "device_name", "precision", "processor", "cores")
    return {
        **{name: environment[name] for name in hardware},
        "framework": environment["framework"].partition(" ")[0],
        "batch_sizes": ",".join(map(str, sorted(set(batch_sizes)))),
        "photos": photos,
    }


def _parse(place: str, content: bytes) -> Record:
    try:
        return Record.model_validate_json(content)
    except ValidationError as error:
        raise DataError(
            f"{place}: {first_problem(error)}; expected a record of `ssd benchmark`"
        ) from None
