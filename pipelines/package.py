"""A compiled pipeline with its arguments: what is sent to a cluster."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from google.protobuf.json_format import MessageToDict

from pipelines.catalogue import build
from pipelines.placement import load_placement
from ssd_core.data.batches.loader import check_batch_size
from ssd_core.errors import UsageError
from ssd_core.stages import resolve_config
from ssd_core.store import Location

_PLACES = {"dataset": "--dataset", "model": "--model", "data_root": "--root"}
"""Parameters that name a place, which the steps on the cluster must be able to read."""
_SUBJECTS = ("recipe", "series", "model")
"""Parameters whose value says best what a run is about."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Package:
    """A compiled pipeline with its arguments."""

    pipeline: str
    content: Mapping[str, Any]
    """`pipeline_spec` and `platform_spec`, as kfp.Client sends them."""
    arguments: Mapping[str, Any]

    def name(self) -> str:
        """Return a name that equal packages share, and no others."""
        words = json.dumps([self.content, self.arguments], sort_keys=True)
        digest = hashlib.sha256(words.encode()).hexdigest()[:12]
        subject = next((self.arguments[name] for name in _SUBJECTS if name in self.arguments), "")
        return f"{self.pipeline} {subject.rpartition('/')[2]} {digest}"


def compile_package(
    pipeline: str,
    arguments: Mapping[str, Any],
    *,
    placement: str,
    placements: Path | None,
    nodes: int,
) -> Package:
    """Compile a pipeline for a cluster.

    Args:
        pipeline: its name.
        arguments: its parameters, as `pipeline_arguments` returns them.
        placement: name of a row of placements.yaml or of the user's file.
        placements: the user's file.
        nodes: machines that train together.

    Raises:
        UsageError: an unknown placement, a place that only this machine can read, or a batch that
            does not divide over the devices.
    """
    for name, flag in _PLACES.items():
        if name in arguments:
            _check_place(flag, arguments[name])
    place = load_placement(placement, placements)
    if "recipe" in arguments:  # it trains
        sections = resolve_config.run(arguments["recipe"], arguments["overrides"])
        check_batch_size(sections["train"]["batch_size"], nodes * place.processes)
    built = build(pipeline, place, nodes=nodes)
    content = {
        "pipeline_spec": MessageToDict(built.pipeline_spec),
        "platform_spec": MessageToDict(built.platform_spec),
    }
    return Package(pipeline=pipeline, content=content, arguments=arguments)


def _check_place(flag: str, place: str) -> None:
    if not place.startswith("s3://"):
        raise UsageError(f"{flag} {place}: a cluster cannot read it; expected s3://bucket/prefix")
    Location.parse(place)
