"""Where what an ingestion has checked waits for the next one, if it is killed.

A spool belongs to a source signature and a card. Whoever ingests holds it alone; it is removed when
the dataset is there, and where what was read makes none. One that a killed process left stays for
`KEPT_SECONDS`, unless its dataset is ingested from another source or card before.
"""

import os
import shutil
import time
import uuid
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

from data_catalog.drafts import fcntl, held

KEPT_SECONDS = 7 * 86_400.0
_SPOOL = ".spool-"


@contextmanager
def spool_folder(
    folder: Path, key: str, *, useless: tuple[type[BaseException], ...]
) -> Iterator[Path]:
    """A folder to check into, with what an earlier process has left in it, if any.

    It is gone after the block, unless the block fails for another reason than that what was read
    is of no use. While another process holds it, and where there are no locks, it is a new one
    that nobody goes on with.

    Args:
        folder: Of the dataset.
        key: Of source, card and what reads them.
        useless: Errors after which it is removed all the same.
    """
    for other in _spools(folder):
        if other.name != f"{_SPOOL}{key}":
            _remove_if_free(other)
    with ExitStack() as stack:
        place = folder / f"{_SPOOL}{key}"
        kept = _claim(place, stack)
        if not kept:
            place = folder / f".draft-{uuid.uuid4().hex}"
            place.mkdir()
            stack.enter_context(held(place))
        try:
            yield place
        except useless:
            shutil.rmtree(place, ignore_errors=True)
            raise
        except BaseException:
            if not kept or not any(file.stat().st_size for file in place.iterdir()):
                shutil.rmtree(place, ignore_errors=True)
            raise
        shutil.rmtree(place, ignore_errors=True)


def expired(folder: Path) -> Iterator[Path]:
    """Spools of killed processes in the folder of a dataset that nobody came back for."""
    for spool in _spools(folder):
        with suppress(OSError):
            changed = max(path.stat().st_mtime for path in (spool, *spool.iterdir()))
            if time.time() - changed >= KEPT_SECONDS and not is_held(spool):
                yield spool


def is_held(spool: Path) -> bool:
    """Whether a living process is checking into a spool."""
    with ExitStack() as stack:
        return fcntl is not None and not _lock(spool, stack)


def _spools(folder: Path) -> list[Path]:
    return sorted(folder.glob(f"{_SPOOL}*"))


def _remove_if_free(spool: Path) -> None:
    with ExitStack() as stack, suppress(OSError):
        if _lock(spool, stack):
            shutil.rmtree(spool, ignore_errors=True)


def _claim(spool: Path, stack: ExitStack) -> bool:
    """Makes a spool and holds it alone until the stack is left; False if that can't be."""
    spool.mkdir(exist_ok=True)
    if not _lock(spool, stack):
        return False
    return spool.is_dir()  # else another process has removed it in between


def _lock(spool: Path, stack: ExitStack) -> bool:
    if fcntl is None:
        return False
    handle = os.open(spool, os.O_RDONLY)
    stack.callback(os.close, handle)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:  # held, or a file system without locks
        return False
    with suppress(OSError):
        return spool.stat().st_ino == os.fstat(handle).st_ino
    return False
