"""Sessions of Ray on this machine, which leaves a folder of logs and sockets for each."""

import os
import tempfile
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

_TABLE = Path("/proc/net/unix")  # every socket that somebody has open, with its path


def ended_sessions() -> Iterator[Path]:
    """The folders of this user's sessions in which no Ray runs any more.

    Its name ends with the process that started it. That of `ray start` ends at once, so a session
    also lives as long as somebody has one of its sockets open.
    """
    with suppress(OSError):
        open_sockets = _TABLE.read_text(errors="replace")
        for folder in sorted(_folders()):
            for session in sorted(folder.glob("session_2*")):
                if not session.is_symlink() and session.is_dir() and _is_mine(session):
                    process = session.name.rpartition("_")[2]
                    lives = process.isdecimal() and _lives(int(process))
                    if not lives and f"{session}/" not in open_sockets:
                        yield session


def _folders() -> set[Path]:
    """Where Ray keeps sessions: see `tasks.computing.ray_start`."""
    parents = {os.environ.get("RAY_TMPDIR"), tempfile.gettempdir(), "/tmp", "/var/tmp", "/dev/shm"}
    names = ("ray", f"ray-{os.getuid()}")
    return {(Path(parent) / name).resolve() for parent in parents if parent for name in names}


def _is_mine(folder: Path) -> bool:
    return folder.lstat().st_uid == os.getuid()


def _lives(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except (PermissionError, OverflowError):
        return True
    return True
