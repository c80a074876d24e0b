"""The arrays that every framework reads and writes; `docs/file-formats.md` lists their names."""

from collections.abc import Mapping

import numpy as np

from ssd_core.errors import DataError
from ssd_core.structures import Array

WEIGHTS = "weights/"
"""Begins the names of the network's arrays in the state of a learner."""
ArrayTypes = Mapping[str, tuple[tuple[int, ...], np.dtype]]
"""Shape and type of each array of a network, by name."""


def check_arrays(arrays: Mapping[str, Array], expected: ArrayTypes) -> None:
    """Check that arrays have the names, shapes and types that a network expects.

    Raises:
        DataError: the first difference.
    """
    missing, unknown = (
        sorted(expected.keys() - arrays.keys()),
        sorted(arrays.keys() - expected.keys()),
    )
    if missing or unknown:
        problem = f"'{missing[0]}' is missing" if missing else f"'{unknown[0]}' is unknown"
        raise DataError(
            f"weights: {problem} ({len(missing)} missing, {len(unknown)} unknown, {len(expected)} "
            "expected): they belong to another network; copy the whole model again, or train again"
        )
    for name, (shape, dtype) in expected.items():
        array = arrays[name]
        if (array.shape, array.dtype) != (shape, dtype):
            raise DataError(
                f"weights: '{name}' is {array.shape} {array.dtype}, the network has {shape} {dtype}"
                "; copy the whole model again, or train again"
            )
