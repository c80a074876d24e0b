"""The measured figures in `figures.json`, and the tables of the pages that are made from it.

`python -m benchmarks.figures` writes the tables, for example after a change of a target.
"""

import re
import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec

from benchmarks.rows import README_ROWS, ROWS

ROOT = Path(__file__).parent.parent
FIGURES = Path(__file__).with_name("figures.json")
DEFAULT_IMAGES, DEFAULT_ROUNDS = 1000, 7

_TABLE = re.compile(r"(<!-- figures -->\n).*?(<!-- end of figures -->)", re.DOTALL)


class Figure(msgspec.Struct, frozen=True, kw_only=True):
    """A measurement of a row."""

    value: float
    """Median of the rounds."""
    lowest: float
    highest: float
    ours: str = ""
    """Median time."""
    theirs: str = ""
    versions: str = ""
    """Of the packages of the peer."""
    images: int
    rounds: int
    date: str
    commit: str
    machine: str

    def has_drifted(self, measured: "Figure") -> bool:
        """Return whether another measurement is outside the range of the rounds of this one."""
        return not self.lowest <= measured.value <= self.highest


def read_figures(path: Path = FIGURES) -> dict[str, Figure]:
    """Return the kept figures by the names of their rows."""
    return msgspec.json.decode(path.read_bytes(), type=dict[str, Figure])


def write_figures(figures: Mapping[str, Figure], path: Path = FIGURES) -> None:
    """Keep figures in the order of the rows."""
    ordered = {name: figures[name] for name in ROWS if name in figures}
    path.write_bytes(msgspec.json.format(msgspec.json.encode(ordered)) + b"\n")


def summarise(values: Sequence[float], **facts: Any) -> Figure:
    """Return the figure of the values of all rounds."""
    return Figure(value=statistics.median(values), lowest=min(values), highest=max(values), **facts)


_COLUMNS = ("work", "value (range of the rounds)", "target", "ours", "peer", "command", "measured")
HEADER = f"| {' | '.join(_COLUMNS)} |\n{'|---' * len(_COLUMNS)}|"


def format_row(name: str, figure: Figure | None) -> str:
    """Return a row of the table; without a figure it has not been measured."""
    row = ROWS[name]
    command = f"`{format_command(row.script, figure)}`"
    peer = f"{row.peer} ({figure.versions})" if figure and figure.versions else row.peer
    if figure is None:
        cells = [row.work, "not measured", _format_target(name, None), "", peer, command, ""]
    else:
        cells = [
            row.work,
            _format_value(name, figure),
            _format_target(name, figure),
            figure.ours,
            f"{peer}: {figure.theirs}" if figure.theirs else peer,
            command,
            f"{figure.date}, {figure.commit}; {figure.machine}",
        ]
    return f"| {' | '.join(cells)} |"


def format_command(script: str, figure: Figure | None) -> str:
    """Return the command that measures a row as its figure was."""
    python = ".venv-mindspore/bin/python" if script == "convert_mindrecord" else "python"
    words = [python, "-m", f"benchmarks.{script}"]
    if figure and figure.images != DEFAULT_IMAGES:
        words += ["--images", str(figure.images)]
    if figure and figure.rounds != DEFAULT_ROUNDS:
        words += ["--rounds", str(figure.rounds)]
    return " ".join(words)


def _format_value(name: str, figure: Figure) -> str:
    row = ROWS[name]
    is_met = row.target is None or figure.value <= row.target
    value = f"{figure.value:.3g}" if is_met else f"**{figure.value:.3g}**"
    spread = (
        f" ({figure.lowest:.3g} to {figure.highest:.3g})" if figure.lowest < figure.highest else ""
    )
    return f"{value} {row.unit}{spread}"


def _format_target(name: str, figure: Figure | None) -> str:
    target = ROWS[name].target
    if target is None:
        return "none"
    verdict = figure and (": met" if figure.value <= target else ": missed")
    return f"≤ {target:g}{verdict or ''}"


def write_tables() -> None:
    """Write the tables of all pages."""
    for page, text in make_tables(read_figures()).items():
        page.write_text(text)


def make_tables(figures: Mapping[str, Figure]) -> dict[Path, str]:
    """Return the pages with tables of these figures."""
    names = {ROOT / "README.md": README_ROWS, ROOT / "docs/performance.md": tuple(ROWS)}
    pages = {}
    for page, rows in names.items():
        lines = [HEADER, *(format_row(name, figures.get(name)) for name in rows)]
        table = "\n".join(lines) + "\n"
        pages[page] = _TABLE.sub(lambda found: found[1] + table + found[2], page.read_text())  # noqa: B023
    return pages


if __name__ == "__main__":
    write_tables()
