"""Files that are whole or absent: written beside their place, then renamed into it.

What is there under its own name is whole, so that it exists is all that anybody asks: whether a
trial is done, or a dataset ingested. The steps, and what a crash after each of them leaves:

1. A draft is made beside its place, `.name.<32 hex digits>`: on the same file system, where a
   rename is one step, and under a name that no reader looks at. Left behind: a draft.
2. It is locked. The system gives the lock back when the process ends, however it ends, so a draft
   that nobody holds is that of a killed process, and `abandoned` finds it.
3. The content is written and synced. Without the sync, a file system may put the rename on disk
   before the content, and a power cut would leave an empty file under the final name.
4. It is renamed. From here on other processes see it.
5. The folder around is synced. Until then a power cut may undo the rename: the thing is absent
   again, never torn, and is made once more.
"""

import os
import posixpath
import re
import shutil
import time
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path

try:
    import fcntl
except ImportError:  # not on Windows, where the age of a draft has to do
    fcntl = None

# Drafts of `write_atomic` and `commit_folder`, and those that the catalog and the board make.
DRAFT = re.compile(r"\..*[.-][0-9a-f]{32}")
SETTLED_SECONDS = 600  # without a change, before a draft can be anybody's but a living process's
UNLOCKED_SECONDS = 24 * 3600  # likewise, where the file system has no locks


def write_atomic(path: Path, content: bytes, *, private: bool = False, synced: bool = True) -> None:
    """Writes `content` so that a reader sees the old file or the new one, never a part.

    Args:
        path: Target; missing folders above it are made.
        content: Bytes of the file.
        private: Only the owner may read it, from its first byte on.
        synced: Whether it is to survive a power cut.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(f".{path.name}.{uuid.uuid4().hex}")
    try:
        if private:
            draft.touch(0o600)
        with draft.open("wb") as file:
            _lock(file.fileno(), shared=True)
            file.write(content)
            file.flush()
            if synced:
                os.fsync(file.fileno())
        draft.replace(path)
    finally:
        draft.unlink(missing_ok=True)  # there only if something was raised on the way


def write_new(path: Path, content: bytes, *, synced: bool = True) -> bool:
    """Writes a file as `write_atomic`, but only where there is none; says whether it did.

    Args:
        path: Target; missing folders above it are made.
        content: Bytes of the file.
        synced: Whether it is to survive a power cut.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(f".{path.name}.{uuid.uuid4().hex}")
    try:
        with draft.open("wb") as file:
            _lock(file.fileno(), shared=True)
            file.write(content)
            file.flush()
            if synced:
                os.fsync(file.fileno())
        os.link(draft, path)  # fails where the name is taken, whoever took it meanwhile
    except FileExistsError:
        return False
    finally:
        draft.unlink(missing_ok=True)
    if synced:
        sync_folder(path.parent)
    return True


@contextmanager
def commit_folder(path: Path) -> Iterator[Path]:
    """Gives a draft folder that becomes `path` when the block ends, if `path` is not there yet.

    The first writer wins: where `path` exists already, the draft is thrown away, since two
    drafts of one trial hold the same numbers. A block that raises leaves nothing behind.

    Yields:
        The draft, an empty folder beside `path`.
    """
    with _draft_of(path) as draft:
        yield draft
        for file in draft.iterdir():
            with file.open("rb") as handle:
                os.fsync(handle.fileno())
        _put(draft, path)
    sync_folder(path.parent)


def commit_files(path: Path, files: Mapping[str, bytes]) -> None:
    """Makes the folder `path` of some small files, whole or not at all; as `commit_folder`.

    That the folder itself survives a power cut is `sync_folder`'s part, once for many of them.

    Args:
        path: The folder; those above it are made.
        files: Content by name.
    """
    with _draft_of(path) as draft:
        for name, content in files.items():
            (draft / name).write_bytes(content)
        for name in files:  # after the last one is written: then they share what a sync costs
            with (draft / name).open("rb") as handle:
                os.fsync(handle.fileno())
        _put(draft, path)


def sync_folder(path: Path) -> None:
    """Makes renames in `path` survive a power cut, where the system lets folders be synced."""
    if os.name == "posix":
        handle = os.open(path, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


def at_home(path: str | os.PathLike[str]) -> Path:
    """A path whose `~` is a user's home; it stays as it is where that user is not known."""
    return Path(posixpath.expanduser(path))


def abandoned(folder: Path) -> Iterator[Path]:
    """The drafts in a folder that killed processes left, sorted.

    Nothing in one has changed for ten minutes, and nobody holds it. Where the file system has no
    locks, nothing has changed for a day.
    """
    try:
        with os.scandir(folder) as entries:
            names = sorted(entry.name for entry in entries if DRAFT.fullmatch(entry.name))
    except (FileNotFoundError, NotADirectoryError):
        return
    for name in names:
        with suppress(OSError):  # its owner is just finishing
            if _is_abandoned(folder / name):
                yield folder / name


def remove(draft: Path) -> None:
    """Removes a draft, if it can be."""
    if draft.is_dir():
        shutil.rmtree(draft, ignore_errors=True)
    else:
        with suppress(OSError):
            draft.unlink()


def _is_abandoned(draft: Path) -> bool:
    # Of all files in it, since writing into one leaves the time of its folder as it is.
    changed = max(path.lstat().st_mtime for path in (draft, *draft.rglob("*")))
    age = time.time() - changed
    if age < SETTLED_SECONDS:  # it may have been made a moment ago, and be locked in the next
        return False
    handle = os.open(draft, os.O_RDONLY)
    try:
        free = _lock(handle, shared=False)
    finally:
        os.close(handle)
    return age >= UNLOCKED_SECONDS if free is None else free


@contextmanager
def passing_folder(path: Path) -> Iterator[Path]:
    """An empty folder beside `path` that is there as long as the block lasts.

    Whoever sweeps takes it for a draft: it is left alone, unless its process was killed.
    """
    with _draft_of(path) as folder:
        yield folder


@contextmanager
def _draft_of(path: Path) -> Iterator[Path]:
    """A folder beside `path` that is gone when the block ends, moved or removed."""
    draft = path.with_name(f".{path.name}.{uuid.uuid4().hex}")
    try:
        draft.mkdir()
    except FileNotFoundError:  # the first trial of a store; for all others one call is enough
        draft.mkdir(parents=True)
    try:
        with _held(draft):
            yield draft
    finally:
        if draft.exists():
            shutil.rmtree(draft, ignore_errors=True)


@contextmanager
def _held(draft: Path) -> Iterator[None]:
    """Locks a folder until the block ends, under whatever name it has then."""
    if fcntl is None:
        yield
        return
    handle = os.open(draft, os.O_RDONLY)
    try:
        _lock(handle, shared=True)
        yield
    finally:
        os.close(handle)


def _lock(handle: int, *, shared: bool) -> bool | None:
    """Whether the lock could be had; None where there are no locks."""
    if fcntl is None:
        return None
    # Who writes takes a shared lock: it is enough that nobody gets the exclusive one meanwhile, and
    # on NFS an exclusive lock asks for a file that is open for writing, which no folder can be.
    try:
        fcntl.flock(handle, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:
        return None
    return True


def _put(draft: Path, path: Path) -> None:
    """Renames `draft` to `path`, unless another writer was first."""
    # A folder that holds anything cannot be replaced by a rename, so whoever comes second fails
    # here, without a look beforehand that could be out of date by now.
    try:
        draft.rename(path)
    except OSError:
        if not path.is_dir():
            raise
