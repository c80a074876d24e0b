"""The history of a series of benchmarks: one file per measurement, and a verdict on a new one.

A file is named by its number in the series, so the order needs no clock; of writers that race for
a number one wins, and the others take the next.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timezone
from statistics import median
from typing import Literal

from pydantic import BaseModel, ConfigDict, ValidationError

from ssd_core.config import first_problem
from ssd_core.errors import DataError
from ssd_core.metrics import METRICS
from ssd_core.store import Location

Word = Literal["first", "faster", "same", "slower"]

_JUDGED = METRICS["images_per_second"]


class Measurement(BaseModel):
    """One result of a series."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    format_version: Literal[1] = 1
    run: str
    """Id of the run that measured; a run has at most one measurement per series."""
    time: str
    """ISO 8601, UTC; informative only, the order comes from the file names."""
    conditions: dict[str, str]
    """Device, precision, input: only results under equal conditions are compared."""
    metrics: dict[str, float]
    model: dict[str, str]
    """The measured model."""
    version: str
    """Of this package."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """A result compared with the earlier ones of its series under the same conditions."""

    word: Word
    images_per_second: float
    median: float | None
    """Of the earlier results; None for the first."""
    compared: int
    """Number of earlier results."""

    def describe(self) -> str:
        """Return the comparison in one line."""
        ours = _JUDGED.describe(self.images_per_second)
        if self.median is None:
            return f"{ours}, the first of the series on this device"
        change = 100 * (self.images_per_second / self.median - 1)
        result = "the same" if self.word == "same" else self.word
        return (
            f"{ours} is {result}: {change:+.1f} % from {_JUDGED.format(self.median)}, "
            f"the median of {self.compared} before"
        )


def now() -> str:
    """Return the current time for a measurement."""
    return datetime.now(timezone.utc).isoformat(timespec="seconds")


def judge(new: Measurement, earlier: Sequence[Measurement], tolerance: float) -> Verdict:
    """Compare throughput with the median of the results of other runs under the same conditions.

    `tolerance` is the share of the median within which a result counts as the same.
    """
    ours = new.metrics[_JUDGED.name]
    others = [
        other.metrics[_JUDGED.name]
        for other in earlier
        if other.conditions == new.conditions and other.run != new.run
    ]
    if not others:
        return Verdict(word="first", images_per_second=ours, median=None, compared=0)
    usual = median(others)
    is_same = abs(ours - usual) <= tolerance * usual
    word: Word = "same" if is_same else "faster" if _JUDGED.is_better(ours, usual) else "slower"
    return Verdict(word=word, images_per_second=ours, median=usual, compared=len(others))


def read_series(location: Location) -> list[Measurement]:
    """Return the measurements of a series, oldest first; none before the series exists.

    Raises:
        DataError: a file is not a measurement.
    """
    series = []
    for key in [stored.key for stored in location.list() if stored.key.endswith(".json")]:
        content = location.get(key)
        try:
            series.append(Measurement.model_validate_json(content))
        except ValidationError as error:
            raise DataError(
                f"{location}/{key}: {first_problem(error)}; expected a measurement of "
                "`ssd benchmark`"
            ) from None
    return series


def append(location: Location, new: Measurement, earlier: Sequence[Measurement]) -> None:
    """Append a measurement to a series, unless the series contains its run."""
    if any(other.run == new.run for other in earlier):
        return
    content = (json.dumps(new.model_dump(), indent=2, sort_keys=True) + "\n").encode()
    location.put_numbered(lambda number: f"{number:06}.json", len(earlier) + 1, content)
