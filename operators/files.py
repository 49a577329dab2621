"""Files that are whole or absent: written beside their place, then renamed into it."""

import os
import shutil
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path


def write_atomic(path: Path, content: bytes) -> None:
    """Writes `content` so that a reader sees the old file or the new one, never a part.

    Args:
        path: Target; missing folders above it are made.
        content: Bytes of the file.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(f".{path.name}.{uuid.uuid4().hex}")
    try:
        with draft.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        draft.replace(path)
    finally:
        draft.unlink(missing_ok=True)


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


@contextmanager
def _draft_of(path: Path) -> Iterator[Path]:
    """A folder beside `path` that is gone when the block ends, moved or removed."""
    draft = path.with_name(f".{path.name}.{uuid.uuid4().hex}")
    try:
        draft.mkdir()
    except FileNotFoundError:
        draft.mkdir(parents=True)
    try:
        yield draft
    finally:
        if draft.exists():
            shutil.rmtree(draft, ignore_errors=True)


def _put(draft: Path, path: Path) -> None:
    """Renames `draft` to `path`, unless another writer was first."""
    try:
        draft.rename(path)
    except OSError:
        if not path.is_dir():
            raise
