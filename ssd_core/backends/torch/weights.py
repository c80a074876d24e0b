"""Named tensors to named NumPy arrays and back."""

from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor

from ssd_core.errors import DataError
from ssd_core.structures import Array


def copy_to_arrays(tensors: Mapping[str, Tensor]) -> dict[str, Array]:
    """Return copies in row-major order, whatever the tensors' device and memory format."""
    return {
        name: np.array(tensor.detach().cpu().numpy(), order="C", copy=True)
        for name, tensor in tensors.items()
    }


def copy_to_tensors(arrays: Mapping[str, Array], tensors: Mapping[str, Tensor]) -> None:
    """Overwrite `tensors` with the arrays of the same names; on an error nothing changes.

    Raises:
        DataError: a name is missing or unknown, or a shape or type differs.
    """
    missing, unknown = (
        sorted(tensors.keys() - arrays.keys()),
        sorted(arrays.keys() - tensors.keys()),
    )
    if missing or unknown:
        problem = f"'{missing[0]}' is missing" if missing else f"'{unknown[0]}' is unknown"
        raise DataError(
            f"weights: {problem} ({len(missing)} missing, {len(unknown)} unknown, {len(tensors)} "
            "expected): they belong to another network"
        )
    sources = {name: torch.tensor(arrays[name]) for name in tensors}
    for name, tensor in tensors.items():
        found, wanted = (f"{tuple(t.shape)} {t.dtype}" for t in (sources[name], tensor))
        if found != wanted:
            raise DataError(f"weights: '{name}' is {found}, the network has {wanted}")
    with torch.no_grad():
        for name, tensor in tensors.items():
            tensor.copy_(sources[name])
