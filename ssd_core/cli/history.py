"""`ssd history`: the measurements of a series of benchmarks."""

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Annotated

import typer

from ssd_core.cli.options import Json, print_json
from ssd_core.errors import UsageError
from ssd_core.logs import align
from ssd_core.store import Location

if TYPE_CHECKING:
    from ssd_core.benchmark.history import Measurement, Verdict

_BAR_WIDTH = 20


def history(
    series: Annotated[
        Location,
        typer.Argument(
            metavar="SERIES",
            parser=Location.parse,
            help="The DIR of `ssd benchmark --series`: a path or s3://bucket/prefix.",
        ),
    ],
    as_json: Json = False,
) -> None:
    """List the measurements of a series of benchmarks, each compared with those before it.

    The noise band is the range of speeds that are not distinguishable. AP is that of the training,
    if it measured one. A line below a measurement names a version, a model or a condition that
    differs from the one before.

    Example: ssd history nightly
    """
    from ssd_core.benchmark.history import read_series, review

    reviewed = review(read_series(series))
    if not reviewed:
        raise UsageError(f"{series} holds no measurements; 'ssd benchmark --series DIR' adds one")
    if as_json:
        print_json([each.model_dump() | {"verdict": found.content()} for each, found in reviewed])
        return
    for line in _table(reviewed):
        print(line)


def _table(reviewed: "Sequence[tuple[Measurement, Verdict]]") -> Iterator[str]:
    fastest = max(each.metrics["images_per_second"] for each, _ in reviewed)
    rows = [_row(each, found, fastest) for each, found in reviewed]
    titles = (
        "time",
        "run",
        "model",
        "AP",
        "images/s (fastest batch)",
        "latency (smallest batch)",
        "noise band",
        "",
        "verdict",
    )
    heading, *lines = align([titles, *rows])
    before = reviewed[0][0]
    yield heading
    for (each, _), line in zip(reviewed, lines, strict=True):
        yield line
        yield from (f"    {change}" for change in each.changes_since(before))
        before = each
    if any(found.word == "not stable" for _, found in reviewed):
        yield "not stable: the warm-up was too short; the run is neither judged nor compared with"


def _row(each: "Measurement", found: "Verdict", fastest: float) -> tuple[str, ...]:
    from ssd_core.metrics import METRICS

    speed, band = each.metrics["images_per_second"], ""
    if found.median is not None and found.margin is not None:
        low, high = found.median - found.margin, found.median + found.margin
        band = f"{low:,.1f} to {high:,.1f}"
    is_other = found.metric != "images_per_second"
    return (
        each.time.partition("+")[0].replace("T", " "),
        each.run[:16],
        f"{each.model.get('recipe', '')}, {each.model.get('step', '?')} steps",
        METRICS["ap"].format(each.metrics.get("ap")),
        METRICS["images_per_second"].format(speed).partition(" ")[0],
        METRICS["latency_ms_p50"].format(each.metrics.get("latency_ms_p50")),
        band,
        "█" * max(1, round(_BAR_WIDTH * speed / fastest)),
        found.word + (f" ({METRICS[found.metric].title})" if is_other else ""),
    )
