"""The thread in which a Ray starts, and which is given up where Ray's head ends meanwhile.

Ray waits for its head inside of its own code, which nothing interrupts, and ends this process after
a minute of that, in its own words. So it is asked from a thread that may be left behind.
"""

import queue
import threading
from collections.abc import Callable
from concurrent.futures import Future, wait
from contextlib import suppress
from typing import Any, TypeVar

from tasks.environment import MachineError

LOOK_SECONDS = 0.5
GRACE_SECONDS = 5.0  # what Ray gets to notice by itself, which is an error that can be handled
V = TypeVar("V")


class Starting:
    """A thread for all that asks a Ray which starts; it stays as long as Ray, which ends with it.

    Args:
        trouble: Says what is wrong with the head of the Ray; None where nothing is.
    """

    def __init__(self, trouble: Callable[[], str | None]) -> None:
        self._trouble = trouble
        self._asked: queue.SimpleQueue[tuple[Callable[[], Any], Future[Any]] | None] = (
            queue.SimpleQueue()
        )
        self._thread: threading.Thread | None = None
        self._lock = threading.Lock()
        self._last: Future[Any] | None = None
        self.given_up: str | None = None

    def call(self, function: Callable[[], V]) -> V:
        """What a function gives that is called in the thread; waits for it.

        Raises:
            MachineError: The head has ended, and the function hangs or hung; it is left behind.
            Exception: What the function raised.
        """
        if threading.current_thread() is self._thread:
            return function()
        answer: Future[V] = Future()
        with self._lock:
            if self.given_up:
                raise MachineError(self.given_up)
            if self._thread is None:
                self._thread = threading.Thread(target=self._work, name="ray", daemon=True)
                self._thread.start()
            self._asked.put((function, answer))
            self._last = answer
        self._wait(answer)
        if not answer.done():
            raise MachineError(str(self.given_up))
        return answer.result()

    def settle(self) -> None:
        """Returns when nothing is under way any more, or it was given up."""
        if self._last is not None:
            self._wait(self._last)

    def end(self) -> None:
        """Ends the thread, once it has done what it is at."""
        self._asked.put(None)

    def _wait(self, answer: Future[Any]) -> None:
        """Returns when there is an answer, or none is to be hoped for."""
        left = GRACE_SECONDS
        while not self.given_up and not wait([answer], timeout=LOOK_SECONDS).done:
            trouble = self._trouble()
            left = left - LOOK_SECONDS if trouble else GRACE_SECONDS
            if trouble and left <= 0:
                self.given_up = trouble

    def _work(self) -> None:
        while asked := self._asked.get():
            function, answer = asked
            try:
                answer.set_result(function())
            except BaseException as error:
                with suppress(Exception):
                    answer.set_exception(error)
