"""The conversion in a pipeline: one step, or shares of it in pods beside each other."""

from typing import Any

from kfp import dsl

from components.convert.component import convert
from components.convert_share.component import convert_share
from pipelines.placement import Placement, place


def add_conversion(placement: Placement, **inputs: Any) -> dsl.PipelineTask:
    """Add the step that converts a data set, after `convert_pods` shares of it if several.

    Args:
        placement: where the shares run.
        inputs: of `convert`.
    """
    count = placement.convert_pods
    if count == 1:
        return convert(**inputs)
    shares = [f"{index}/{count}" for index in range(1, count + 1)]
    with dsl.ParallelFor(shares, name="convert_shares") as share:
        shared = convert_share(share=share, **inputs)
    place(placement, shared)
    return convert(**inputs).after(shared)
