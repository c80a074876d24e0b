"""What the steps of a run found, read from the store; the cluster is not asked."""

from typing import Any

from pipelines.catalogue import STEPS
from ssd_core.errors import UsageError
from ssd_core.stages.invocation import RESULTS_FILE, read_record
from ssd_core.store.places import Places


def read_results(places: Places, run: str) -> dict[str, dict[str, Any]]:
    """Return the results of the steps that have finished, by step.

    Args:
        places: the root that the run was given.
        run: id of the run.

    Raises:
        UsageError: the run has left nothing below this root.
        DataError: what a step has left is broken.
    """
    found = {}
    for step in STEPS:
        place = places.run(run, step)
        if place.head(RESULTS_FILE) is not None:
            _, found[step] = read_record(place)
    if not found:
        raise UsageError(
            f"{places.root}: the run '{run}' has left no results there; either no step has "
            "finished or this is not the root that it was given"
        )
    return found
