"""What a GPU refuses, and what the host waits for: the rules of a pretended device."""

import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, NamedTuple

import torch
from torch import Tensor

CPU, DEVICE = torch.device("cpu"), torch.device("cuda:0")
PACKAGES = str(Path(torch.__file__).parents[1])
OURS = ("device_rules.py", "pretended.py")  # which are in the way of who called


def _names(text: str) -> frozenset[str]:
    return frozenset(text.split())


# What gives the host a value, or a tensor whose size depends on values: it waits for the device.
READS = _names(
    "item tolist __bool__ __float__ __int__ __index__ __complex__ __contains__ __format__ "
    "__repr__ nonzero argwhere masked_select unique unique_consecutive equal allclose "
    "is_nonzero bincount"
)
# And what looks whether it succeeded.
LOOKS = _names(
    "inv inverse solve cholesky eigh eigvalsh eig svd svdvals pinv lstsq linalg_inv "
    "linalg_solve linalg_cholesky linalg_eigh linalg_eigvalsh linalg_eig linalg_svd "
    "linalg_svdvals linalg_pinv linalg_lstsq"
)
# What takes tensors of two devices. All others take a number of the CPU at most, and `STRICT` none.
COPIES = _names(
    "copy_ new_tensor tensor as_tensor zeros_like ones_like empty_like full_like rand_like "
    "randn_like new_empty new_zeros new_ones new_full expand_as view_as reshape_as"
)
STRICT = _names(
    "matmul __matmul__ __rmatmul__ mm bmm mv addmm baddbmm linear cat stack concat gather "
    "index_select scatter scatter_ scatter_add scatter_add_ index_add index_add_ index_copy "
    "index_copy_ take_along_dim embedding cross_entropy layer_norm scaled_dot_product_attention "
    "einsum cdist nll_loss"
)
MAKES = frozenset({"tensor", "as_tensor", "new_tensor"})


class WrongDevice(RuntimeError):
    """Tensors of two devices met where torch would refuse them."""


class Wait(NamedTuple):
    """One time that the host waited for the device.

    Attributes:
        kind: `read` of a value, or `upload` of one that the host has in memory of its own.
        what: The function of torch.
        where: File and line outside of torch, such as `operators/tuning.py:231`.
    """

    kind: Literal["read", "upload"]
    what: str
    where: str


@dataclass
class Waits:
    """What the host waited for.

    Attributes:
        every: In order.
    """

    every: list[Wait] = field(default_factory=list)

    def reads(self) -> int:
        """How many values were read."""
        return sum(wait.kind == "read" for wait in self.every)

    def counted(self) -> Mapping[Wait, int]:
        """How often each was waited for."""
        found: dict[Wait, int] = {}
        for wait in self.every:
            found[wait] = found.get(wait, 0) + 1
        return found


class PretendedTensor(Tensor):
    """A tensor that says it is on the device. Pinned memory of the host is none."""

    @property
    def device(self) -> torch.device:  # pyright: ignore[reportIncompatibleVariableOverride]
        """The pretended one."""
        return DEVICE

    @property
    def is_cuda(self) -> bool:  # pyright: ignore[reportIncompatibleVariableOverride]
        """True, as of all tensors of a GPU."""
        return True

    @property
    def is_cpu(self) -> bool:  # pyright: ignore[reportIncompatibleVariableOverride]
        """False, likewise."""
        return False


class PinnedTensor(Tensor):
    """A tensor of the host in memory from which a copy need not be waited for."""


GENERATOR: Any = torch.Generator


class PretendedGenerator(torch.Generator):
    """A generator of the device, which draws as that of the CPU does."""


