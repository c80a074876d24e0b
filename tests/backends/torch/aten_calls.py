"""The calls of aten that some code makes: on an accelerator each is a launch, or a wait for it."""

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

READ_BY_THE_HOST = {
    "_local_scalar_dense",
    "_unique2",
    "bincount",
    "equal",
    "is_nonzero",
    "item",
    "masked_select",
    "nonzero",
    "unique_consecutive",
    "unique_dim",
}
"""Calls whose result, or its shape, the host must wait for."""


class AtenCalls(TorchDispatchMode):
    """Records the name of every call, and from which device to which other one it copies."""

    def __init__(self):
        super().__init__()
        self.names, self.copies = [], []

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        result = function(*args, **(kwargs or {}))
        self.names.append(function.overloadpacket.__name__)
        sources, targets = (
            {leaf.device.type for leaf in tree_leaves(part) if isinstance(leaf, torch.Tensor)}
            for part in ((args, kwargs), result)
        )
        if len(sources | targets) > 1:
            self.copies.append((*sources, *targets))
        return result
