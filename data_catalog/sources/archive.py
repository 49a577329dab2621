"""Zip and tar archives: fetched once, checked, and unpacked into a cache."""

import hashlib
import shutil
import uuid
from pathlib import Path

from data_catalog.drafts import held
from data_catalog.sources.base import (
    SourceError,
    digest_of,
    is_remote,
    open_place,
    reaching,
    stamp,
    without_query,
)
from data_catalog.sources.unpacking import unpack, unpacked_before
from data_catalog.splits import known_split

SUFFIXES = (".zip", ".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tbz2", ".tar.xz", ".txz")
CHUNK_BYTES = 1 << 20


def fetched_and_unpacked(url: str, sha256: str | None, cache: str) -> Path:
    """Folder of the unpacked archive, fetched and unpacked now if it is not there.

    Args:
        url: Place of the archive.
        sha256: Digest that it must have; None takes it as it comes.
        cache: Folder of unpacked archives; empty for `~/.cache/shotboard`.

    Raises:
        SourceError: The digest differs, or the archive is damaged or unsafe.
        SourceUnavailable: The archive cannot be reached.
    """
    root = Path(cache).expanduser() if cache else Path.home() / ".cache/shotboard"
    target = root / archive_key(url, sha256)
    if unpacked_before(target, without_query(url)):
        return target
    draft = root / f".{target.name}.{uuid.uuid4().hex}"
    (draft / "content").mkdir(parents=True)
    try:
        with held(draft):
            unpack(_fetch(url, sha256, draft), draft / "content", without_query(url))
            if target.is_dir():
                target.rename(draft / "before")
            try:
                (draft / "content").rename(target)
            except OSError:
                if not target.is_dir():  # else another process was faster
                    raise
    finally:
        shutil.rmtree(draft, ignore_errors=True)
    return target


def archive_key(url: str, sha256: str | None) -> str:
    """What the folder of an unpacked archive is called: moves when the archive does.

    Args:
        url: Place of the archive.
        sha256: Digest that it must have; None takes size and time of change.
    """
    if sha256 is not None:
        return sha256[:16]
    fs, path = open_place(url)
    with reaching(url):
        return digest_of([url, stamp(fs.info(path))])


def is_archive(place: str) -> bool:
    """Whether `place` has the suffix of an archive, and is no folder that is called so."""
    return without_query(place).lower().endswith(SUFFIXES) and not (
        not is_remote(place) and Path(place).is_dir()
    )


def beneath(folder: Path) -> Path:
    """The content of a folder without the single folders that archives wrap around it."""
    while True:
        entries = [path for path in folder.iterdir() if not path.name.startswith((".", "__MAC"))]
        entries = [path for path in entries if len(entries) > 1 or not path.is_symlink()]
        if len(entries) != 1 or known_split(entries[0].name):
            return folder
        if entries[0].is_file():
            return entries[0]
        folder = entries[0]


def _fetch(url: str, sha256: str | None, draft: Path) -> Path:
    """The archive as a local file with the right digest."""
    fs, path = open_place(url)
    target = Path(path) if not is_remote(url) else draft / "archive"
    digest = hashlib.sha256()
    with reaching(url), fs.open(path, "rb") as source:
        if target.parent == draft:
            with target.open("wb") as copy:
                while chunk := source.read(CHUNK_BYTES):
                    digest.update(chunk)
                    copy.write(chunk)
        elif sha256 is not None:
            while chunk := source.read(CHUNK_BYTES):
                digest.update(chunk)
    if sha256 is not None and digest.hexdigest() != sha256:
        raise SourceError(
            f"{url} has sha256 {digest.hexdigest()}, expected was {sha256}. It was "
            "changed or cut short: fetch it again, or correct the digest if you trust it."
        )
    return target
