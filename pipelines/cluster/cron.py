"""Six-field cron lines, read as the scheduler of Kubeflow Pipelines reads them.

It uses robfig/cron v1: the first field is the second, and a line of five fields is silently read
as another time than its author means. So five are refused here, as is a line that never fires.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta

from ssd_core.errors import UsageError

_SEARCHED_YEARS = 5
"""The scheduler gives up on a time that does not occur by the end of the fifth year."""
_MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
_WEEKDAYS = ("sun", "mon", "tue", "wed", "thu", "fri", "sat")


@dataclass(frozen=True, slots=True)
class _Field:
    name: str
    lowest: int
    highest: int
    words: Sequence[str] = ()
    """Names of the values, from the lowest."""


_FIELDS = (
    _Field("second", 0, 59),
    _Field("minute", 0, 59),
    _Field("hour", 0, 23),
    _Field("day of month", 1, 31),
    _Field("month", 1, 12, _MONTHS),
    _Field("day of week", 0, 6, _WEEKDAYS),
)
_SIX_FIELDS = "six fields: second minute hour day-of-month month day-of-week"


@dataclass(frozen=True, slots=True, kw_only=True)
class Cron:
    """A schedule: the values at which each field fires."""

    line: str
    """The fields, one space apart."""
    values: tuple[frozenset[int], ...]
    """Of second, minute, hour, day of month (1-31), month (1-12), day of week (0 is Sunday)."""
    any_day: bool
    """One of the two day fields has a star; otherwise a day has to match only one of them."""

    def times_after(self, moment: datetime) -> Iterator[datetime]:
        """Yield the times at which it fires, ascending, within the searched years."""
        seconds, minutes, hours = (sorted(values) for values in self.values[:3])
        last = date(moment.year + _SEARCHED_YEARS, 12, 31)
        for number in range((last - moment.date()).days + 1):
            day = moment.date() + timedelta(days=number)
            if not self._fires_on(day):
                continue
            clock = (time(h, m, s) for h in hours for m in minutes for s in seconds)
            found = (datetime.combine(day, at, moment.tzinfo) for at in clock)
            yield from (at for at in found if at > moment)

    def _fires_on(self, day: date) -> bool:
        days, months, weekdays = self.values[3:]
        fits = (day.day in days, day.isoweekday() % 7 in weekdays)
        return day.month in months and (all(fits) if self.any_day else any(fits))


def read_cron(line: str, now: datetime) -> Cron:
    """Read a cron line of six fields.

    Raises:
        UsageError: another number of fields, with the corrected line for five; a value out of
            range; or a date that never occurs, such as 30 February.
    """
    fields = line.split()
    if len(fields) == 5:
        raise UsageError(
            f"cron '{line}' has five fields; expected {_SIX_FIELDS}; write '0 {' '.join(fields)}'"
        )
    if len(fields) != len(_FIELDS):
        raise UsageError(f"cron '{line}' has {len(fields)} fields; expected {_SIX_FIELDS}")
    cron = Cron(
        line=" ".join(fields),
        values=tuple(_read_field(text, kind) for text, kind in zip(fields, _FIELDS, strict=True)),
        any_day=any(_has_star(text) for text in (fields[3], fields[5])),
    )
    if next(cron.times_after(now), None) is None:
        raise UsageError(f"cron '{line}' never fires: none of its months has such a day")
    return cron


def _has_star(text: str) -> bool:
    return any(item[0] in "*?" for item in text.split(","))


def _read_field(text: str, kind: _Field) -> frozenset[int]:
    return frozenset(value for item in text.split(",") for value in _read_item(item, kind))


def _read_item(item: str, kind: _Field) -> range:
    """Read `*`, `value`, `low-high`, each with an optional `/step`; a step opens the upper end."""
    span, slash, step = item.partition("/")
    low, hyphen, high = span.partition("-")
    if low in {"*", "?"} and not hyphen:
        first, last = kind.lowest, kind.highest
    else:
        first = _read_value(low, item, kind)
        last = _read_value(high, item, kind) if hyphen else kind.highest if slash else first
    stride = _read_number(step, item, kind) if slash else 1
    if first > last or stride == 0:
        raise _wrong(item, kind)
    return range(first, last + 1, stride)


def _read_value(text: str, item: str, kind: _Field) -> int:
    if text.lower() in kind.words:
        return kind.lowest + kind.words.index(text.lower())
    value = _read_number(text, item, kind)
    if not kind.lowest <= value <= kind.highest:
        raise _wrong(item, kind)
    return value


def _read_number(text: str, item: str, kind: _Field) -> int:
    if not (text.isascii() and text.isdecimal()):
        raise _wrong(item, kind)
    return int(text)


def _wrong(item: str, kind: _Field) -> UsageError:
    words = f" or {kind.words[0]}-{kind.words[-1]}" if kind.words else ""
    return UsageError(
        f"cron: {kind.name} '{item}'; expected {kind.lowest}-{kind.highest}{words}, a range 1-3, "
        "a step */2, or a list of these with commas"
    )
