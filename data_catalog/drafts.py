"""A lock on a draft that is being written, so that nobody takes it for that of a killed process.

The system gives the lock back when the process ends, however it ends.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

try:
    import fcntl
except ImportError:  # not on Windows, where the age of a draft has to do
    fcntl = None


@contextmanager
def held(draft: Path) -> Iterator[None]:
    """Holds a file or folder that is there until the block ends."""
    if fcntl is None:
        yield
        return
    handle = os.open(draft, os.O_RDONLY)
    try:
        with suppress(OSError):  # a file system without locks
            fcntl.flock(handle, fcntl.LOCK_SH | fcntl.LOCK_NB)
        yield
    finally:
        os.close(handle)
