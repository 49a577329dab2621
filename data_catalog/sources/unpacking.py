"""Archives, unpacked without believing them: neither their sizes nor where their members lie.

Files are written first, into folders of our own making, and links last: so nothing is written
through a link, whatever leads where.
"""

import gzip
import lzma
import stat
import struct
import tarfile
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from errno import EEXIST, EINVAL, EISDIR, ELOOP, ENAMETOOLONG, ENOTDIR, ENOTEMPTY
from pathlib import Path, PurePosixPath
from typing import IO, Any, NamedTuple, NoReturn

from data_catalog.sources.base import SourceError

CHUNK_BYTES = 1 << 20
FREE_BYTES = 1 << 30  # that any archive may unpack to
RATIO = 200  # bytes unpacked for one packed, beyond that; photos have about 1, drawings up to 100
FREE_MEMBERS = 100_000
PACKED_BYTES = 20  # that each member takes in the archive at least, beyond that number
_BY_HAND = "Nothing of it was used; unpack it by hand if you trust it, and give the folder."
_NAMES = {EEXIST, EINVAL, EISDIR, ELOOP, ENAMETOOLONG, ENOTDIR, ENOTEMPTY}
_DAMAGED = (
    zipfile.BadZipFile,
    tarfile.TarError,
    zlib.error,
    lzma.LZMAError,
    gzip.BadGzipFile,
    struct.error,
    EOFError,
    KeyError,  # a link of a tar to a member that is not in it
    RuntimeError,  # encrypted, or packed in a way that is not known
    ValueError,  # a name or a number that cannot be
)


def unpack(archive: Path, target: Path, url: str) -> None:
    """Unpacks a zip, or a tar of any compression, into the empty folder `target`.

    Args:
        archive: The local file.
        target: An empty folder.
        url: What to call the archive in errors; says by its suffix whether it is a zip.

    Raises:
        SourceError: It is damaged, encrypted or no archive; a member would land outside, is a
            device or a link that leaves the folder; or it holds more than so small a file should.
    """
    meter = _Meter(archive.stat().st_size, url)
    with _damage_in_a_sentence(url):
        if url.lower().endswith(".zip"):
            with zipfile.ZipFile(archive) as file:
                _unpack_zip(file, target, meter)
        else:
            with tarfile.open(archive) as file:
                _unpack_tar(file, target, meter)


def unpacked_before(target: Path, url: str) -> bool:
    """Whether `target` holds the archive as `unpack` would leave it.

    Zips with backslashes were once unpacked into files that have them in their names.

    Args:
        target: Folder of the cache.
        url: Place of the archive, for errors.
    """
    if not target.is_dir():
        return False
    return not url.lower().endswith(".zip") or not any(
        "\\" in path.name for path in target.iterdir()
    )


def refuse_cut(tar: tarfile.TarFile, place: str) -> None:
    """Refuses a tar that was read to its last member and has no end after it.

    `tarfile` takes a file that is cut within the header of a member for one that ends there.

    Args:
        tar: Read to its last member.
        place: What to call it in errors.

    Raises:
        SourceError: The block of zeros that ends a tar is missing.
    """
    if tar.fileobj is None:
        return
    tar.fileobj.seek(tar.offset)
    end = tar.fileobj.read(tarfile.BLOCKSIZE)
    if len(end) < tarfile.BLOCKSIZE or any(end):
        raise SourceError(
            f"{place} is no whole tar: it is cut short after some of its members. Fetch it again."
        )


