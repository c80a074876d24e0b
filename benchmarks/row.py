"""A row of the table in `docs/performance.md`: how a script takes its size and says its result."""

import argparse
import sys
import tempfile
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from benchmarks.interleaved import Clock, Comparison


@dataclass(frozen=True, slots=True)
class Size:
    """How much is measured, and where its data is kept between runs."""

    images: int
    rounds: int
    work_dir: Path


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One measured value with its target."""

    work: str
    value: float
    unit: str
    """Continues "0.31 ...", as "x json.load"."""
    target: float | None
    """The value should be at most this; None where it only explains another row."""
    detail: str

    def __str__(self) -> str:
        verdict = ""
        if self.target is not None:
            word = "met" if self.value <= self.target else "MISSED"
            verdict = f"; target at most {self.target:g}: {word}"
        return f"{self.work}\n  {self.value:.3g} {self.unit}{verdict}\n  {self.detail}"


class SkippedError(Exception):
    """Something that the measurement needs is not here; the message says what, and the remedy."""


def ratio_row(
    work: str, peer: str, comparison: Comparison, *, target: float | None, clock: Clock
) -> Row:
    """Make a row of a comparison on one clock."""
    return Row(
        work=work,
        value=comparison.ratio(clock),
        unit=f"x {peer} ({clock} time)",
        target=target,
        detail=comparison.describe(clock),
    )


def main(measure: Callable[[Size], Iterable[Row]]) -> None:
    """Measure with the size given on the command line; print the rows and how to repeat them."""
    module = sys.modules["__main__"]
    name = module.__spec__.name if module.__spec__ else sys.argv[0]
    parser = argparse.ArgumentParser(prog=f"python -m {name}", description=module.__doc__)
    parser.add_argument("--images", type=int, default=1000)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument(
        "--work", type=Path, default=Path(tempfile.gettempdir(), "ssd-benchmarks"), metavar="DIR"
    )
    options = parser.parse_args()
    print(f"python -m {name} --images {options.images} --rounds {options.rounds}")
    try:
        for row in measure(Size(options.images, options.rounds, options.work)):
            print(row, flush=True)
    except SkippedError as error:
        print(f"  skipped: {error}")
