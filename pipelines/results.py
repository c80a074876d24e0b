"""What the steps of a run found, read from the store; the cluster is not asked."""

import json
from collections.abc import Mapping
from typing import Any

from pipelines.catalogue import PIPELINES
from ssd_core.errors import DataError, UsageError
from ssd_core.stages.invocation import RESULTS_FILE
from ssd_core.store import Location, join_location, location_uri, open_store
from ssd_core.store.places import Places


def read_results(root: str, run: str) -> dict[Location, Mapping[str, Any]]:
    """Return the results of the steps that have finished, by the place of the step.

    Args:
        root: path or URI that keeps everything.
        run: id of the run.

    Raises:
        UsageError: the run has left nothing below this root.
        DataError: a file of results that is none.
    """
    steps = dict.fromkeys(step for entry in PIPELINES.values() for step in entry.steps)
    places = [Places(root).run(run, step) for step in steps]
    found = {place: _read(place) for place in places}
    results = {place: result for place, result in found.items() if result is not None}
    if not results:
        raise UsageError(
            f"{root}: the run '{run}' has left no results there; either no step has finished or "
            "this is not the root that it was given"
        )
    return results


def _read(place: Location) -> Mapping[str, Any] | None:
    try:
        content = open_store(place).get(RESULTS_FILE)
    except FileNotFoundError:
        return None
    try:
        results = json.loads(content)
        if isinstance(results["metrics"], dict):
            return dict(results)
    except (ValueError, KeyError, TypeError):
        pass
    where = location_uri(join_location(place, RESULTS_FILE))
    raise DataError(f"{where} holds no results; expected an object with 'metrics'")
