"""Who gets which worker: callers and idle workers are matched by what a worker has loaded."""

import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Generic, TypeVar

PASSED_OVER = 50  # times that a caller may be passed over by others who were closer to a worker

W = TypeVar("W")


@dataclass(eq=False)
class _Caller(Generic[W]):
    """Who waits for a worker, and how often others who came later had one before."""

    key: str
    passed: int = 0
    worker: W | None = None


class Matching(Generic[W]):
    """Idle workers and waiting callers; the closest pair goes first, and nobody idles for it.

    So work goes where its backbone is loaded and its features lie, as long as there is some, and
    elsewhere rather than wait. Among the equally close who has waited longest goes first. Who has
    been passed over often takes whatever comes.

    Args:
        closeness: Of a worker to a key: the more of what the key stands for it has, the higher.
    """

    def __init__(self, closeness: Callable[[W, str], int]) -> None:
        self.closeness = closeness
        self._idle: list[W] = []  # either this
        self._waiting: list[_Caller[W]] = []  # or this is empty
        self._changed = threading.Condition()
        self._error: Exception | None = None

    def take(self, key: str) -> W:
        """Waits for a worker and takes it.

        Args:
            key: Of what the caller needs.

        Raises:
            Exception: What `fail` was told.
        """
        with self._changed:
            caller: _Caller[W] = _Caller(key)
            self._waiting.append(caller)
            try:
                self._match()
                while caller.worker is None and self._error is None:
                    self._changed.wait()
                if self._error is not None:
                    raise self._error
                assert caller.worker is not None
                return caller.worker
            except BaseException:  # an interrupt, too: else a worker would be given to nobody
                if caller.worker is None:
                    self._waiting.remove(caller)
                else:
                    self._idle.append(caller.worker)
                    self._match()
                raise

    def give(self, worker: W) -> None:
        """Makes a worker idle, whether it is new or was taken."""
        with self._changed:
            self._idle.append(worker)
            self._match()

    def withdraw(self, worker: W) -> bool:
        """Takes a worker out that is no more; says whether it was idle."""
        with self._changed:
            if worker in self._idle:
                self._idle.remove(worker)
                return True
            return False

    def fail(self, error: Exception) -> None:
        """Raises an error in all who wait or come, the first one that it is told."""
        with self._changed:
            self._error = self._error or error
            self._changed.notify_all()

    def _match(self) -> None:
        while self._idle and self._waiting:
            first = self._waiting[0]
            callers = [first] if first.passed >= PASSED_OVER else self._waiting
            # Of equals `max` gives the first: who has waited longest, the one longest idle.
            caller, worker = max(
                ((caller, worker) for caller in callers for worker in self._idle),
                key=lambda pair: self.closeness(pair[1], pair[0].key),
            )
            for other in self._waiting[: self._waiting.index(caller)]:
                other.passed += 1
            self._waiting.remove(caller)
            self._idle.remove(worker)
            caller.worker = worker
            self._changed.notify_all()
