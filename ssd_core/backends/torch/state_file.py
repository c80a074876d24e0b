"""Files that `torch.save` has written, read without running code from them."""

import io
import zipfile
from contextlib import suppress

import torch
from torch import Tensor

from ssd_core.errors import DataError, explain
from ssd_core.structures import Array

_MAX_BYTES = 2**32
_COUNTER = "num_batches_tracked"
"""Ends the name of the batches that a norm of PyTorch has seen, which no network depends on."""
_OLD_FORMAT = b"\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19."
"""Begins files of PyTorch before 1.6, and the published ones of mmdetection: without an archive, as
large as their tensors."""
_STATE = ("model", "state_dict")
"""The weights in a checkpoint of a training: torchvision's, and that of most other programs."""


def read_state_file(content: bytes) -> dict[str, Array]:
    """Return the arrays of a state dict, or of the one in a checkpoint.

    Raises:
        DataError: the file is damaged, or holds anything but tensors and plain values.
    """
    state = _load(content)
    for key in _STATE:
        if isinstance(state, dict) and isinstance(state.get(key), dict):
            state = state[key]
    items = state.items() if isinstance(state, dict) else ()
    tensors = {str(name): each for name, each in items if isinstance(each, Tensor)}
    arrays = {
        name: _to_array(tensor) for name, tensor in tensors.items() if not name.endswith(_COUNTER)
    }
    if not arrays:
        raise DataError("it holds no state dict; save model.state_dict() with torch.save")
    return arrays


def _load(content: bytes) -> object:
    if not content.startswith(_OLD_FORMAT):
        _check_archive(content)
    try:
        return torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)
    except Exception as error:  # torch documents no classes; its message advises to run the file
        if explain(error):  # a lack of memory
            raise
        raise DataError(
            "it is damaged, or holds more than tensors and plain values, which is not run; save "
            "model.state_dict() alone"
        ) from None


def _check_archive(content: bytes) -> None:
    """Check that an archive unpacks to a limited size."""
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            size = sum(entry.file_size for entry in archive.infolist())
    except (zipfile.BadZipFile, NotImplementedError, ValueError):
        raise DataError("not a file of torch.save, or damaged; copy it again") from None
    if size > _MAX_BYTES:
        raise DataError(f"it unpacks to {size:,} bytes; at most {_MAX_BYTES:,} are read")


def _to_array(tensor: Tensor) -> Array:
    is_plain = tensor.layout == torch.strided and not tensor.is_quantized
    if is_plain and tensor.numel() * tensor.element_size() <= tensor.untyped_storage().nbytes():
        numbers = tensor.float() if tensor.is_floating_point() else tensor
        with suppress(RuntimeError, TypeError):  # of types, devices and views that NumPy lacks
            array: Array = numbers.detach().numpy()
            return array
    raise DataError(
        "a tensor is sparse, quantized, expanded, or of a type that NumPy lacks; save a dense copy "
        "of it in float32"
    )
