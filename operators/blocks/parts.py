"""Batches that are worked through in parts, so that memory has a bound."""

from collections.abc import Callable

import torch
from torch import Tensor

from operators.engine.room import in_room
from operators.episodes.episode import Batch

IMAGE_ROWS = 64  # images whose pixels or patches are in memory at a time
PAIRS = 8192  # images times classes, of which each has a text feature of its own


def in_parts(call: Callable[[Batch], Tensor], batch: Batch, rows: int) -> Tensor:
    """What a call gives of a batch, one row an image.

    A step needs all images at once for its gradient, and has as many as its batch size says; so
    parts are cut where no gradient is needed alone.

    Args:
        call: Gives one row for each image that it is shown.
        batch: The images.
        rows: Images of a part; 1 where it is less. Fewer where a GPU has no memory for them.
    """
    if torch.is_grad_enabled():
        return call(batch)

    def some(start: int, stop: int) -> Tensor:
        return call(batch.select(torch.arange(start, stop)))

    return torch.cat(in_room(some, len(batch), rows, "images"))
