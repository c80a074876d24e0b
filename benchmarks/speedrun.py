"""Take recipe `demo` from raw photographs to its accuracy with many seeds.

Each seed adds a line to `benchmarks/speedrun.jsonl`, under the commit that was measured; a run that
was interrupted continues with the seeds that its commit lacks. CPU seconds are those of all threads
during the training alone; wall seconds depend on the other load of the machine.
"""

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from statistics import mean, stdev
from typing import Any

from benchmarks.figures import ROOT
from benchmarks.machine import describe_machine, read_changes, read_commit
from ssd_core.config import ConvertConfig
from ssd_core.recipes import load_recipe
from ssd_core.recipes.overrides import override
from ssd_core.stages import convert, evaluate, train
from ssd_core.store import LocalDirectory

KEPT = Path(__file__).with_suffix(".jsonl")
GOAL = 0.9
"""AP50 that every seed is to reach."""
_COLUMNS = {"ap50": ".3f", "ap": ".3f", "cpu": ".0f", "wall": ".0f"}

Line = dict[str, Any]


def find_commit() -> str:
    """Return the commit, with `+` if other files than the kept lines differ from it."""
    changed = {line[3:] for line in read_changes(ROOT).splitlines()}
    return read_commit(ROOT) + "+" * bool(changed - {str(KEPT.relative_to(ROOT))})


def run_seeds(seeds: Sequence[int], changes: Sequence[str], commit: str) -> Iterator[Line]:
    """Convert the example images once; train and evaluate with each seed."""
    with tempfile.TemporaryDirectory(prefix="ssd-speedrun-") as name:
        folder = Path(name)
        data = LocalDirectory(folder / "shards")
        convert.run(ConvertConfig(), str(ROOT / "examples" / "bccd"), data)
        for seed in seeds:
            recipe = override(load_recipe("demo"), [f"train.seed={seed}", *changes])
            trained, measured = (LocalDirectory(folder / f"{each}-{seed}") for each in "te")
            cpu, wall = time.process_time(), time.monotonic()
            train.run(train.Training(recipe=recipe, data_dir=data, device="cpu"), trained)
            seconds = {"cpu": time.process_time() - cpu, "wall": time.monotonic() - wall}
            found = evaluate.run(recipe.evaluate, trained, data, measured, device="cpu").metrics
            figures = {"ap": found["ap"], "ap50": found["ap50"]} | seconds
            rounded = {name: round(value, 4) for name, value in figures.items()}
            yield {"commit": commit, "seed": seed} | rounded | {"machine": describe_machine()}


def describe(lines: Sequence[Line]) -> Iterator[str]:
    """Yield a table with a row per commit: mean and standard deviation over its seeds."""
    yield "| commit | AP50 ≥ 0.90 | AP50 | AP | CPU seconds | wall seconds |"
    yield "|---" * 6 + "|"
    for commit in dict.fromkeys(line["commit"] for line in lines):
        own = [line for line in lines if line["commit"] == commit]
        reached = sum(line["ap50"] >= GOAL for line in own)
        cells = [commit, f"{reached} of {len(own)}"]
        for name, style in _COLUMNS.items():
            values = [line[name] for line in own]
            spread = f" ± {stdev(values):{style}}" if len(values) > 1 else ""
            cells.append(f"{mean(values):{style}}{spread}")
        yield f"| {' | '.join(cells)} |"


def main() -> None:
    """Run the seeds that the commit lacks, and print the table of all commits."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.speedrun", description=__doc__)
    parser.add_argument("--seeds", type=int, default=20)
    parser.add_argument("--set", action="append", default=[], metavar="train.KEY=VALUE")
    parser.add_argument("--keep", type=Path, default=KEPT, metavar="FILE")
    options = parser.parse_args()
    commit = " ".join([find_commit(), *options.set])
    kept = options.keep.read_text().splitlines() if options.keep.exists() else []
    lines = [json.loads(line) for line in kept]
    known = {line["seed"] for line in lines if line["commit"] == commit}
    missing = [seed for seed in range(1, options.seeds + 1) if seed not in known]
    for line in run_seeds(missing, options.set, commit):
        lines.append(line)
        with options.keep.open("a") as file:
            file.write(json.dumps(line) + "\n")
    sys.stdout.write("\n".join(describe(lines)) + "\n")


if __name__ == "__main__":
    main()
