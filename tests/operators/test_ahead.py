"""Images of the next step are read by another thread while a device computes the step before."""

import threading

import numpy as np
import pytest
import torch

from operators.episodes.ahead import ReadingAhead
from operators.episodes.episode import Batch

GPU = torch.device("cuda")
SECONDS = 60  # of what takes a moment where nothing else runs
DRAWN = [torch.tensor(rows) for rows in ([4, 1], [0, 3], [2, 5], [1, 0])]


class Pictures:
    """Says which thread read which rows, and may be told to wait or to fail."""

    def __init__(self, fails=()):
        self.reads = []
        self.fails = fails
        self.began = {str(rows.tolist()): threading.Event() for rows in DRAWN}
        self.go_on = threading.Event()
        self.go_on.set()

    def pixels(self, rows, view=None):
        self.reads.append((rows.tolist(), threading.current_thread().name))
        self.began[str(rows.tolist())].set()
        assert self.go_on.wait(SECONDS)
        if rows.tolist() in self.fails:
            raise OSError(f"rows {rows.tolist()} are damaged")
        return torch.from_numpy(rows).float().view(-1, 1, 1, 1).expand(-1, 3, 2, 2)

    def waits_for(self, step):
        """Until a thread reads the images of a step."""
        assert self.began[str(DRAWN[step].tolist())].wait(SECONDS)

    def features(self, rows, view=None):
        return torch.from_numpy(rows).float()[:, None]


@pytest.fixture
def examples(monkeypatch):
    """Makes the images of an epoch; what is copied to the device stays on the host."""
    monkeypatch.setattr("operators.episodes.episode.onto", lambda value, device: value)
    return lambda source: Batch(source, np.arange(6), None)


def readers():
    return [t for t in threading.enumerate() if t.name.startswith("reading-ahead")]


def steps(examples, device=GPU):
    """What each step sees of its pixels."""
    with ReadingAhead(device) as ahead:
        return [batch.pixels for batch in ahead.batches(examples, DRAWN)]


def test_steps_come_in_order_with_the_pixels_that_they_have_without(examples):
    here, ahead = Pictures(), Pictures()
    plain = steps(examples(here), torch.device("cpu"))
    found = steps(examples(ahead))
    assert all(torch.equal(one, other) for one, other in zip(plain, found, strict=True))
    order = [rows.tolist() for rows in DRAWN]
    assert [rows for rows, _ in here.reads] == order
    assert sorted(rows for rows, _ in ahead.reads) == sorted(order)  # each once
    main = threading.current_thread().name
    assert {thread for _, thread in here.reads} == {main}
    by_others = [rows for rows, thread in ahead.reads if thread != main]
    assert by_others == order[2:]  # the first shows that pixels are wanted, the second is under way
    assert not readers()


def test_the_next_step_is_read_while_this_one_computes(examples):
    source = Pictures()
    with ReadingAhead(GPU) as ahead:
        batches = ahead.batches(examples(source), DRAWN)
        for _ in range(2):
            _ = next(batches).pixels
        source.waits_for(2)  # which nobody has asked for yet
        assert next(batches).rows.tolist() == DRAWN[2].tolist()
        source.waits_for(3)


def test_who_reads_no_pixels_has_none_read(examples):
    source = Pictures()
    with ReadingAhead(GPU) as ahead:
        for batch in ahead.batches(examples(source), DRAWN):
            _ = batch.features
        assert not ahead.wanted
    assert source.reads == []


def test_what_reading_raises_is_raised_in_the_step_that_asks_for_it(examples):
    source, seen = Pictures(fails=([2, 5],)), []
    with pytest.raises(OSError, match=r"rows \[2, 5\] are damaged"), ReadingAhead(GPU) as ahead:
        for batch in ahead.batches(examples(source), DRAWN):
            seen.append(batch.rows.tolist())
            _ = batch.pixels
    assert seen == [[4, 1], [0, 3], [2, 5]]
    assert not readers()


def test_who_stops_while_an_image_is_read_leaves_no_thread(examples):
    source = Pictures()

    def stop(ahead):
        batches = ahead.batches(examples(source), DRAWN)
        _ = next(batches).pixels
        source.go_on.clear()
        next(batches)  # its images are not asked for, those of the next are read ahead
        source.waits_for(2)  # and the thread is in the midst of it
        threading.Timer(0.05, source.go_on.set).start()  # while the block waits for it
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt), ReadingAhead(GPU) as ahead:
        stop(ahead)
    assert not readers()
    assert [rows for rows, _ in source.reads] == [DRAWN[0].tolist(), DRAWN[2].tolist()]
