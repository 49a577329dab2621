import numpy as np
import pytest

from data_catalog.pairs import Pair
from tasks.computing.batches import AHEAD, Feed, PairWorker
from tasks.computing.deaths import WorkerDied


class Numbers:
    """Pair `n` is a picture whose brightness is n, of another shape for each n."""

    def __init__(self):
        self.asked = []

    def batch(self, step, size):
        self.asked.append(step)
        numbers = range(step * size, (step + 1) * size)
        return [Pair(np.full((8 + n % 3, 9, 3), n, np.uint8), str(n)) for n in numbers]


def test_a_batch_is_whole_pictures_of_the_size_asked_for_channels_first():
    batch = PairWorker(Numbers(), 4, 8).make(2)  # pyright: ignore[reportArgumentType]
    assert batch.images.shape == (4, 3, 8, 8)
    assert batch.images.dtype == np.uint8
    assert batch.images.flags.c_contiguous
    assert batch.images[:, 0, 0, 0].tolist() == [8, 9, 10, 11]
    assert batch.texts == ["8", "9", "10", "11"]


def test_batches_come_in_order_and_the_time_for_them_is_counted():
    source = Numbers()
    feed = Feed(PairWorker(source, 2, 8), None, 3, 6)  # pyright: ignore[reportArgumentType]
    assert [batch.texts for batch in feed] == [["6", "7"], ["8", "9"], ["10", "11"]]
    assert source.asked == [3, 4, 5]
    assert feed.wait_seconds > 0


class Pool:
    """Two workers that answer at once; remembers what was asked."""

    def __init__(self, deaths=0):
        self.worker = PairWorker(Numbers(), 2, 8)  # pyright: ignore[reportArgumentType]
        self.asked = []
        self.deaths = deaths

    def __len__(self):
        return 2

    def run(self, method, step):
        assert method == "make"
        self.asked.append(step)
        if self.deaths:
            self.deaths -= 1
            raise WorkerDied("make", 1, "gone")
        batch = self.worker.make(step)
        batch.images.flags.writeable = False  # as Ray gives it
        return batch


def test_workers_run_ahead_by_a_few_batches_and_no_more():
    pool = Pool()
    batches = iter(Feed(pool.worker, pool, 0, 100))  # pyright: ignore[reportArgumentType]
    first = next(batches)
    assert first.texts == ["0", "1"]
    assert first.images.flags.writeable
    assert [next(batches).texts[0] for _ in range(3)] == ["2", "4", "6"]
    batches.close()
    assert max(pool.asked) < 4 + len(pool) + AHEAD


def test_a_batch_whose_worker_died_is_made_by_another():
    pool = Pool(deaths=2)
    feed = Feed(pool.worker, pool, 0, 3)  # pyright: ignore[reportArgumentType]
    assert [batch.texts[0] for batch in feed] == ["0", "2", "4"]


def test_a_batch_that_kills_every_worker_ends_the_feed():
    pool = Pool(deaths=1000)
    feed = Feed(pool.worker, pool, 0, 3)  # pyright: ignore[reportArgumentType]
    with pytest.raises(WorkerDied):
        list(feed)
