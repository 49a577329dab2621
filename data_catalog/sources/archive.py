"""A zip or tar archive, fetched once, checked, unpacked, and read as what it holds."""

import hashlib
import shutil
import uuid
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from data_catalog.drafts import held
from data_catalog.sources.base import (
    Example,
    Outlined,
    Source,
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
from data_catalog.wording import some

SUFFIXES = (".zip", ".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tbz2", ".tar.xz", ".txz")
CHUNK_BYTES = 1 << 20


@dataclass(frozen=True)
class Archive:
    """An archive at a path or URL. What it holds is recognised as `source_for` does.

    The archive is unpacked once into a folder of `cache` named by its digest. Members that
    would land outside of that folder, devices and links that leave it are refused, and so is
    one that holds far more than its size lets expect. Backslashes in a zip are folders.

    Attributes:
        url: Place of the archive.
        sha256: Digest that the archive must have, in hex; None takes it as it comes.
        inner: Folder or table inside the archive to read; empty for all of it.
        cache: Folder for the unpacked archive; empty for `~/.cache/shotboard`.
        told: What its user said of the content: `table`, `columns`, `layout`, as `source_for` has
            them.
    """

    url: str
    sha256: str | None = None
    inner: str = ""
    cache: str = ""
    told: Mapping[str, Any] | None = None

    def __post_init__(self) -> None:
        digest = self.sha256
        if digest is not None and (len(digest) != 64 or set(digest) - set("0123456789abcdef")):
            raise ValueError(
                f"sha256 {digest!r} is not 64 hexadecimal digits in lower case. Take it from "
                "`sha256sum FILE`."
            )
        if PurePosixPath(self.inner).is_absolute() or ".." in PurePosixPath(self.inner).parts:
            raise ValueError(f"inner {self.inner!r} leaves the archive. Give a path inside it.")

    def examples(self) -> Iterator[Example]:
        """Yields the images of what the archive holds; see `Source.examples`."""
        yield from self._content().examples()

    def listed(self) -> Iterator[Example] | None:
        """Yields what it holds, without images; see `Outlined.listed`."""
        content = self._content()
        return content.listed() if isinstance(content, Outlined) else None

    def notes(self) -> list[str]:
        """Notes on what it holds; see `Outlined.notes`."""
        content = self._content()
        return content.notes() if isinstance(content, Outlined) else []

    def total(self) -> int | None:
        """What the source inside counts; fetches and unpacks the archive if need be."""
        return self._content().total()

    def signature(self) -> str:
        """Digest of the pinned SHA-256, else of the archive's size and time of change."""
        said = [sorted(self.told.items())] if self.told else []
        return digest_of([self._key(), self.inner, *said])

    def describe(self) -> str:
        """What is read, from which archive, and whether its digest is pinned."""
        pinned = f"sha256 {self.sha256}" if self.sha256 else "no pinned sha256"
        content = self._content().describe().replace(str(self.unpacked()), "", 1)
        return f"archive {self.url} ({pinned}): {content}"

    def unpacked(self) -> Path:
        """Folder of the unpacked archive, fetched and unpacked now if it is not there.

        Raises:
            SourceError: The digest differs, or the archive is damaged or unsafe.
            SourceUnavailable: The archive cannot be reached.
        """
        root = Path(self.cache).expanduser() if self.cache else Path.home() / ".cache/shotboard"
        target = root / self._key()
        if unpacked_before(target, without_query(self.url)):
            return target
        draft = root / f".{target.name}.{uuid.uuid4().hex}"
        (draft / "content").mkdir(parents=True)
        try:
            with held(draft):
                unpack(self._fetch(draft), draft / "content", without_query(self.url))
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

    def _key(self) -> str:
        if self.sha256 is not None:
            return self.sha256[:16]
        fs, path = open_place(self.url)
        with reaching(self.url):
            return digest_of([self.url, stamp(fs.info(path))])

    def _fetch(self, draft: Path) -> Path:
        """The archive as a local file with the right digest."""
        fs, path = open_place(self.url)
        target = Path(path) if not is_remote(self.url) else draft / "archive"
        digest = hashlib.sha256()
        with reaching(self.url), fs.open(path, "rb") as source:
            if target.parent == draft:
                with target.open("wb") as copy:
                    while chunk := source.read(CHUNK_BYTES):
                        digest.update(chunk)
                        copy.write(chunk)
            elif self.sha256 is not None:
                while chunk := source.read(CHUNK_BYTES):
                    digest.update(chunk)
        if self.sha256 is not None and digest.hexdigest() != self.sha256:
            raise SourceError(
                f"{self.url} has sha256 {digest.hexdigest()}, expected was {self.sha256}. It was "
                "changed or cut short: fetch it again, or correct the digest if you trust it."
            )
        return target

    def _content(self) -> Source:
        from data_catalog.sources.recognise import source_for

        unpacked = self.unpacked()
        place = unpacked / self.inner
        if not place.exists():
            raise SourceError(
                f"{self.url} holds no {self.inner!r}; at its top are "
                f"{some(sorted(path.name for path in unpacked.iterdir()))}."
            )
        return source_for(place if self.inner else _beneath(place), **(self.told or {}))


def is_archive(place: str) -> bool:
    """Whether `place` has the suffix of an archive, and is no folder that is called so."""
    return without_query(place).lower().endswith(SUFFIXES) and not (
        not is_remote(place) and Path(place).is_dir()
    )


def _beneath(folder: Path) -> Path:
    """Goes down the single folders that archives wrap around their content."""
    while True:
        entries = [path for path in folder.iterdir() if not path.name.startswith((".", "__MAC"))]
        entries = [path for path in entries if len(entries) > 1 or not path.is_symlink()]
        if len(entries) != 1 or known_split(entries[0].name):
            return folder
        if entries[0].is_file():
            return entries[0]
        folder = entries[0]
