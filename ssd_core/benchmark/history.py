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

_JUDGED = ("images_per_second", "train_images_per_second")
"""Metrics that are compared."""


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
    metric: str
    value: float
    median: float | None
    """Of the earlier results; None for the first."""
    compared: int
    """Number of earlier results."""

    def describe(self) -> str:
        """Return the comparison in one line."""
        metric = METRICS[self.metric]
        ours = metric.describe(self.value)
        if self.median is None:
            return f"{ours}, the first of the series on this device"
        change = 100 * (self.value / self.median - 1)
        result = "the same" if self.word == "same" else self.word
        return (
            f"{ours} is {result}: {change:+.1f} % from {metric.format(self.median)}, "
            f"the median of {self.compared} before"
        )


def now() -> str:
    """Return the current time for a measurement."""
    return datetime.now(timezone.utc).isoformat(timespec="seconds")


def judge(new: Measurement, earlier: Sequence[Measurement], tolerance: float) -> Verdict:
    """Compare speeds with the median of the results of other runs under the same conditions.

    `tolerance` is the share of the median within which a result counts as the same. The verdict is
    that of the detector, or that of the training where only it is slower.
    """
    verdicts = [_judge(name, new, earlier, tolerance) for name in _JUDGED if name in new.metrics]
    return next((each for each in verdicts if each.word == "slower"), verdicts[0])


def _judge(
    name: str, new: Measurement, earlier: Sequence[Measurement], tolerance: float
) -> Verdict:
    ours = new.metrics[name]
    others = [
        other.metrics[name]
        for other in earlier
        if other.conditions == new.conditions and other.run != new.run and name in other.metrics
    ]
    if not others:
        return Verdict(word="first", metric=name, value=ours, median=None, compared=0)
    usual = median(others)
    is_same = abs(ours - usual) <= tolerance * usual
    word: Word = (
        "same" if is_same else "faster" if METRICS[name].is_better(ours, usual) else "slower"
    )
    return Verdict(word=word, metric=name, value=ours, median=usual, compared=len(others))


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
