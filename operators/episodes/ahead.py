"""The batches of an epoch, whose images are decoded while a GPU is busy with those before them."""

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from types import TracebackType

import torch
from torch import Tensor

from operators.episodes.episode import Batch


class ReadingAhead:
    """Gives the batches of steps, one batch ahead of who computes.

    Whether pixels are wanted is seen of the batches before: a method that only reads features has
    none decoded. On a CPU nothing is read ahead, since what decodes takes the core that computes.

    Args:
        device: That steps are computed on.
    """

    def __init__(self, device: torch.device) -> None:
        self.wanted = False
        self._reader = None if device.type == "cpu" else ThreadPoolExecutor(1, "reading-ahead")

    def __enter__(self) -> "ReadingAhead":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._reader is not None:
            self._reader.shutdown(wait=True, cancel_futures=True)

    def batches(self, examples: Batch, drawn: Sequence[Tensor]) -> Iterator[Batch]:
        """The batch of each step.

        Args:
            examples: Of the epoch.
            drawn: Positions of each step among them, on the host.
        """
        coming = self._select(examples, drawn, 0)
        for step in range(len(drawn)):
            batch, coming = coming, self._select(examples, drawn, step + 1)
            assert batch is not None
            yield batch
            self.wanted = self.wanted or batch.has_read_pixels

    def _select(self, examples: Batch, drawn: Sequence[Tensor], step: int) -> Batch | None:
        if step >= len(drawn):
            return None
        batch = examples.select(drawn[step])
        if self.wanted and self._reader is not None:
            batch.read_ahead(self._reader)
        return batch
