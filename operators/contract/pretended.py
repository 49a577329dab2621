"""A GPU that is not there: CPU values that behave as those of a device where it matters.

While `pretending` is on, `cuda` is a device. Tensors on it are a subclass over CPU values: they say
that they are on `cuda:0`, meet no tensor of the CPU but a number, and are watched: whatever makes
the host wait for the device is written down, with the line that asked for it. Values, and so all
numbers that come of them, are those of the CPU.

torch has a fake mode of its own, whose tensors have no values and, on builds for the CPU, cannot be
indexed. Here a function of torch is looked at as it is called from Python: what it does inside, and
how fast a device is, is not pretended.
"""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any
from unittest.mock import patch

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from operators.contract.device_rules import (
    CPU,
    DEVICE,
    GENERATOR,
    PinnedTensor,
    PretendedGenerator,
    PretendedTensor,
    Waits,
    Watch,
    WrongDevice,
    is_ahead,
    tensors_of,
    where,
)

# What reads names of devices, and types.
_torch: Any = torch
AS_THEY_ARE = (torch.device, _torch._C._nn._parse_to, _torch._has_compatible_shallow_copy_type)


def _grouping() -> Any:
    """Groups of gradients, whose keys hold devices as torch itself sees them, of the device."""
    from torch.nn.utils import clip_grad

    group: Any = vars(clip_grad)["_group_tensors_by_device_and_dtype"]

    def grouped(lists: Any) -> Any:
        there = any(isinstance(x, PretendedTensor) for x in tensors_of(lists))
        found = group(lists)
        return {(DEVICE if there else d, t): each for (d, t), each in found.items()}

    return patch.object(clip_grad, "_group_tensors_by_device_and_dtype", grouped)


class _AnyGenerator(torch.Generator):
    """What stands for `torch.Generator` in the meantime."""

    def __new__(cls, device: torch.device | str = "cpu") -> torch.Generator:
        here = torch.device(device).type == "cpu"
        return GENERATOR.__new__(GENERATOR if here else PretendedGenerator, "cpu")


_modes: "list[_Pretending]" = []  # that are on


@contextmanager
def pretending() -> Iterator[Waits]:
    """Lets `cuda` be a device until the block ends, and gives what the host waited for."""
    mode = _Pretending()
    _modes.append(mode)
    before = torch.__future__.get_overwrite_module_params_on_conversion()
    torch.__future__.set_overwrite_module_params_on_conversion(True)  # else `to` keeps their class
    try:
        # Whether cuDNN could is asked of a library that a build for the CPU does not have.
        with torch.backends.cudnn.flags(enabled=False), _grouping(), mode:
            torch.Generator = _AnyGenerator  # a class, which torch's functions do not go through
            yield mode.watch.waits
    finally:
        _modes.remove(mode)
        torch.Generator = GENERATOR
        torch.__future__.set_overwrite_module_params_on_conversion(before)


def pretending_here() -> TorchFunctionMode:
    """A block in which this thread pretends what the thread of `pretending` does.

    torch looks at the functions that one thread calls. Those of lanes are threads of their own.
    """
    return _modes[-1]


def placed(value: Tensor) -> Tensor:
    """A leaf of the same values on the device; whether it asks for a gradient is kept."""
    with torch._C.DisableTorchFunctionSubclass():
        made = Tensor._make_subclass(PretendedTensor, value.detach(), value.requires_grad)
    if isinstance(value, nn.Parameter):
        made._is_param = True
    return made


def place_module(module: nn.Module) -> None:
    """Puts parameters and buffers of a module on the device, in place."""
    for part in module.modules():
        for own in (part._parameters, part._buffers):
            there: Any = {name: placed(x) for name, x in own.items() if x is not None}
            own.update(there)


