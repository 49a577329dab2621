"""Work that is cut into parts, and into smaller ones where a GPU has no memory for them.

What is cut is read without a gradient: images that are encoded, examples that are classified. Its
rows do not know of each other, so a smaller part gives the same up to rounding. A step of tuning is
not cut: its loss may compare the examples of a batch, and a sum of parts is rounded otherwise.
"""

import logging
from collections.abc import Callable
from typing import TypeVar

import torch

T = TypeVar("T")
log = logging.getLogger(__name__)


class NoRoom(RuntimeError):
    """A GPU has no memory for the least that can be asked of it; the text is a sentence."""


def in_room(call: Callable[[int, int], T], count: int, rows: int, what: str) -> list[T]:
    """What a call gives of all parts of some rows, in order.

    A part that the GPU has no memory for is halved, and all that follow are no larger.

    Args:
        call: Is given the first row of a part and the one behind its last, and leaves nothing
            behind when it fails.
        count: Rows in all.
        rows: Of a part, at most; 1 where it is less.
        what: They are, in the plural.

    Raises:
        NoRoom: There is no memory for one row.
    """
    if not count:
        return [call(0, 0)]
    found: list[T] = []
    start, rows = 0, max(1, rows)
    while start < count:
        stop = min(count, start + rows)
        try:
            found.append(call(start, stop))
            start = stop
            continue
        except torch.OutOfMemoryError as error:
            said = told(error)
        # Behind the block: what was computed in the part lives as long as its error.
        rows = (stop - start) // 2
        if not rows:
            raise NoRoom(f"{said}: there is no room for one of the {what}. {WAY_OUT}")
        log.warning("%s: goes on with %d %s at a time.", said, rows, what)
        give_back()
    return found


WAY_OUT = (
    "Give it more of a GPU with --gpus-per-worker (1 is a whole one), or ask for precision bf16 or "
    "a smaller batch_size."
)


def told(error: torch.OutOfMemoryError) -> str:
    """The first sentence of an error, as a clause."""
    return str(error).split(". ")[0].rstrip(".") or "the GPU is out of memory"


def give_back() -> None:
    """Gives memory of a GPU that is free but kept back to whoever asks next."""
    if torch.cuda.is_initialized():
        torch.cuda.empty_cache()
