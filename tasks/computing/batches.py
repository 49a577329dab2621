"""Pairs as arrays, a batch for each step: made by Ray workers ahead of time, or in this process.

What a worker makes follows from the source and the step alone, so any of them may make any
batch, a dead one's batch is made again, and training resumes at any step.
"""

import time
from collections import deque
from collections.abc import Generator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from data_catalog.pairs import PairSource
from operators.images import centre_crop
from tasks.computing.deaths import WorkerDied
from tasks.computing.ray_cluster import SHARED_BYTES
from tasks.computing.worker_pool import WorkerPool

AHEAD = 3  # batches that are ready or under way beyond one for each worker
PATIENCE = 3  # times that another worker takes over a batch whose worker died at every try


def shared_bytes(workers: int, size: int, side: int) -> int:
    """Shared memory that the batches under way need: twice what they hold, and what Ray has."""
    return SHARED_BYTES + 2 * (workers + AHEAD) * size * 3 * side * side


class PairBatch(NamedTuple):
    """The pairs of one step.

    Attributes:
        images: (b, 3, s, s) uint8.
        texts: b sentences.
        skipped: Rows that its maker has passed over so far because they could not be read.
        maker: Number of the process that made it.
    """

    images: np.ndarray
    texts: list[str]
    skipped: int
    maker: int


class PairWorker:
    """Makes batches; long-lived, so that it keeps what it has read.

    Args:
        source: Where the pairs come from.
        size: b, pairs a batch.
        side: s, of an image in pixels.
    """

    def __init__(self, source: PairSource, size: int, side: int) -> None:
        self.source = source
        self.size = size
        self.side = side

    def make(self, step: int) -> PairBatch:
        """The batch of a step."""
        import os

        pairs = self.source.batch(step, self.size)
        crops = [centre_crop(pair.image, self.side, self.side) for pair in pairs]
        images = np.stack(crops)
        # Only sources that can meet a broken row count them.
        skipped = getattr(self.source, "skipped", 0)
        return PairBatch(images, [pair.text for pair in pairs], skipped, os.getpid())


@dataclass
class Feed:
    """The batches of some steps in order; iterate over it once.

    Attributes:
        worker: Makes the batches where there is no pool.
        pool: Workers of class `PairWorker`, or None.
        start: First step.
        stop: The step after the last.
        wait_seconds: Time that `next` has waited for data, so far.
    """

    worker: PairWorker
    pool: WorkerPool | None
    start: int
    stop: int
    wait_seconds: float = 0.0

    def __post_init__(self) -> None:
        self._skipped: dict[int, int] = {}

    @property
    def skipped(self) -> int:
        """Rows that were passed over: the most that one maker has met, for each reads them all."""
        return max(self._skipped.values(), default=0)

    def __iter__(self) -> Generator[PairBatch, None, None]:
        steps = self._here() if self.pool is None else self._ahead(self.pool)
        try:
            while True:
                started = time.perf_counter()
                batch = next(steps, None)
                self.wait_seconds += time.perf_counter() - started
                if batch is None:
                    return
                self._skipped[batch.maker] = batch.skipped
                yield batch
        finally:
            steps.close()

    def _here(self) -> Generator[PairBatch, None, None]:
        for step in range(self.start, self.stop):
            yield self.worker.make(step)

    def _ahead(self, pool: WorkerPool) -> Generator[PairBatch, None, None]:
        threads = ThreadPoolExecutor(max_workers=len(pool), thread_name_prefix="feed")
        under_way: deque[Future[PairBatch]] = deque()
        following = self.start
        try:
            for _ in range(self.start, self.stop):
                while following < self.stop and len(under_way) < len(pool) + AHEAD:
                    under_way.append(threads.submit(_made, pool, following))
                    following += 1
                yield under_way.popleft().result()
        finally:
            threads.shutdown(wait=False, cancel_futures=True)


def _made(pool: WorkerPool, step: int) -> PairBatch:
    """The batch of a step from any worker, as arrays that may be written to."""
    for attempt in range(PATIENCE):
        try:
            batch: PairBatch = pool.run("make", step)
        except WorkerDied:
            if attempt == PATIENCE - 1:
                raise
        else:
            # Ray's arrays are read only, and keep their place in its memory as long as they live.
            return batch._replace(images=np.array(batch.images))
    raise AssertionError("unreachable")