class _Meter:
    """Counts what is unpacked, and stops where it is too much for the size of the archive."""

    def __init__(self, size: int, url: str) -> None:
        self.url = url
        self.most_bytes = max(FREE_BYTES, RATIO * size)
        self.most_members = max(FREE_MEMBERS, size // PACKED_BYTES)
        self.bytes = self.members = 0

    def member(self, declared: int) -> None:
        """Notes a member and what it says of its size, which may only be too little."""
        self.members += 1
        if self.members > self.most_members:
            self._stop(f"more than {self.most_members:,} members")
        if self.bytes + declared > self.most_bytes:
            self._stop(f"more than {self.most_bytes / 2**30:.3g} GiB")

    def copy(self, source: IO[bytes], place: Path) -> int:
        """Writes a file, and gives its bytes."""
        before = self.bytes
        with place.open("wb") as file:
            for chunk in self._chunks(source):
                file.write(chunk)
        return self.bytes - before

    def drain(self, source: Any) -> None:
        """Reads what follows the last member: only then is the checksum of a stream looked at."""
        for _ in self._chunks(source):
            pass

    def _chunks(self, source: Any) -> Iterator[bytes]:
        while chunk := source.read(CHUNK_BYTES):
            self.bytes += len(chunk)
            if self.bytes > self.most_bytes:
                self._stop(f"more than {self.most_bytes / 2**30:.3g} GiB")
            yield chunk

    def _stop(self, what: str) -> None:
        raise SourceError(
            f"{self.url} is unsafe to unpack: it holds {what}, too much for so small a file. "
            f"{_BY_HAND}"
        )


class _Link(NamedTuple):
    place: Path
    leads_to: str


def _unpack_zip(file: zipfile.ZipFile, target: Path, meter: _Meter) -> None:
    for member in file.infolist():
        path = _inside(member.filename.replace("\\", "/"), member.filename, meter.url)
        if stat.S_ISLNK(member.external_attr >> 16):
            _refuse(meter.url, f"member {member.filename!r} is a link")
        meter.member(0)  # what it says of its size is not read
        place = target / path
        if member.is_dir() or member.filename.endswith("\\"):
            place.mkdir(parents=True, exist_ok=True)
            continue
        place.parent.mkdir(parents=True, exist_ok=True)
        with file.open(member) as source:
            meter.copy(source, place)


def _unpack_tar(file: tarfile.TarFile, target: Path, meter: _Meter) -> None:
    links: list[_Link] = []
    for member in file:
        path = _inside(member.name.lstrip("/"), member.name, meter.url)
        place = target / path
        if member.isdir():
            meter.member(0)
            place.mkdir(parents=True, exist_ok=True)
            continue
        if member.issym():
            meter.member(0)
            links.append(_Link(place, member.linkname))
            continue
        source = file.extractfile(member) if member.isfile() or member.islnk() else None
        if source is None:
            _refuse(meter.url, f"member {member.name!r} is a device or a link that leads nowhere")
        meter.member(member.size)  # a sparse file may be far larger than what is stored of it
        place.parent.mkdir(parents=True, exist_ok=True)
        written = meter.copy(source, place)
        if written < member.size:
            raise EOFError(f"member {member.name!r} is cut short")
    refuse_cut(file, meter.url)
    meter.drain(file.fileobj)
    for link in links:
        _link(link, target, meter.url)
    for link in links:
        _refuse_escape(link, target, meter.url)


def _link(link: _Link, target: Path, url: str) -> None:
    name = link.place.relative_to(target)
    if PurePosixPath(link.leads_to).is_absolute():
        _refuse(url, f"member {str(name)!r} is a link to the absolute path {link.leads_to!r}")
    link.place.parent.mkdir(parents=True, exist_ok=True)
    if link.place.is_symlink():
        link.place.unlink()  # a later member of a name takes the place of an earlier one
    link.place.symlink_to(link.leads_to)


def _refuse_escape(link: _Link, target: Path, url: str) -> None:
    """Refuses a link that leaves the folder, by itself or through others."""
    try:
        inside = link.place.resolve(strict=True).is_relative_to(target.resolve())
    except FileNotFoundError:  # it leads nowhere, which is one missing image
        inside = ".." not in PurePosixPath(link.leads_to).parts
    except (OSError, RuntimeError) as error:
        raise SourceError(
            f"{url} is unsafe to unpack: links in it lead to each other ({error}). {_BY_HAND}"
        ) from error
    if not inside:
        name = str(link.place.relative_to(target))
        _refuse(url, f"member {name!r} is a link to {link.leads_to!r}, outside of its folder")


def _inside(name: str, written: str, url: str) -> PurePosixPath:
    """The path of a member below its folder.

    Raises:
        SourceError: It would land outside.
    """
    path = PurePosixPath(name)
    if path.is_absolute() or ".." in path.parts or ":" in (path.parts or ("",))[0]:
        _refuse(url, f"member {written!r} would land outside of its folder")
    return path


def _refuse(url: str, reason: str) -> NoReturn:
    raise SourceError(f"{url} is unsafe to unpack: {reason}. {_BY_HAND}")


@contextmanager
def _damage_in_a_sentence(url: str) -> Iterator[None]:
    try:
        yield
    except SourceError:
        raise
    except (*_DAMAGED, OSError) as error:
        if isinstance(error, OSError) and error.errno is not None and error.errno not in _NAMES:
            raise  # of the machine, such as a full disk
        reason = " ".join(str(error).split()) or type(error).__name__
        raise SourceError(
            f"{url} is damaged, encrypted or no archive ({reason}). Fetch it again."
        ) from error
