"""Which operators of torch a training and a detector call, and whether a device has them.

No hardware is needed: the calls reach a stand-in that has the kernels of `operators/<device>.json`
and computes shapes alone.
"""

import json
import sys
from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils import _pytree

from ssd_core.backends.ranks import RankEnv, Ranks
from ssd_core.backends.torch.devices import open_device
from ssd_core.backends.torch.learner import TorchLearner
from ssd_core.backends.torch.standin import Wrapped, is_view, operator_name, register
from ssd_core.config import TrainConfig
from ssd_core.errors import UsageError, unlisted_name
from ssd_core.structures import Batch

_OPERATORS = Path(__file__).parent / "operators"
_NUM_CLASSES, _NUM_IMAGES, _NUM_OBJECTS = 3, 2, 4
_MASKS = (torch.bool, torch.uint8)

_ON_HOST = {
    "scatter_reduce": "only sums of float32 are computed on the device",
}
"""Operators that have a kernel, but not for all arguments, by the start of their names; from
ScatterReduceKernelNpuOpApi.cpp of Ascend/op-plugin."""


@dataclass(frozen=True, slots=True)
class OperatorUse:
    """An operator, as a part of the program calls it."""

    part: str
    operator: str
    calls: int
    implementation: str
    """`aclnn`: a prebuilt kernel; `compiled`: built for every shape; `framework`: a view, a copy
    or memory; `host`: none on the device."""
    finding: str
    """Why this is slow on the device; empty if it is not."""


@dataclass(frozen=True, slots=True)
class _Call:
    operator: str
    is_view: bool
    ends_on_host: bool
    """Whether the host waits for the result."""
    has_dynamic_shape: bool


def audit(device: str, config: TrainConfig) -> list[OperatorUse]:
    """Return the operators of a training step, alone and as one of two ranks, and of a detector.

    Raises:
        UsageError: the device has no list of operators, or its own package is loaded.
    """
    _register(device)
    batch, opened = _make_batch(config.model.image_size), open_device(device)
    precision = opened.auto_precision if config.precision == "auto" else config.precision
    with torch.device("meta"):  # initial weights would take most of the time
        alone, shared = (
            TorchLearner(
                config,
                _NUM_CLASSES,
                device=opened,
                precision=precision,
                ranks=Ranks(RankEnv(world_size=world_size)),
            )
            for world_size in (1, 2)
        )
    # The host reads ones in place of all values: at a low threshold each anchor is a candidate.
    postprocess = config.model.postprocess.model_copy(update={"score_threshold": 0.99})
    detector = alone.detector(postprocess)
    sizes = [(config.model.image_size,) * 2] * _NUM_IMAGES
    return [
        *observe(device, "training", lambda: alone.step(batch, 0.01)),
        *observe(device, "training on 2 ranks", lambda: shared.step(batch, 0.01)),
        *observe(device, "detector", lambda: detector.detect(batch.images, sizes)),
    ]


def observe(device: str, part: str, work: Callable[[], object]) -> list[OperatorUse]:
    """Return the operators that `work` calls on the device, by name."""
    calls = _register(device)
    calls.clear()
    work()
    # The host has to wait for a result, but at the end.
    last = max((i for i, call in enumerate(calls) if not call.ends_on_host), default=-1)
    waits = {call.operator for call in calls[:last] if call.ends_on_host}
    dynamic = {call.operator for call in calls if call.has_dynamic_shape}
    kinds = {call.operator: "framework" if call.is_view else "host" for call in calls}
    kinds |= {name: kind for name, kind in _read_kinds(device).items() if name in kinds}
    counts = Counter(call.operator for call in calls)
    return [
        OperatorUse(
            part, name, counts[name], kind, _judge(name, kind, waits=waits, dynamic=dynamic)
        )
        for name, kind in sorted(kinds.items())
    ]


def _judge(name: str, kind: str, *, waits: Collection[str], dynamic: Collection[str]) -> str:
    reasons = [reason for start, reason in _ON_HOST.items() if name.startswith(start)]
    if kind == "host":
        reasons.append("the device has no kernel, so the host computes it")
    if kind == "compiled":
        reasons.append("the device compiles it for every new shape")
    if name in waits:
        reasons.append("the host waits for the device")
    if name in dynamic:
        reasons.append("the shape of the result depends on values")
    return "; ".join(reasons)


@cache
def _register(device: str) -> list[_Call]:
    """Register the stand-in as the package of the device does; return the list of its calls."""
    kernels = _read_kinds(device)
    if torch._C._get_privateuse1_backend_name() != "privateuseone":
        raise UsageError(
            f"an audit needs a torch without torch_{device}; set TORCH_DEVICE_BACKEND_AUTOLOAD=0"
        )
    calls: list[_Call] = []

    def record(operator: Any, args: Sequence[Any], kwargs: Mapping[str, Any], result: Any) -> None:
        calls.append(_describe(operator, args, kwargs, result))

    package = ModuleType(f"torch_{device}")
    package.__spec__ = ModuleSpec(package.__name__, None)
    setattr(package, device, register(device, memory="meta", kernels=kernels, record=record))
    sys.modules[package.__name__] = package
    return calls


def _describe(operator: Any, args: Sequence[Any], kwargs: Mapping[str, Any], result: Any) -> _Call:
    inputs = [value for value in _pytree.tree_leaves((args, kwargs)) if isinstance(value, Tensor)]
    outputs = [value for value in _pytree.tree_leaves(result) if value is not None]
    name = operator_name(operator)
    if name.startswith("index"):  # a mask stands for the indices of its true elements
        is_dynamic = any(value.dtype in _MASKS for value in inputs[1:])
    else:
        is_dynamic = torch.Tag.dynamic_output_shape in operator.tags
    return _Call(
        name,
        is_view(operator),
        any(isinstance(value, Wrapped) for value in inputs)
        and any(not isinstance(value, Wrapped) for value in outputs),
        is_dynamic,
    )


@cache
def _read_kinds(device: str) -> dict[str, str]:
    """Return how the device implements each operator that it has."""
    known = sorted(path.stem for path in _OPERATORS.glob("*.json"))
    if device not in known:
        raise unlisted_name("device to audit", device, known)
    lists = json.loads((_OPERATORS / f"{device}.json").read_text())
    return {
        name: kind
        for kind in ("framework", "compiled", "aclnn")
        for name in lists["operators"][kind]
    }


def _make_batch(image_size: int) -> Batch:
    """Return images with objects and padding; shapes are all that counts."""
    boxes = np.zeros((_NUM_IMAGES, _NUM_OBJECTS, 4), np.float32)
    boxes[:, 0] = (0.1, 0.1, 0.6, 0.6)
    labels = np.zeros((_NUM_IMAGES, _NUM_OBJECTS), np.int64)
    labels[:, 0] = 1
    images = np.zeros((_NUM_IMAGES, image_size, image_size, 3), np.uint8)
    return Batch(images=images, boxes=boxes, labels=labels)
