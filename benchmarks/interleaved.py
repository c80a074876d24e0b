"""Time two ways of doing the same work in turns, so that a busy machine affects both alike."""

import gc
import resource
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, TypeVar

OurT = TypeVar("OurT")
PeerT = TypeVar("PeerT")

Clock = Literal["CPU", "wall"]
"""`CPU`: time of all threads of this process, and of the processes that it started and waited for;
other load hardly changes it. `wall`: elapsed time, for work on several threads or on the disk."""


def _cpu_seconds() -> float:
    children = resource.getrusage(resource.RUSAGE_CHILDREN)
    return time.process_time() + children.ru_utime + children.ru_stime


_CLOCKS: Mapping[Clock, Callable[[], float]] = {"CPU": _cpu_seconds, "wall": time.perf_counter}
_Seconds = Mapping[Clock, float]


@dataclass(frozen=True, slots=True)
class Comparison:
    """The times of both in each round."""

    ours: Sequence[_Seconds]
    peer: Sequence[_Seconds]

    def ratios(self, clock: Clock) -> list[float]:
        """Return our time divided by the time of the peer, of each round."""
        return [a[clock] / b[clock] for a, b in zip(self.ours, self.peer, strict=True)]

    def median_times(self, clock: Clock) -> tuple[str, str]:
        """Return both as text."""
        ours, peer = (
            statistics.median(seconds[clock] for seconds in all_seconds)
            for all_seconds in (self.ours, self.peer)
        )
        return format_seconds(ours), format_seconds(peer)


def compare(
    ours: Callable[[], OurT],
    peer: Callable[[], PeerT],
    *,
    check: Callable[[OurT, PeerT], object],
    rounds: int,
) -> Comparison:
    """Run both once and check that their results agree, then time them in turns.

    Args:
        ours: one round of our work.
        peer: one round of the same work by the peer.
        check: receives both results; raises AssertionError if they differ.
        rounds: number of timings of each.
    """
    check(ours(), peer())
    pairs = [(_time(ours), _time(peer)) for _ in range(rounds)]
    return Comparison(*zip(*pairs, strict=True))


def format_seconds(seconds: float) -> str:
    """Return a time as `2.1 s` or `350 ms`."""
    return f"{seconds:.3g} s" if seconds >= 1 else f"{seconds * 1e3:.3g} ms"


def _time(work: Callable[[], object]) -> _Seconds:
    gc.collect()
    started = {clock: now() for clock, now in _CLOCKS.items()}
    result = work()
    seconds = {clock: now() - started[clock] for clock, now in _CLOCKS.items()}
    del result  # only now: freeing it is not part of the work
    return seconds
