"""Steps that are recorded once and played back, so that the host has next to nothing to launch.

A step of a small model is one to two thousand operations, and a GPU does most of them faster than
Python names them. Where a step does the same with every batch of a shape, its operations are
recorded the third time that the shape comes and played back from then on: one launch a step. What
comes of it is what the operations give that were recorded, over the values that are in the same
memory then; so the values of a batch are copied there, and gradients are found where they were put.

What a recording cannot hold is what the host decides: a number that it draws, an epoch that it
counts, a value that it reads. So a method says that its steps repeat (`Method.repeats`), and tests
hold each that does to a recording of its step on a CPU. The optimiser is not recorded: its
learning rate is a number of the host.
"""

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import torch
from torch import Tensor

from operators.engine.accounting import Work, counted, counting

SEEN = 2  # times that a shape is met before its step is recorded: most that come once are rests
WARM = 3  # runs before a recording, in which libraries choose what they do; torch asks for them

ASKED = "SHOTBOARD_CUDA_GRAPHS"

Run = Callable[[], tuple[Tensor | None, ...]]  # the loss and a gradient for each parameter


@runtime_checkable
class Held(Protocol):
    """What a recording needs of a batch."""

    def __len__(self) -> int:
        """Examples."""
        ...

    def held(self) -> Mapping[str, Tensor]:
        """The tensors that were read of it, by name."""
        ...

    def reading(self, names: Sequence[str]) -> Mapping[str, Tensor]:
        """Tensors by name, read if need be."""
        ...

    def holding(self, tensors: Mapping[str, Tensor]) -> Any:
        """A batch that has these tensors and can read no others."""
        ...


def asked() -> bool:
    """Whether steps are to be played back: only where asked for, until a GPU has measured it."""
    return os.environ.get(ASKED) == "1"


def on_gpu(run: Run) -> Run:
    """Records what a run does on a GPU; the result plays it back."""
    stream: Any = torch.cuda.Stream()
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):
        for _ in range(WARM):
            run()
    torch.cuda.current_stream().wait_stream(stream)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        found = run()

    def play() -> tuple[Tensor | None, ...]:
        graph.replay()
        return found

    return play


def on_cpu(run: Run) -> Run:
    """Records what a run does on a CPU: slower than the run, and as blind to what the host decides.

    Tests hold methods to it that say that their steps repeat.
    """
    from torch.fx.experimental.proxy_tensor import make_fx  # seconds to import

    traced = make_fx(lambda: tuple(x for x in run() if x is not None))()
    there = [x is not None for x in run()]

    def play() -> tuple[Tensor | None, ...]:
        found = iter(traced())
        return tuple(next(found) if each else None for each in there)

    return play


@dataclass
class _Recording:
    """A step of one shape.

    Attributes:
        inputs: Where the values of a batch are put.
        play: Runs it.
        work: What one run takes; counted by hand, since nobody passes the towers.
    """

    inputs: Mapping[str, Tensor]
    play: Run
    work: Work


class RepeatedSteps:
    """Puts the gradients of steps into parameters, from recordings where their shapes repeat.

    Args:
        loss: Of a batch; does the same with every batch of a shape.
        parameters: That get a gradient.
        record: `on_gpu` or `on_cpu`.
    """

    def __init__(
        self,
        loss: Callable[[Any], Tensor],
        parameters: Sequence[Tensor],
        record: Callable[[Run], Run] = on_gpu,
    ) -> None:
        self.loss, self.parameters, self.record = loss, list(parameters), record
        self.recorded: dict[tuple[int, ...], _Recording] = {}
        self.seen: dict[tuple[int, ...], int] = {}
        self.read: tuple[str, ...] = ()

    def take(self, batch: Held) -> Tensor:
        """A step: gradients are in the parameters afterwards.

        Returns:
            The loss, detached; it lasts until the next step.
        """
        shape = (len(batch), *(len(p) if p.ndim else 0 for p in self.parameters))
        if self.seen.get(shape, 0) < SEEN:
            self.seen[shape] = self.seen.get(shape, 0) + 1
            value = self.loss(batch)
            value.backward()
            self.read = tuple(batch.held())
            return value.detach()
        if shape not in self.recorded:
            self.recorded[shape] = self._recording(batch)
        step = self.recorded[shape]
        for name, value in batch.reading(tuple(step.inputs)).items():
            step.inputs[name].copy_(value)
        loss, *gradients = step.play()
        for parameter, gradient in zip(self.parameters, gradients, strict=True):
            parameter.grad = gradient
        if (work := counted()) is not None:
            work.book(step.work.done, step.work.plain)
        assert loss is not None
        return loss

    def _recording(self, batch: Held) -> _Recording:
        inputs = {name: value.clone() for name, value in batch.reading(self.read).items()}
        standing = batch.holding(inputs)
        work, runs = Work(), 0

        def run() -> tuple[Tensor | None, ...]:
            nonlocal runs
            runs += 1
            value = self.loss(standing)
            gradients = torch.autograd.grad(value, self.parameters, allow_unused=True)
            return value.detach(), *gradients

        with counting(work):
            play = self.record(run)
        each = Work()
        each.book(work.done // runs, work.plain // runs)
        return _Recording(inputs, play, each)
