"""Whether the process that a file speaks of still lives: on this machine, or on another."""

import os
import platform
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

SIGN_SECONDS = 60.0  # between two signs of life
SILENT_SECONDS = 600.0  # after which a process on another machine is taken as gone
_SAME_SECONDS = 60.0  # by which two readings of one process's start may differ: clocks are set

_showing: dict[Path, threading.Event] = {}


class Process(NamedTuple):
    """A process of some machine; an id alone is given to another one later.

    Attributes:
        host: Name of the machine.
        pid: Its id there.
        started_at: Seconds since the epoch.
        key: Tells it from all others, on systems that can, whatever becomes of names and clocks:
            the table that its id is of, as containers have their own, and its start after that.
    """

    host: str
    pid: int
    started_at: float
    key: str = ""


def this_one() -> Process:
    """The process that asks."""
    import psutil

    pid = os.getpid()
    return Process(platform.node(), pid, psutil.Process().create_time(), _key(pid))


def read(values: Mapping[str, Any]) -> Process | None:
    """A process as its fields were written down; None where they were not."""
    try:
        host, pid, started_at = values["host"], values["pid"], values["started_at"]
        return Process(str(host), int(pid), float(started_at), str(values.get("key") or ""))
    except (KeyError, TypeError, ValueError):
        return None


def has_ended(process: Process) -> bool:
    """Whether a process was one of this machine, and is no more."""
    return _is_here(process) and not _runs(process)


def _is_here(process: Process) -> bool:
    """Whether the processes that this one sees are those among which another one was."""
    if process.key:
        return process.key.rpartition(" ")[0] == _table()
    return process.host == platform.node()


def _runs(process: Process) -> bool:
    """Whether a process of this machine is there; one that nobody has waited for is not."""
    import psutil

    with suppress(psutil.Error):
        found = psutil.Process(process.pid)
        if process.key:
            same = process.key == _key(process.pid)
        else:
            same = abs(found.create_time() - process.started_at) < _SAME_SECONDS
        return same and found.status() != psutil.STATUS_ZOMBIE
    return False


def _key(pid: int) -> str:
    """See `Process`; empty where the system tells too little."""
    with suppress(OSError, IndexError):
        after = Path(f"/proc/{pid}/stat").read_text(errors="replace").rpartition(")")[2]
        ticks = after.split()[19]  # since the machine was started, which no clock moves
        return f"{_table()} {ticks}" if _table() else ""
    return ""


@cache
def _table() -> str:
    """Names the table of processes that this one is in; empty where the system tells of none."""
    with suppress(OSError):
        booted = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        return f"{booted} {Path('/proc/self/ns/pid').readlink()}"
    return ""


def lives(process: Process | None, file: Path) -> bool:
    """Whether a process still runs; None is one that is not known.

    Args:
        process: Which.
        file: Where it shows that it lives, see `show_life`.
    """
    if process is not None and _is_here(process):
        return _runs(process)
    try:
        return time.time() - file.stat().st_mtime < SILENT_SECONDS
    except OSError:
        return False


def show_life(file: Path, tell: Callable[[Path], None] = lambda file: None) -> None:
    """Moves the time of a file every now and then, for those who look from another machine.

    Args:
        file: Which.
        tell: Lets those know who see another copy of it.
    """
    over = _showing[file] = threading.Event()

    def show() -> None:
        while not over.wait(SIGN_SECONDS):
            with suppress(OSError):
                os.utime(file)
                tell(file)

    threading.Thread(target=show, name=f"life of {file.stem}", daemon=True).start()


def show_life_no_more(file: Path) -> None:
    """Ends what `show_life` began."""
    if over := _showing.pop(file, None):
        over.set()
