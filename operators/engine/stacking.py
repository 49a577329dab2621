"""Trials that are tuned together over the same frozen towers, one step of all of them at a time.

A small model spends most of a step on starting operations, not on arithmetic. Trials that differ
by seed alone have towers, class names and steps in common, so their prompts can go through a tower
as one batch. Each trial runs as if it were alone, in a lane of its own, up to the next call of a
tower; when all lanes wait there, the calls become one, and each lane goes on with its part. Losses
are summed before the way back: each depends on the parameters of its own lane, so every lane gets
the gradient that it would get alone, up to rounding.

One lane runs at a time, in order, so nothing depends on which thread is quicker, and what lanes
share (features, laid-out prompts) needs no locks. Calls are merged inside of `loss` alone, in a
step of the tuning loop. So a `loss` goes back through nothing itself: that is for the `backward` of
`tune`, which is served by itself. And it calls no tower with something learned from within a
`cached_property`, which Python 3.11 locks for all objects of a class.

Source: `encode_prompts` with a leading dimension, as CoCoOp has one context for each image.
"""

import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

import torch
from torch import Tensor

from operators.engine.accounting import SharedWork, Work, counted, counting
from operators.engine.launching import busy

T = TypeVar("T")
# The lane of this thread, asked by `clock`, `take_step` and `merged`. No argument could say it:
# lanes share one backbone object, so a tower that is called cannot know for whom, and a method that
# is tuned beside others is not to know it. The thread does, and a context variable is its own.
_current: "ContextVar[_Lane[Any] | None]" = ContextVar("lane", default=None)

TOKENS = 2048  # of a merged step on a CPU: beyond them a larger batch is no quicker
TOKENS_A_CLASS = 8  # of a class name that follows a shared context
LANES = 16  # at most: each keeps its own images in memory, and more gain little


