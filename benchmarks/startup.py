"""Start `ssd --help`; the peer is `--help` of the smallest possible typer program.

The time of the started processes is measured.
"""

import subprocess
import sys
from collections.abc import Iterator

from benchmarks.interleaved import compare
from benchmarks.script import Measurement, Size, main, ratio

_OURS = "import sys; sys.argv[0] = 'ssd'; from ssd_core.cli.app import main; main()"
_SMALLEST = "import typer; app = typer.Typer(); app.command()(lambda: None); app()"


def measure(size: Size) -> Iterator[Measurement]:
    """Yield a single row."""
    comparison = compare(
        lambda: run(_OURS), lambda: run(_SMALLEST), check=check, rounds=2 * size.rounds
    )
    yield ratio("startup", comparison)


def run(program: str) -> str:
    """Return the output of a Python program for --help."""
    command = [sys.executable, "-c", program, "--help"]
    return subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout


def check(ours: str, peer: str) -> None:
    """Check that both printed help."""
    assert "convert" in ours
    assert "--help" in peer


if __name__ == "__main__":
    main(measure)
