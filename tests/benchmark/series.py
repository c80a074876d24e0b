"""Measurements of a series that no benchmark took."""

import json
from pathlib import Path


def plant_history(series: Path, *, factor: float, count: int = 5) -> None:
    """Replace the first measurement of a series by stable ones, all faster by a factor."""
    first = series / "000001.json"
    record = json.loads(first.read_text())
    first.unlink()
    speeds = {name: value * factor for name, value in record["metrics"].items()}
    for number in range(1, count + 1):
        changes = {"run": f"planted-{number}", "is_stable": True, "metrics": speeds}
        (series / f"{number:06}.json").write_text(json.dumps(record | changes))
