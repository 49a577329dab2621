"""What a frozen image tower makes of images, read once for as long as it is kept."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import numpy as np
import torch
from torch import Tensor

from operators.blocks.parts import in_parts
from operators.engine.accounting import count_cached
from operators.episodes.episode import Batch
from operators.episodes.kept_pixels import KeptRows
from operators.shapes import Float


class KeptReadings:
    """Reads images; while `keeping`, each image and view once.

    Args:
        encode: Gives one row of numbers for each image that it is shown.
        budget: Bytes that are kept; what comes after is read every time.
        at_once: Images that `encode` is shown at a time.
    """

    def __init__(self, encode: Callable[[Batch], Tensor], *, budget: int, at_once: int) -> None:
        self.encode, self.budget, self.at_once = encode, budget, at_once
        self._kept = KeptRows(0)

    @contextmanager
    def keeping(self) -> Iterator[None]:
        """Keeps what is read of one dataset until the block ends."""
        self._kept = KeptRows(self.budget)
        try:
            yield
        finally:
            self._kept = KeptRows(0)

    @torch.no_grad()
    def read(self, batch: Batch) -> Float[Tensor, "b ..."]:
        """What `encode` gives of a batch."""
        read = 0

        def encoded(places: np.ndarray) -> Tensor:
            nonlocal read
            read += len(places)
            return in_parts(self.encode, batch.select(torch.from_numpy(places)), self.at_once)

        found = self._kept.read(batch.rows, batch.view, encoded)
        count_cached(len(batch) - read)
        return found
