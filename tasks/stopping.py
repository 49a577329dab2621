"""Ctrl-C and SIGTERM that wait until what has begun is done."""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any


class Stop:
    """Whether somebody asked to stop; a step that has begun is finished first."""

    def __init__(self) -> None:
        self.asked: int | None = None
        self.before: dict[int, Any] = {}

    def note(self, number: int, _: Any) -> None:
        """Handler of the signals; a second one acts at once."""
        self.asked = number
        self.release()

    def release(self) -> None:
        """Puts the handlers back that were there."""
        while self.before:
            number, handler = self.before.popitem()
            signal.signal(number, handler)

    def obey(self) -> None:
        """Does what the signal would have done."""
        if self.asked is not None:
            signal.raise_signal(signal.Signals(self.asked))


@contextmanager
def stopping() -> Iterator[Stop]:
    """Holds Ctrl-C and SIGTERM back until the block calls `obey`."""
    stop = Stop()
    if threading.current_thread() is threading.main_thread():
        for number in (signal.SIGINT, signal.SIGTERM):
            if signal.getsignal(number) != signal.SIG_IGN:  # as for a job in the background
                stop.before[number] = signal.signal(number, stop.note)
    try:
        yield stop
    finally:
        stop.release()
