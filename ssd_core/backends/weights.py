"""The arrays that every framework reads and writes; `docs/file-formats.md` lists their names."""

from collections.abc import Mapping

import numpy as np

from ssd_core.errors import DataError
from ssd_core.structures import Array

WEIGHTS = "weights/"
"""Begins the names of the network's arrays in the state of a learner."""
TRAINED = "trained/"
"""Begins the names of weights under training; those of `WEIGHTS` are then their averages."""
AVERAGE_STEPS = "average/steps"
"""Name of the number of updates of the averages."""
ArrayTypes = Mapping[str, tuple[tuple[int, ...], np.dtype]]
"""Shape and type of each array of a network, by name."""


def replace_weights(state: Mapping[str, Array], weights: Mapping[str, Array]) -> dict[str, Array]:
    """Return the state of a learner with other arrays of the network, averaged ones too."""
    names = ((prefix + name, name) for prefix in (WEIGHTS, TRAINED) for name in weights)
    return {**state, **{key: weights[name] for key, name in names if key in state}}


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
