"""A row of the table in `docs/performance.md`; options and output of every script."""

import argparse
import sys
import tempfile
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from benchmarks.interleaved import Clock, Comparison


@dataclass(frozen=True, slots=True)
class Size:
    """Number of images and rounds, and the folder that keeps the data between runs."""

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
    """Upper limit of the value; None if the row only explains another one."""
    detail: str

    def __str__(self) -> str:
        verdict = ""
        if self.target is not None:
            word = "met" if self.value <= self.target else "MISSED"
            verdict = f"; target at most {self.target:g}: {word}"
        return f"{self.work}\n  {self.value:.3g} {self.unit}{verdict}\n  {self.detail}"


class SkippedError(Exception):
    """A requirement of the measurement is missing; the message names it and the remedy."""


def ratio_row(
    work: str, peer: str, comparison: Comparison, *, target: float | None, clock: Clock
) -> Row:
    """Return a comparison on one clock as a row."""
    return Row(
        work=work,
        value=comparison.ratio(clock),
        unit=f"x {peer} ({clock} time)",
        target=target,
        detail=comparison.describe(clock),
    )


def main(measure: Callable[[Size], Iterable[Row]]) -> None:
    """Measure with the size on the command line; print the command to repeat it, and the rows."""
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