class Watch:
    """Looks at calls of torch's functions, and remembers the waits.

    Attributes:
        waits: What the host waited for.
        going_back: Whether autograd is at work, which does not say where what it hands out is.
    """

    def __init__(self) -> None:
        self.waits = Waits()
        self.going_back = False

    def look(
        self,
        name: str,
        args: tuple[Any, ...],
        kwargs: Mapping[str, Any],
        tensors: list[Tensor],
        on_device: list[PretendedTensor],
    ) -> None:
        """Refuses what a device would refuse, and writes down what it would be waited for.

        Args:
            name: Of the function.
            args: What it is called with, by position.
            kwargs: The same by name.
            tensors: All that are among these.
            on_device: Those of the device.

        Raises:
            WrongDevice: Tensors of two devices meet, or a generator is of the CPU.
        """
        for generator in all_of((args, kwargs.values()), GENERATOR):
            if not isinstance(generator, PretendedGenerator):
                raise WrongDevice(
                    f"{name} on {DEVICE} with a generator of the CPU, at {where()}: draw on the "
                    "CPU and move what was drawn."
                )
        if self.going_back:  # what autograd hands to Python does not say where it is
            return
        if name in ("__getitem__", "__setitem__", "index_put", "index_put_"):
            self._look_at_index(name, args)
        elif len(on_device) < len(tensors) and name not in COPIES:
            for other in tensors:
                alone = other.ndim == 0 and name not in STRICT
                if not (isinstance(other, PretendedTensor) or alone):
                    raise WrongDevice(
                        f"{name} of a tensor on {DEVICE} and one of shape {tuple(other.shape)} on "
                        f"the CPU, at {where()}."
                    )
        if _is_read(name, args, kwargs, bool(on_device)):
            self.wait("read", name)
        if name == "copy_" and len(on_device) < len(tensors):
            self._copied(args[0], args[1], kwargs)

    def _look_at_index(self, name: str, args: tuple[Any, ...]) -> None:
        into, index = args[0], args[1]
        indices = list(tensors_of((index,)))
        if not isinstance(into, PretendedTensor):
            if name == "__getitem__" and not any(x.ndim for x in indices):
                return
            raise WrongDevice(f"a tensor of the CPU is indexed by one of {DEVICE}, at {where()}.")
        for each in indices:
            here = isinstance(each, PretendedTensor)
            if each.dtype in (torch.bool, torch.uint8):
                filled = name == "__setitem__" and not (
                    isinstance(args[2], Tensor) and args[2].ndim
                )
                if here and not filled:
                    self.wait("read", f"{name} by a mask")
            elif not here:
                self.wait("upload", f"{name} by an index of the CPU")
        if name == "__getitem__":
            self._look_at_slices(index)
        elif isinstance(args[2], Tensor) and not isinstance(args[2], PretendedTensor):
            if indices and args[2].ndim:
                raise WrongDevice(f"{name} of a tensor of the CPU, at {where()}.")
            self.wait("upload", name)

    def _look_at_slices(self, index: Any) -> None:
        for part in index if isinstance(index, tuple) else (index,):
            ends = (part.start, part.stop, part.step) if isinstance(part, slice) else ()
            if any(isinstance(end, PretendedTensor) for end in ends):
                self.wait("read", "a slice")

    def wait(self, kind: Literal["read", "upload"], what: str) -> None:
        """Writes down a wait.

        Args:
            kind: See `Wait`.
            what: The function of torch.
        """
        if not self.going_back:
            self.waits.every.append(Wait(kind, what, where()))

    def _copied(self, to: Any, source: Any, kwargs: Mapping[str, Any]) -> None:
        """A copy between host and device, which is waited for."""
        if isinstance(source, PretendedTensor):
            self.wait("read", "copy_")
        elif isinstance(to, PretendedTensor) and not is_ahead(source, kwargs):
            self.wait("upload", "copy_")


def _is_read(name: str, args: tuple[Any, ...], kwargs: Mapping[str, Any], on_device: bool) -> bool:
    """Whether the host gets a value, or has to know one."""
    if name in MAKES:
        return on_device and not isinstance(args[0], Tensor)
    if name == "where":
        return len(args) == 1
    if name == "one_hot":
        return kwargs.get("num_classes", args[1:] or -1) == -1
    if name == "repeat_interleave":
        counts = any(isinstance(x, Tensor) for x in (*args[1:], *kwargs.values()))
        return counts and kwargs.get("output_size") is None
    return on_device and (name in READS or name in LOOKS)


def is_ahead(source: Any, kwargs: Mapping[str, Any]) -> bool:
    """Whether a copy to the device goes on while the host does.

    Args:
        source: What is copied.
        kwargs: Of the copy.
    """
    return isinstance(source, PinnedTensor) and bool(kwargs.get("non_blocking"))


def all_of(values: Any, kind: type) -> Iterator[Any]:
    """Everything of a type in nested lists.

    Args:
        values: The lists.
        kind: The type.
    """
    if isinstance(values, kind):
        yield values
    elif isinstance(values, Mapping):
        for value in values.values():
            yield from all_of(value, kind)
    elif isinstance(values, (tuple, list)) or type(values).__name__ == "dict_values":
        for value in values:
            yield from all_of(value, kind)


def tensors_of(values: Any) -> Iterator[Tensor]:
    """The tensors in nested lists."""
    return all_of(values, Tensor)


def where() -> str:
    """The file and the line outside of torch that called."""
    frame = sys._getframe(1)
    while frame is not None:
        file = frame.f_code.co_filename
        if not (file.startswith((PACKAGES, "<")) or file.endswith(OURS)):
            return f"{'/'.join(Path(file).parts[-2:])}:{frame.f_lineno}"
        frame = frame.f_back
    return "?"
