"""Files that are whole or absent: written beside their place, then renamed into it."""

import os
import shutil
import uuid
from collections.abc import Iterator
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
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(f".{path.name}.{uuid.uuid4().hex}")
    draft.mkdir()
    try:
        yield draft
        for file in draft.iterdir():
            with file.open("rb") as handle:
                os.fsync(handle.fileno())
        try:
            draft.rename(path)
        except OSError:
            if not path.is_dir():
                raise
        else:
            _sync_folder(path.parent)
    finally:
        shutil.rmtree(draft, ignore_errors=True)


def _sync_folder(path: Path) -> None:
    """Makes a rename in `path` survive a power cut, where the system lets folders be synced."""
    if os.name == "posix":
        handle = os.open(path, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
