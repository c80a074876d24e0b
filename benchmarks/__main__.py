"""Run the measurements one after the other, each in a process of its own, and print one table.

python -m benchmarks --images 200 --rounds 3    # a quick look
python -m benchmarks startup report             # two scripts
python -m benchmarks --record startup           # keep the figures, and write the tables
python -m benchmarks --verify                   # measure the kept figures again: make figures
"""

import argparse
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

import msgspec

from benchmarks.figures import (
    FIGURES,
    HEADER,
    ROOT,
    Figure,
    format_row,
    read_figures,
    write_figures,
    write_tables,
)
from benchmarks.machine import is_throttled, read_changes, time_fixed_work
from benchmarks.rows import ROWS
from benchmarks.script import Size, add_size

SCRIPTS = tuple(dict.fromkeys(row.script for row in ROWS.values()))
_MINDSPORE = ROOT / ".venv-mindspore/bin/python"


class FailedError(Exception):
    """A measurement does not count; the message states why."""


def measure(script: str, size: Size) -> Iterator[tuple[str, Figure]]:
    """Yield the figures of a script, and print their rows; FailedError at its end."""
    needs_mindspore = script == "convert_mindrecord" and _MINDSPORE.exists()
    python = str(_MINDSPORE) if needs_mindspore else sys.executable
    command = [python, "-m", f"benchmarks.{script}", *size.words(), "--json"]
    before = time_fixed_work()
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as process:
        for line in process.stdout or ():
            for name, figure in msgspec.json.decode(line, type=dict[str, Figure]).items():
                print(format_row(name, figure), flush=True)
                yield name, figure
    if process.returncode:
        raise FailedError(f"benchmarks.{script}: failed, see its messages above")
    if is_throttled(before, time_fixed_work()):
        raise FailedError(
            f"benchmarks.{script}: the clock of the processor changed while it ran; repeat it"
        )


def verify(script: str, kept: Mapping[str, Figure], work_dir: Path) -> None:
    """Measure the kept figures of a script again, each with its own number of images and rounds."""
    own = {name: figure for name, figure in kept.items() if ROWS[name].script == script}
    for images, rounds in dict.fromkeys((figure.images, figure.rounds) for figure in own.values()):
        for name, figure in measure(script, Size(images, rounds, work_dir)):
            stated = own.get(name)
            if stated and (stated.images, stated.rounds) == (images, rounds):
                check_drift(name, stated, figure)


def check_drift(name: str, stated: Figure, measured: Figure) -> None:
    """Raise FailedError if a figure is outside the stated range.

    A single round has no range: its figure may change, but not to the other side of its target.
    """
    target = ROWS[name].target
    if stated.rounds == 1 and target is not None:
        has_drifted = (stated.value <= target) != (measured.value <= target)
    else:
        has_drifted = stated.has_drifted(measured)
    if has_drifted:
        raise FailedError(
            f"{name}: {measured.value:.3g}, but {FIGURES.name} states {stated.lowest:.3g} to "
            f"{stated.highest:.3g} ({stated.commit}, {stated.machine}); find the cause, or keep "
            f"the new figure with `python -m benchmarks --record {ROWS[name].script}`"
        )


def record(script: str, size: Size) -> None:
    """Measure a script, keep its figures and write the tables."""
    measured = dict(measure(script, size))
    write_figures(read_figures() | measured)
    write_tables()


def main() -> int:
    """Return 1 if a script failed, for example because results differ, or a figure has drifted."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("scripts", nargs="*", metavar="SCRIPT", help=f"of {', '.join(SCRIPTS)}")
    parser.add_argument("--record", action="store_true", help="keep the figures")
    parser.add_argument("--verify", action="store_true", help="compare with the kept figures")
    add_size(parser)
    options = parser.parse_args()
    size = Size(options.images, options.rounds, options.work)
    changes = read_changes(ROOT) if options.record or options.verify else ""
    if changes:
        print(
            f"files differ from the commit, so no figure would belong to it:\n{changes}"
            "commit or stash them, and repeat the command",
            file=sys.stderr,
        )
        return 1
    is_failed = False
    print(HEADER)
    for script in options.scripts or SCRIPTS:
        try:
            if options.verify:
                verify(script, read_figures(), size.work_dir)
            elif options.record:
                record(script, size)
            else:
                list(measure(script, size))
        except FailedError as error:
            print(error, file=sys.stderr)
            is_failed = True
    return int(is_failed)


if __name__ == "__main__":
    sys.exit(main())
