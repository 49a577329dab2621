"""How many floating-point operations work takes, beside those of the plain form of the same work.

The plain form of a step of tuning is what the published codes compute in it: the image tower over
its batch, and every text padded to full length through all layers of the text tower, for each
image again where prompts depend on the image. Backbones report what they did and what the plain
form would have done; nothing is measured, and nobody counts unless `counting` is on.

The count that is on is a context variable, as torch's own `no_grad` and `autocast` are. A backbone
and its towers serve all trials of a process, so none of them can hold a trial's count; and methods,
those of users too, call towers deep inside of `logits` and `loss` without handing anything along.
A trial that is tuned beside others has a thread of its own, hence a context of its own. Towers
report to it by `count`, and what reads kept features by `count_cached`.

Counted are matrix products, 2 m n k operations each. A linear layer with frozen weights takes as
many on the way back, for the gradient of its input alone; attention, and what a method learns
inside of a layer, take twice as many, for the gradients of both factors. Masked pairs count, in
both forms. Not counted are norms, activations and softmax, what a fused attention kernel computes
again on the way back, the optimiser, and what a method does outside the towers, such as the product
of image and class features.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass

from torch import Tensor


@dataclass(frozen=True)
class Flops:
    """Operations of one layer, forward.

    Attributes:
        linear: In products with frozen weights.
        attention: In products of queries, keys and values.
        learned: In products with what a method learns inside of a layer.
    """

    linear: int = 0
    attention: int = 0
    learned: int = 0

    @property
    def forward(self) -> int:
        """Operations on the way there."""
        return self.linear + self.attention + self.learned

    @property
    def backward(self) -> int:
        """Operations on the way back."""
        return self.linear + 2 * (self.attention + self.learned)


@dataclass(frozen=True)
class Pass:
    """A pass through some layers.

    Attributes:
        done: Layers that were computed.
        plain: Layers of the plain form.
        since: First of the layers that a gradient reaches.
        recomputed: Operations of `done` that are done again on the way back.
    """

    done: Sequence[Flops] = ()
    plain: Sequence[Flops] = ()
    since: int = 0
    recomputed: int = 0


class Work:
    """What was done while counting, and what the plain form would have done.

    Attributes:
        done: Operations that were executed.
        plain: Operations of the plain form, but for those of `cached_images`.
        cached_images: Images whose kept features a step read: the plain form encodes them. A whole
            batch that is read at once does not count, for those who read one (Tip-Adapter's cache,
            a linear probe) keep its features in the published codes too.
    """

    def __init__(self) -> None:
        self.done = 0
        self.plain = 0
        self.cached_images = 0

    def add(self, output: Tensor, made: Pass) -> None:
        """Counts a pass through some layers: now forward, and backward whenever that happens.

        Args:
            output: Of the last layer.
            made: The pass.
        """
        self.book(forward(made.done), forward(made.plain))
        if output.requires_grad:
            done_back = made.recomputed + backward(made.done[made.since :])
            plain_back = backward(made.plain[made.since :])

            def returned(_: Tensor) -> None:
                self.book(done_back, plain_back)

            output.register_hook(returned)

    def book(self, done: int, plain: int) -> None:
        """Adds operations.

        Args:
            done: Operations that were computed.
            plain: Operations of the plain form.
        """
        self.done += done
        self.plain += plain


class SharedWork(Work):
    """Work that is done for several at once: each count gets its share.

    Args:
        shares: The counts, and how much of the work is of each; any unit.
    """

    def __init__(self, shares: Sequence[tuple[Work, int]]) -> None:
        super().__init__()
        self.shares = shares
        self.every = sum(size for _, size in shares)

    def book(self, done: int, plain: int) -> None:
        """See `Work.book`."""
        for work, size in self.shares:
            work.book(done * size // self.every, plain * size // self.every)


def forward(layers: Sequence[Flops]) -> int:
    """Operations of all layers on the way there."""
    return sum(layer.forward for layer in layers)


def backward(layers: Sequence[Flops]) -> int:
    """Operations of all layers on the way back."""
    return sum(layer.backward for layer in layers)


_current: ContextVar[Work | None] = ContextVar("work", default=None)


@contextmanager
def counting(work: Work | None = None) -> Iterator[Work]:
    """Counts what backbones do in this thread, until the block ends; in `work` or a new count."""
    work = work or Work()
    token = _current.set(work)
    try:
        yield work
    finally:
        _current.reset(token)


def counted() -> Work | None:
    """The count that is on, if there is one."""
    return _current.get()


def count(output: Tensor, made: Callable[[], Pass]) -> None:
    """Adds a pass to the count that is on; where none is, nothing is worked out.

    Args:
        output: Of the last layer.
        made: Says what the pass was.
    """
    if (work := counted()) is not None:
        work.add(output, made())


def count_cached(images: int) -> None:
    """Adds images whose kept features a step read to the count that is on."""
    if (work := counted()) is not None:
        work.cached_images += images
