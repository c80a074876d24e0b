"""The history of a series of benchmarks: one file per measurement, and a verdict on a new one.

A file is named by its number in the series, so the order needs no clock; of writers that race for
a number one wins, and the others take the next.
"""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import datetime, timezone
from functools import partial
from statistics import median
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, ValidationError

from ssd_core.config import differences, first_problem
from ssd_core.errors import DataError
from ssd_core.metrics import METRICS
from ssd_core.store import Location

Word = Literal["faster", "slower", "not distinguishable", "not enough history", "not stable"]

MIN_RUNS = 5
"""Earlier runs that a verdict needs."""
_MAX_RUNS = 20
"""Latest of them that count, so that a lasting change becomes the normal case."""
_LIMIT = 3.5
"""Modified z-score of an outlier: Iglewicz and Hoaglin, How to Detect and Handle Outliers, 1993."""
_MAD_TO_DEVIATION = 1.4826
"""Standard deviation of a normal distribution whose median absolute deviation is 1."""
_LEAST_SHARE = 0.05
"""Least half-width of the band relative to the median: a few runs can agree by chance."""

_JUDGED = ("images_per_second", "train_images_per_second")
"""Metrics that are compared."""


class Measurement(BaseModel):
    """One result of a series."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    format_version: Literal[1, 2] = 2
    run: str
    """Id of the run that measured; a run has at most one measurement per series."""
    time: str
    """ISO 8601, UTC; informative only, the order comes from the file names."""
    conditions: dict[str, str]
    """Device, precision, network, input: only results under equal conditions are compared."""
    metrics: dict[str, float]
    model: dict[str, str]
    """The measured model."""
    version: str
    """Of this package."""
    environment: dict[str, str] = {}
    """Hardware and versions; see `describe_environment`."""
    is_stable: bool = False
    """Whether every warm-up ended because the durations were stable. Format 1 does not record it,
    so its results are listed but not compared."""

    def changes_since(self, before: "Measurement") -> list[str]:
        """Return the versions, conditions and facts of the model that differ and that both have."""
        old, new = (each.conditions | each.environment | each.model for each in (before, self))
        both = old.keys() & new.keys()
        return differences({key: old[key] for key in both}, {key: new[key] for key in both})


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """A speed compared with the noise of the earlier ones under the same conditions."""

    word: Word
    metric: str
    value: float
    earlier: tuple[float, ...]
    """The results that count, oldest first."""
    median: float | None = None
    """Of the earlier results; None without a comparison."""
    margin: float | None = None
    """Half-width of the noise band around the median."""

    @property
    def change(self) -> float:
        """Difference to the median in percent; 0 without a comparison."""
        return 100 * (self.value / self.median - 1) if self.median else 0.0

    def content(self) -> dict[str, Any]:
        """Return the comparison for a JSON document."""
        return asdict(self) | {"change": self.change, "comparison": self.describe()}

    def describe(self) -> str:
        """Return the comparison in one line."""
        metric = METRICS[self.metric]
        ours = f"{metric.describe(self.value)}: {self.word}"
        if self.word == "not stable":
            return f"{ours} in the warm-up, so neither judged nor compared with"
        if self.median is None or self.margin is None:
            found = f"{len(self.earlier)} of {MIN_RUNS} runs"
            return f"{ours} on this device and configuration ({found})"
        return (
            f"{ours}, {self.change:+.1f} % from {metric.format(self.median)}, the median of "
            f"{len(self.earlier)} runs whose noise is ±{100 * self.margin / self.median:.1f} %"
        )


def now() -> str:
    """Return the current time for a measurement."""
    return datetime.now(timezone.utc).isoformat(timespec="seconds")


def judge(new: Measurement, earlier: Sequence[Measurement]) -> Verdict:
    """Compare speeds with the noise of other stable runs under the same conditions.

    The verdict is that of the detector, or that of the training where only it is slower; of two
    slower speeds it is the one that lost more.
    """
    verdicts = [_judge(name, new, earlier) for name in _JUDGED if name in new.metrics]
    slower = [each for each in verdicts if each.word == "slower"]
    return min(slower, key=lambda each: each.change, default=verdicts[0])


def review(series: Sequence[Measurement]) -> list[tuple[Measurement, Verdict]]:
    """Return each measurement with its verdict, given those before it."""
    return [(each, judge(each, series[:number])) for number, each in enumerate(series)]


def _judge(name: str, new: Measurement, earlier: Sequence[Measurement]) -> Verdict:
    value = new.metrics[name]
    others = tuple(
        other.metrics[name]
        for other in earlier
        if other.is_stable
        and other.conditions == new.conditions
        and other.run != new.run
        and name in other.metrics
    )[-_MAX_RUNS:]
    verdict = partial(Verdict, metric=name, value=value, earlier=others)
    if not new.is_stable:
        return verdict(word="not stable")
    if len(others) < MIN_RUNS:
        return verdict(word="not enough history")
    usual, margin = noise_band(others)
    if abs(value - usual) <= margin:
        word: Word = "not distinguishable"
    else:
        word = "faster" if METRICS[name].is_better(value, usual) else "slower"
    return verdict(word=word, median=usual, margin=margin)


def noise_band(values: Sequence[float]) -> tuple[float, float]:
    """Return the median of at least one value, and the distance from it that is still noise.

    Median and median absolute deviation ignore single outliers, as a busy machine produces them.
    """
    centre = median(values)
    deviation = _MAD_TO_DEVIATION * median(abs(value - centre) for value in values)
    return centre, max(_LIMIT * deviation, _LEAST_SHARE * centre)


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
                "'ssd benchmark'"
            ) from None
    return series


def append(location: Location, new: Measurement, earlier: Sequence[Measurement]) -> None:
    """Append a measurement to a series, unless the series contains its run."""
    if any(other.run == new.run for other in earlier):
        return
    content = (json.dumps(new.model_dump(), indent=2, sort_keys=True) + "\n").encode()
    location.put_numbered(lambda number: f"{number:06}.json", len(earlier) + 1, content)
