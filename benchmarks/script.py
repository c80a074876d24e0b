"""Options and output of every script."""

import argparse
import datetime
import importlib.metadata
import sys
import tempfile
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import msgspec

from benchmarks.figures import (
    DEFAULT_IMAGES,
    DEFAULT_ROUNDS,
    HEADER,
    ROOT,
    Figure,
    format_row,
    summarise,
)
from benchmarks.interleaved import Comparison
from benchmarks.machine import describe_machine, read_commit
from benchmarks.rows import ROWS


@dataclass(frozen=True, slots=True)
class Size:
    """Number of images and rounds, and the folder that keeps the data between runs."""

    images: int
    rounds: int
    work_dir: Path

    def words(self) -> list[str]:
        """Return the options of a script for this size."""
        return [
            "--images",
            f"{self.images}",
            "--rounds",
            f"{self.rounds}",
            "--work",
            f"{self.work_dir}",
        ]


class Measurement(NamedTuple):
    """The values of a row."""

    name: str
    """Key of ROWS."""
    values: Sequence[float]
    """Of each round."""
    ours: str = ""
    theirs: str = ""


class SkippedError(Exception):
    """A requirement of the measurement is missing; the message names it and the remedy."""


def ratio(name: str, comparison: Comparison) -> Measurement:
    """Return a comparison on the clock of a row."""
    clock = ROWS[name].clock
    assert clock is not None
    return Measurement(name, comparison.ratios(clock), *comparison.median_times(clock))


def add_size(parser: argparse.ArgumentParser) -> None:
    """Add the options of a size."""
    parser.add_argument(
        "--images",
        type=int,
        default=DEFAULT_IMAGES,
        metavar="N",
        help="images of a measurement (default: %(default)s)",
    )
    parser.add_argument(
        "--rounds",
        type=int,
        default=DEFAULT_ROUNDS,
        metavar="N",
        help="turns of each program (default: %(default)s)",
    )
    parser.add_argument(
        "--work",
        type=Path,
        default=Path(tempfile.gettempdir(), "ssd-benchmarks"),
        metavar="DIR",
        help="folder that keeps the generated data (default: %(default)s)",
    )


def main(measure: Callable[[Size], Iterable[Measurement]]) -> None:
    """Measure with the size on the command line, and print each row when it is known."""
    module = sys.modules["__main__"]
    name = module.__spec__.name if module.__spec__ else sys.argv[0]
    parser = argparse.ArgumentParser(prog=f"python -m {name}", description=module.__doc__)
    add_size(parser)
    parser.add_argument("--json", action="store_true", help="print figures as lines of JSON")
    options = parser.parse_args()
    size = Size(options.images, options.rounds, options.work)
    if not options.json:
        print(HEADER)
    try:
        for measured in measure(size):
            figure = make_figure(measured, size)
            line = msgspec.json.encode({measured.name: figure}).decode()
            print(line if options.json else format_row(measured.name, figure), flush=True)
    except SkippedError as error:
        print(f"{name}: skipped: {error}", file=sys.stderr)


def make_figure(measured: Measurement, size: Size) -> Figure:
    """Return the figure of a measurement, with commit, date and machine."""
    packages = ROWS[measured.name].packages
    return summarise(
        measured.values,
        ours=measured.ours,
        theirs=measured.theirs,
        versions=", ".join(f"{name} {importlib.metadata.version(name)}" for name in packages),
        images=size.images,
        rounds=size.rounds,
        date=datetime.datetime.now(datetime.timezone.utc).date().isoformat(),
        commit=read_commit(ROOT),
        machine=describe_machine(),
    )
