"""An accelerator in name only: torch takes it for hardware, a processor does the work.

It is registered as an extension registers real hardware, through torch's private-use backend, but
in Python. Its tensors wrap tensors in the memory of the processor, or on torch's device `meta`,
which has shapes, but neither memory nor values. So code for the hardware runs without it, as far as
torch itself is concerned; kernels, memory formats and streams of the hardware are beyond it.
"""

from collections.abc import Callable, Collection, Mapping, Sequence
from functools import partial
from types import ModuleType, SimpleNamespace
from typing import Any, ClassVar

import torch
from torch import Tensor
from torch.optim.optimizer import _foreach_supported_types as _optimizer_types
from torch.utils import _pytree, backend_registration
from torch.utils._foreach_utils import _foreach_supported_types

Record = Callable[[Any, Sequence[Any], Mapping[str, Any], Any], None]
"""Takes an operator, its arguments and its result, whose tensors on the device are `Wrapped`."""

_COMPOSITE = (
    "CompositeExplicitAutograd",
    "CompositeExplicitAutogradNonFunctional",
    "CompositeImplicitAutograd",
)
_libraries: list[Any] = []
"""A library takes its operators with it when it is freed."""


class Wrapped(torch.Tensor):
    """A tensor on the device, with the shape and the strides of `inner`, which holds its values."""

    inner: Tensor  # type: ignore[assignment]  # a product of vectors elsewhere
    run: ClassVar[Callable[..., Any]]

    @classmethod
    def wrap(cls, inner: Tensor, device: torch.device) -> "Wrapped":
        """Return a tensor on the device that shares the values of `inner`."""
        with torch.inference_mode(False):  # views of weights have versions, in this mode too
            outer: Wrapped = torch.Tensor._make_wrapper_subclass(
                cls,
                inner.shape,
                strides=inner.stride(),
                storage_offset=inner.storage_offset(),
                dtype=inner.dtype,
                device=device,
            )
        outer.inner = inner
        return outer

    @classmethod
    def __torch_dispatch__(  # type: ignore[override]
        cls, operator: Any, types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        """Compute an operator below autograd."""
        return cls.run(operator, args, kwargs or {})

    def tolist(self) -> Any:
        """Return the values; torch has no such method for a subclass."""
        return self.cpu().tolist()


def register(
    name: str,
    *,
    memory: str = "cpu",
    kernels: Collection[str] | None = None,
    record: Record = lambda *_: None,
) -> ModuleType:
    """Make a device called `name` known to torch, and return its module; a process can have one.

    Args:
        name: that of the hardware.
        memory: `cpu`, or `meta` for shapes without values; a value that is read is then 1.
        kernels: operators that the hardware has, such as `add.Tensor`; torch composes others of
            these, where it can. All are computed. None for all.
        record: is called after every operator.
    """
    module = _make_module(name)
    backend_registration._setup_privateuseone_for_python_backend(name, module)
    device = torch.device(name, 0)
    run = partial(_run, device=device, memory=torch.device(memory), kernels=kernels, record=record)
    Wrapped.run = run
    library: Any = torch.library.Library  # without types
    _libraries.extend(library(namespace, "IMPL") for namespace in ("_", "aten"))
    rest, aten = _libraries
    rest.fallback(lambda operator, *args, **kwargs: run(operator, args, kwargs), "PrivateUse1")
    aten.impl("_copy_from", partial(_copy_from, run=run), "PrivateUse1")
    rest.fallback(torch.library.fallthrough_kernel, "AutocastPrivateUse1")
    aten.impl("conv2d", partial(_convolve_in_half, name=name), "AutocastPrivateUse1")
    # For other types torch calls an operator per tensor where hardware gets one for all tensors.
    for types in (_foreach_supported_types, _optimizer_types):
        types.append(Wrapped)
    return module


def _make_module(name: str) -> ModuleType:
    """Return the functions that torch and a program look for in the module of a device."""
    module = ModuleType(f"torch_{name}")
    for function, result in {
        "_is_in_bad_fork": False,
        "current_device": 0,
        "device_count": 1,
        "get_amp_supported_dtype": [torch.float16, torch.bfloat16],
        "get_device_name": "stand-in",
        "get_device_properties": SimpleNamespace(total_memory=2**30),
        "is_available": True,
        "is_bf16_supported": True,
        "is_initialized": True,
        "manual_seed_all": None,
        "max_memory_allocated": 0,
        "set_compile_mode": None,
        "set_device": None,
        "synchronize": None,
    }.items():
        setattr(module, function, lambda *_, _result=result, **__: _result)
    module.config = SimpleNamespace()  # type: ignore[attr-defined]
    return module


def _run(
    operator: Any,
    args: Sequence[Any],
    kwargs: Mapping[str, Any],
    *,
    device: torch.device,
    memory: torch.device,
    kernels: Collection[str] | None,
    record: Record,
) -> Any:
    """Compute an operator with tensors on the device, or one that makes such tensors."""
    is_listed = kernels is None or operator_name(operator) in kernels
    composite = None if is_listed or is_view(operator) else _find_composite(operator)
    if composite is not None:
        return operator._op_dk(composite, *args, **kwargs)
    known: dict[int, Tensor] = {}

    def enter(value: Any) -> Any:
        if isinstance(value, Tensor):
            inner = value.inner if isinstance(value, Wrapped) else value
            assert inner.device != device, f"torch made a tensor for {operator} by itself"
            known[id(inner)] = value
            return inner
        return memory if isinstance(value, torch.device) and value.type == device.type else value

    is_for_host = torch.device(kwargs.get("device") or device).type != device.type

    def leave(value: Any) -> Any:
        if not isinstance(value, Tensor) or is_for_host:
            return value
        return (
            known.get(id(value)) if id(value) in known else Wrapped.wrap(value.to(memory), device)
        )

    inner_args, inner_kwargs = _pytree.tree_map(enter, (tuple(args), dict(kwargs)))
    result = _pytree.tree_map(leave, _compute(operator, inner_args, inner_kwargs, memory))
    record(operator, args, kwargs, result)
    return result


def _compute(operator: Any, args: Any, kwargs: Any, memory: torch.device) -> Any:
    try:
        return operator(*args, **kwargs)
    except (NotImplementedError, RuntimeError) as error:
        if memory.type != "meta" or isinstance(error, RecursionError):
            raise
    # The operator reads values, for example to copy them to the host.
    args, kwargs = _pytree.tree_map(
        lambda value: (
            torch.ones_like(value, device="cpu")
            if isinstance(value, Tensor) and value.is_meta
            else value
        ),
        (args, kwargs),
    )
    return operator(*args, **kwargs)


def _find_composite(operator: Any) -> Any:
    """Return the key under which torch composes the operator of others, None if it does not."""
    keys = (getattr(torch._C.DispatchKey, name) for name in _COMPOSITE)
    return next((key for key in keys if operator.has_kernel_for_dispatch_key(key)), None)


def is_view(operator: Any) -> bool:
    """Return whether the result shares the values of an argument, so that nothing is computed."""
    aliases = [each.alias_info for each in operator._schema.returns]
    shares = any(alias is not None and not alias.is_write for alias in aliases)
    return shares or operator_name(operator) == "_unsafe_view"  # of a copy, so it has no alias


def operator_name(operator: Any) -> str:
    """Return the name of one of torch's own operators as the lists of kernels have it."""
    return str(operator.name()).removeprefix("aten::")


def _copy_from(
    source: Tensor, target: Tensor, non_blocking: bool = False, *, run: Callable[..., Any]
) -> Tensor:
    """Copy to or from the device; torch itself calls this below its dispatch to Python."""
    run(torch.ops.aten.copy_.default, (target, source), {})
    return target


def _convolve_in_half(
    inputs: Tensor, weight: Tensor, bias: Tensor | None = None, *settings: Any, name: str
) -> Tensor:
    """Convolve in the type of autocast, as it does on hardware."""
    dtype = torch.get_autocast_dtype(name)
    with torch.autocast(name, enabled=False):
        halves = (inputs.to(dtype), weight.to(dtype), None if bias is None else bias.to(dtype))
        return torch.conv2d(*halves, *settings)
