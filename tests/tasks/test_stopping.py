"""Signals that wait until what has begun is done."""

import signal

import pytest

from tasks.stopping import stopping


@pytest.fixture
def terminated():
    """What the handler before ours was called with."""
    seen = []
    before = signal.signal(signal.SIGTERM, lambda number, _: seen.append(number))
    yield seen
    signal.signal(signal.SIGTERM, before)


def test_a_signal_is_noted_and_acts_when_it_is_obeyed(terminated):
    with stopping() as stop:
        signal.raise_signal(signal.SIGTERM)
        assert stop.asked == signal.SIGTERM
        assert terminated == []
        stop.obey()
    assert terminated == [signal.SIGTERM]


def test_a_second_signal_acts_at_once(terminated):
    with stopping():
        signal.raise_signal(signal.SIGTERM)
        signal.raise_signal(signal.SIGTERM)
        assert terminated == [signal.SIGTERM]


def test_handlers_are_put_back(terminated):
    before = signal.getsignal(signal.SIGTERM), signal.getsignal(signal.SIGINT)
    with stopping():
        assert signal.getsignal(signal.SIGTERM) != before[0]
    assert (signal.getsignal(signal.SIGTERM), signal.getsignal(signal.SIGINT)) == before


def test_a_signal_that_is_ignored_stays_ignored():
    before = signal.signal(signal.SIGTERM, signal.SIG_IGN)
    try:
        with stopping() as stop:
            signal.raise_signal(signal.SIGTERM)
            assert stop.asked is None
    finally:
        signal.signal(signal.SIGTERM, before)