def lanes_worth(
    device: torch.device, classes: int, image_tokens: int = 0, operations: float | None = None
) -> int:
    """How many trials are worth tuning together.

    Measured on CPUs, where towers of any width gain while a step has few tokens: 1.7 times with
    3 lanes of 10 classes on mini-clip, 1.3 with ViT-B/16, nothing at 100 classes. On GPUs as many
    as fill the time that the host takes to name the operations of one step, by a rule that has been
    measured on none (`benchmarks/gpu.py` does).

    Args:
        device: Of the frozen encoders.
        classes: Classes that are learned.
        image_tokens: Tokens of a step that go through the image tower.
        operations: Floating-point operations of a step of one trial; None where nobody knows.
    """
    if device.type != "cpu":
        return 1 if operations is None else max(1, min(LANES, int(1 / busy(operations))))
    tokens = classes * TOKENS_A_CLASS + image_tokens
    return max(1, min(LANES, TOKENS // tokens))


def run_stacked(jobs: Sequence[Callable[[], T]]) -> list[T | Exception]:
    """Runs jobs in lanes of one stack; what one raises costs itself alone.

    Returns:
        What each job returned, or the exception that it raised, in order.
    """
    if len(jobs) == 1:
        return [_tried(jobs[0])]
    lanes = [_Lane(job) for job in jobs]
    try:
        while running := [lane for lane in lanes if lane.running]:
            # A lane whose request is not answered yet stays where it is: `_serve` answers calls of
            # towers before the way back, which waits until every lane has its loss.
            for lane in running:
                if lane.ready:
                    lane.advance()
            _serve([lane for lane in running if lane.running])
    finally:  # an interrupt must not leave threads behind
        for lane in lanes:
            lane.abandon()
    return [lane.outcome for lane in lanes]


def clock() -> float:
    """Seconds of this trial: in a lane, those in which it ran and its share of merged calls."""
    lane = _current.get()
    return time.perf_counter() if lane is None else lane.spent + time.perf_counter() - lane.began


def in_lane() -> bool:
    """Whether this thread is one of several trials that are tuned together."""
    return _current.get() is not None


def take_step(loss: Callable[[], Tensor]) -> Tensor:
    """Computes a loss and puts its gradients into the parameters, with other lanes if there are.

    Args:
        loss: Computes it; its calls of a tower may be merged with those of other lanes.

    Returns:
        The loss, detached.
    """
    lane = _current.get()
    if lane is None:
        value = loss()
        value.backward()
        return value.detach()
    # In a step all lanes do the same with the same towers. Elsewhere (a validation, a closed form,
    # a cache that is filled once for all) they need not, and a lane that waits there may hold what
    # another one needs.
    lane.merging = True
    try:
        value = loss()
    finally:
        lane.merging = False
    lane.ask(_Backward(value))
    return value.detach()


def merged(call: "TowerCall") -> Tensor | None:
    """The result of a call that is made with those of other lanes; None: make it yourself."""
    lane = _current.get()
    # What is frozen is computed and kept by the lane that comes first, and found by the others.
    if lane is None or not lane.merging or not torch.is_grad_enabled() or not call.learned:
        return None
    return lane.ask(call)


class Abandoned(BaseException):
    """Ends a lane whose stack has ended."""


class TowerCall(ABC):
    """A call of a tower that may be merged with others of its kind."""

    @property
    @abstractmethod
    def learned(self) -> bool:
        """Whether a gradient goes back through it; what is frozen is kept, not merged."""

    @property
    def size(self) -> int:
        """How much of a merged call is its own, in the unit of those that it fits."""
        return 1

    @abstractmethod
    def fits(self, other: Any) -> bool:
        """Whether `other` can be made together with this one."""

    @abstractmethod
    def together(self, calls: Sequence[Any]) -> Sequence[Tensor]:
        """The results of some calls that fit, this one among them, from one pass."""


@dataclass(frozen=True)
class _Backward:
    """A loss on its way back."""

    loss: Tensor


class _Lane(Generic[T]):
    """A thread that runs one job, and only between `advance` and its next request.

    Attributes:
        request: What it waits for.
        answer: What its request became.
        outcome: What the job returned or raised, at its end.
        running: Whether the job goes on.
        ready: Whether it can go on: it has begun, or its request is answered.
        merging: Whether its calls of a tower are merged.
        work: The count of operations that was on when it asked.
        began: When it was last let run.
        spent: Seconds that it ran before, and its share of what was done for several.
    """

    def __init__(self, job: Callable[[], T]) -> None:
        self.job = job
        self.request: TowerCall | _Backward | None = None
        self.answer: Any = None
        self.outcome: Any = None
        self.running = self.ready = True
        self.merging = False
        self.work: Work | None = None
        self.began = self.spent = 0.0
        # A thread, since a `loss` calls towers from any depth of plain functions, out of which a
        # generator could not yield. Two semaphores hand the right to run to and fro, so that one
        # thread runs at a time; as a daemon, none of them keeps a process that is to end.
        self._go, self._stopped = threading.Semaphore(0), threading.Semaphore(0)
        self._thread = threading.Thread(target=self._run, name="lane", daemon=True)
        self._thread.start()

    def advance(self) -> None:
        """Lets the job run until it asks for something or ends."""
        self.began = time.perf_counter()
        self._go.release()
        self._stopped.acquire()
        self.spent += time.perf_counter() - self.began

    def abandon(self) -> None:
        """Ends the job where it waits."""
        if self.running:  # it waits in `ask`, or has not begun; an exception unwinds it from there
            self.answer = Abandoned()
            self.advance()
        self._thread.join()

    def ask(self, request: TowerCall | _Backward) -> Any:
        """Waits for an answer; called by the job."""
        self.request, self.work, self.ready = request, counted(), False
        self._stopped.release()
        self._go.acquire()
        self.request = None
        if isinstance(self.answer, BaseException):
            raise self.answer
        return self.answer

    def _run(self) -> None:
        self._go.acquire()
        _current.set(self)
        try:
            if not isinstance(self.answer, Abandoned):
                self.outcome = _tried(self.job)
        except Abandoned:
            pass
        finally:
            self.running = False
            self._stopped.release()


def _serve(waiting: Sequence[_Lane[Any]]) -> None:
    """Answers lanes that wait: calls of towers first, and the way back when all are there."""
    calls = [lane for lane in waiting if isinstance(lane.request, TowerCall)]
    if not calls and waiting:
        with _shared_time(waiting):
            _go_back(waiting)
    while calls:
        first: Any = calls[0].request
        group = [lane for lane in calls if lane is calls[0] or first.fits(lane.request)]
        calls = [lane for lane in calls if lane not in group]
        asked: list[Any] = [lane.request for lane in group]
        each = zip(group, asked, strict=True)
        works = [(lane.work, call.size) for lane, call in each if lane.work is not None]
        with _shared_time(group), counting(SharedWork(works)):
            try:
                answers = first.together(asked)
            except Exception as error:  # of whose call, nobody can say: each lane gets it
                answers = [error] * len(group)
        for lane, answer in zip(group, answers, strict=True):
            lane.answer, lane.ready = answer, True


@contextmanager
def _shared_time(lanes: Sequence[_Lane[Any]]) -> Iterator[None]:
    """Charges each lane with its share of the time of the block."""
    began = time.perf_counter()
    try:
        yield
    finally:
        for lane in lanes:
            lane.spent += (time.perf_counter() - began) / len(lanes)


def _tried(job: Callable[[], T]) -> T | Exception:
    """What a job returns or raises."""
    try:
        return job()
    except Exception as error:
        return error


def _go_back(lanes: Sequence[_Lane[Any]]) -> None:
    """Goes back from the sum of the losses, once."""
    losses = [lane.request.loss for lane in lanes if isinstance(lane.request, _Backward)]
    answer: Exception | None = None
    try:
        # Each loss depends on the parameters of its own lane, so the gradient of the sum is that of
        # each; what calls had in common is gone through once.
        if losses:
            torch.stack(losses).sum().backward()
    except Exception as error:
        answer = error
    for lane in lanes:
        lane.answer, lane.ready = answer, True