class _Pretending(TorchFunctionMode):
    def __init__(self) -> None:
        super().__init__()
        self.watch = Watch()

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        kwargs = kwargs or {}
        if func in AS_THEY_ARE:
            return func(*args, **kwargs)
        name = _name(func)
        special: Callable[..., Any] | None = getattr(self, f"_on_{name}", None)
        if special is not None:
            return special(func, args, kwargs)
        asked, args, kwargs = _without_device(func, args, kwargs)
        tensors = list(tensors_of((args, kwargs.values())))
        on_device = [x for x in tensors if isinstance(x, PretendedTensor)]
        if on_device or asked == DEVICE:
            self.watch.look(name, args, kwargs, tensors, on_device)
        with torch._C.DisableTorchFunctionSubclass():
            found = func(*args, **kwargs)
        if name in ("__get__", "__set__") and not isinstance(found, Tensor):
            return found
        to = asked if asked is not None else (DEVICE if on_device else None)
        return found if to is None else _moved(found, to)

    def _on_to(self, func: Any, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Any:
        value = args[0]
        like = next((x for x in args[1:] if isinstance(x, Tensor)), kwargs.get("other"))
        asked, args, kwargs = _without_device(func, args, kwargs)
        here = DEVICE if isinstance(value, PretendedTensor) else CPU
        if like is not None:
            asked = DEVICE if isinstance(like, PretendedTensor) else CPU
        with torch._C.DisableTorchFunctionSubclass():
            found = func(*args, **kwargs)
        if asked is None or asked == here:
            return _moved(found, here)
        if here == DEVICE:
            self.watch.wait("read", "to")
        elif not is_ahead(value, kwargs):
            self.watch.wait("upload", "to")
        return _moved(found, asked)

    def _on_type_as(self, func: Any, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Any:
        return self._on_to(Tensor.to, args, kwargs)

    def _on_cpu(self, func: Any, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Any:
        return self._on_to(Tensor.to, (args[0], CPU), kwargs)

    def _on_cuda(self, func: Any, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Any:
        return self._on_to(Tensor.to, (args[0], DEVICE), kwargs)

    def _on_pin_memory(self, func: Any, args: tuple[Any, ...], kwargs: Any) -> Any:
        if isinstance(args[0], PretendedTensor):
            raise WrongDevice(f"memory of {DEVICE} is no memory of the host, at {where()}.")
        with torch._C.DisableTorchFunctionSubclass():
            return args[0].clone().as_subclass(PinnedTensor)

    def _on_is_pinned(self, func: Any, args: tuple[Any, ...], kwargs: Any) -> bool:
        return isinstance(args[0], PinnedTensor)

    def _on_numpy(self, func: Any, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Any:
        if isinstance(args[0], PretendedTensor):
            raise TypeError(f"a tensor on {DEVICE} is no array, at {where()}: use .cpu() first.")
        with torch._C.DisableTorchFunctionSubclass():
            return func(*args, **kwargs)

    _on___array__ = _on_numpy

    def _on___deepcopy__(self, func: Any, args: tuple[Any, ...], kwargs: Any) -> Any:
        value, memo = args
        if not isinstance(value, PretendedTensor):
            with torch._C.DisableTorchFunctionSubclass():
                return func(*args, **kwargs)
        with torch._C.DisableTorchFunctionSubclass(), torch.no_grad():
            copied = value.clone()
        copied = placed(copied.requires_grad_(value.requires_grad))
        copied._is_param = getattr(value, "_is_param", False)
        memo[id(value)] = copied
        return copied

    def _on_backward(
        self,
        func: Any,
        args: tuple[Any, ...],
        kwargs: Mapping[str, Any],
    ) -> None:
        names = ("self", "gradient", "retain_graph", "create_graph")
        given: dict[str, Any] = {**dict(zip(names, args, strict=False)), **kwargs}
        keep = given.get("retain_graph") or given.get("create_graph") or False
        self._go_back([given["self"]], given.get("gradient"), keep, given.get("create_graph"), ())

    def _on_grad(self, func: Any, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Any:
        names = ("outputs", "inputs", "grad_outputs", "retain_graph", "create_graph", "x", "unused")
        given: dict[str, Any] = {**dict(zip(names, args, strict=False)), **kwargs}
        outputs, inputs = (
            [x] if isinstance(x, Tensor) else list(x) for x in (given["outputs"], given["inputs"])
        )
        create = given.get("create_graph", False)
        keep = given.get("retain_graph")
        found = self._go_back(
            outputs,
            given.get("grad_outputs"),
            create if keep is None else keep,
            create,
            tuple(inputs),
            unused=given.get("allow_unused") or False,
        )
        return tuple(None if x is None else _moved(x, DEVICE) for x in found)

    def _go_back(
        self,
        outputs: list[Any],
        gradients: Any,
        keep: bool,
        create: bool | None,
        inputs: tuple[Any, ...],
        *,
        unused: bool = False,
    ) -> Any:
        with torch._C.DisableTorchFunctionSubclass():
            if gradients is None:
                given = [torch.ones_like(x) for x in outputs]
            else:
                given = [gradients] if isinstance(gradients, Tensor) else list(gradients)
        before, self.watch.going_back = self.watch.going_back, True
        try:
            with self:
                return torch.autograd.Variable._execution_engine.run_backward(
                    tuple(outputs),
                    tuple(given),
                    keep,
                    bool(create),
                    inputs,
                    allow_unreachable=unused or not inputs,
                    accumulate_grad=not inputs,
                )
        finally:
            self.watch.going_back = before


def _name(func: Any) -> str:
    return getattr(func, "__name__", str(func))


def _without_device(
    func: Any, args: tuple[Any, ...], kwargs: Mapping[str, Any]
) -> tuple[torch.device | None, tuple[Any, ...], dict[str, Any]]:
    """Where a result is asked to be, and the arguments with the CPU in the place of the device."""
    asked = None

    def real(value: Any) -> Any:
        nonlocal asked
        if isinstance(value, torch.device):
            asked = DEVICE if value.type == "cuda" else value
        elif isinstance(value, str) and value.split(":")[0] in ("cuda", "cpu"):
            asked = DEVICE if value.startswith("cuda") else CPU
        else:
            return value
        return CPU if asked == DEVICE else asked

    args = tuple(real(value) for value in args)
    given = {name: real(value) for name, value in kwargs.items()}
    return asked, args, given


def _moved(found: Any, to: torch.device) -> Any:
    """Tensors of a result as those of a device."""
    if isinstance(found, Tensor):
        if to == DEVICE:
            return found if isinstance(found, PretendedTensor) else _pretended(found)
        with torch._C.DisableTorchFunctionSubclass():
            return found.as_subclass(Tensor) if isinstance(found, PretendedTensor) else found
    if isinstance(found, tuple) and hasattr(found, "_fields"):
        return type(found)(*(_moved(each, to) for each in found))
    if type(found) in (tuple, list):
        return type(found)(_moved(each, to) for each in found)
    if isinstance(found, tuple):  # of torch.return_types
        return type(found)([_moved(each, to) for each in found])
    return found


def _pretended(value: Tensor) -> Tensor:
    with torch._C.DisableTorchFunctionSubclass():
        if value.requires_grad and not value.is_leaf:
            return value.as_subclass(PretendedTensor)
        made = Tensor._make_subclass(PretendedTensor, value.detach(), value.requires_grad)
    if isinstance(value, nn.Parameter):
        made._is_param = True
    return made
