"""Whether the process that a file speaks of still lives: on this machine, or on another."""

import os
import platform
import threading
import time
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

SIGN_SECONDS = 60.0  # between two signs of life
SILENT_SECONDS = 600.0  # after which a process on another machine is taken as gone
_SAME_SECONDS = 60.0  # by which two readings of one process's start may differ: clocks are set

_showing: dict[Path, threading.Event] = {}


class Process(NamedTuple):
    """A process of some machine; an id alone is given to another one later."""

    host: str
    pid: int
    started_at: float


def this_one() -> Process:
    """The process that asks."""
    import psutil

    return Process(platform.node(), os.getpid(), psutil.Process().create_time())


def lives(process: Process | None, file: Path) -> bool:
    """Whether a process still runs; None is one that is not known.

    Args:
        process: Which.
        file: Where it shows that it lives, see `show_life`.
    """
    if process is not None and process.host == platform.node():
        import psutil

        with suppress(psutil.Error):
            started = psutil.Process(process.pid).create_time()
            return abs(started - process.started_at) < _SAME_SECONDS
        return False
    try:
        return time.time() - file.stat().st_mtime < SILENT_SECONDS
    except OSError:
        return False


def show_life(file: Path) -> None:
    """Moves the time of a file every now and then, for those who look from another machine."""
    over = _showing[file] = threading.Event()

    def show() -> None:
        while not over.wait(SIGN_SECONDS):
            with suppress(OSError):
                os.utime(file)

    threading.Thread(target=show, name=f"life of {file.stem}", daemon=True).start()


def show_life_no_more(file: Path) -> None:
    """Ends what `show_life` began."""
    if over := _showing.pop(file, None):
        over.set()
