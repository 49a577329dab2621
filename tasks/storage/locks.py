"""A lock on a file that a whole step holds, so that two runs over one store do not both do it.

The system gives it back when its process ends. For what lasts long and may be shared out between
runs there are leases (`leases.py`).
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from tasks.progress import reporter

LOOK_SECONDS = 1.0  # between two looks at whether to wait on


@contextmanager
def alone(file: Path, waiting: str, look: Callable[[], None] = lambda: None) -> Iterator[None]:
    """Holds a lock in the block; waits for whoever has it.

    Args:
        file: The lock; its folder is made.
        waiting: What is said, once, where it has to be waited for.
        look: Is called now and then meanwhile; what it raises ends the wait.
    """
    file.parent.mkdir(parents=True, exist_ok=True)
    lock = FileLock(file)
    try:
        lock.acquire(timeout=0)
    except Timeout:
        reporter().say(waiting)
        while not lock.is_locked:
            look()
            try:
                lock.acquire(timeout=LOOK_SECONDS)
            except Timeout:
                continue
    try:
        yield
    finally:
        lock.release()
