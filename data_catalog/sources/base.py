"""What every source of raw examples offers, and how a place is opened through fsspec.

A place is a local path or any URL that fsspec knows: `s3://`, `https://`, `hf://`,
`memory://`. Remote file systems are imported on first use.
"""

import hashlib
import os
import posixpath
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from itertools import islice
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple, Protocol, runtime_checkable

from data_catalog.reasons import FOLDER, FORBIDDEN, MISSING
from data_catalog.secrets import holds_secret, redact

IMAGE_SUFFIXES = {".jpg", ".jpeg", ".png", ".webp", ".bmp", ".gif", ".tif", ".tiff", ".ppm"}
_SCHEME = re.compile(r"(file|local)://(localhost(?=/))?")
READ_AHEAD = 16  # images fetched at once; a remote store answers them in parallel
_STAMPS = ("ETag", "etag", "mtime", "LastModified", "last_modified", "created")


class SourceError(ValueError):
    """The source is not there or not what it should be; the message gives the way out.

    Places are part of the message, without the passwords and tokens in them.
    """

    def __init__(self, message: str) -> None:
        super().__init__(redact(message))


class SourceUnavailable(SourceError):
    """The source cannot be reached now; the same request may succeed later."""


class Example(NamedTuple):
    """One labelled example, as its source gives it.

    Attributes:
        content: What is to be classified, as bytes: an encoded image, untouched, or the UTF-8 of
            a text; see `data_catalog.kinds`. Empty where `error` says why.
        path: Where in the source it lies, relative to the source's root.
        label: Class index, or None where the source only names classes.
        class_name: Name of the class, or None where the source only numbers classes.
        split: Split as the source calls it, or None.
        domain: Domain as the source calls it, or None.
        extras: Further columns: numbers, texts, booleans, bytes such as a mask, or None.
        error: Why the content could not be read, as `data_catalog.reasons` has it; empty when it
            was.
    """

    content: bytes
    path: str
    label: int | None = None
    class_name: str | None = None
    split: str | None = None
    domain: str | None = None
    extras: Mapping[str, Any] = MappingProxyType({})
    error: str = ""


@runtime_checkable
class Source(Protocol):
    """A way to read raw labelled examples. Creating one touches nothing.

    One that does not read images has a method `holds` too; see `holds`.
    """

    def examples(self) -> Iterator[Example]:
        """Yields every example, in an order that only the source's content decides.

        Raises:
            SourceError: The source is missing or malformed.
        """
        ...

    def total(self) -> int | None:
        """How many examples there are, or None where counting means reading all."""
        ...

    def signature(self) -> str:
        """A cheap digest that moves when the source does; reads no example."""
        ...

    def describe(self) -> str:
        """One phrase for people: what is read, and from where."""
        ...


@runtime_checkable
class Outlined(Protocol):
    """A source that can say what it holds before any example is read."""

    def listed(self) -> Iterator[Example] | None:
        """Yields what `examples` would, with empty contents; None where that means reading all.

        Raises:
            SourceError: The source is missing or malformed.
        """
        ...

    def notes(self) -> list[str]:
        """A sentence for each thing that is passed over, or read otherwise than might be meant."""
        ...


@runtime_checkable
class Picking(Protocol):
    """A source that can read some of its examples without those between them."""

    def picked(self, positions: Sequence[int]) -> Iterator[Example]:
        """Yields what `examples` would at these positions, which ascend.

        Raises:
            SourceError: The source is missing or malformed.
        """
        ...


def picked(source: Source, positions: Sequence[int]) -> Iterator[Example]:
    """Yields some examples of a source, in its order.

    Args:
        source: Any; one that cannot pick is read up to the last of them.
        positions: Which, in ascending order.
    """
    if isinstance(source, Picking):
        yield from source.picked(positions)
        return
    remaining = iter(source.examples())
    before = -1
    for position in positions:
        yield from islice(remaining, position - before - 1, position - before)
        before = position


@runtime_checkable
class Seekable(Protocol):
    """A source that can begin in the middle without reading what lies before."""

    def examples_from(self, start: int) -> Iterator[Example]:
        """Yields what `examples` would, without the first `start`.

        Raises:
            SourceError: The source is missing or malformed.
        """
        ...


def examples_from(source: Source, start: int) -> Iterator[Example]:
    """Yields the examples of a source without the first ones.

    Args:
        source: Any; what cannot begin in the middle is read and passed over.
        start: How many are left out.
    """
    if start and isinstance(source, Seekable):
        return source.examples_from(start)
    return islice(source.examples(), start, None)


def holds(source: Source) -> str:
    """The kind of data that a source reads, a key of `data_catalog.kinds.KINDS`.

    Most read images and say nothing; one that does not has a method `holds`, which may look.
    """
    said = getattr(source, "holds", None)
    return said() if said else "image"


def is_remote(place: str) -> bool:
    """Whether `place` is a URL that leaves this machine's file system."""
    return "://" in place and not place.startswith(("file://", "local://"))


def without_query(place: str) -> str:
    """A place as its suffix is seen: signed URLs have a query after it."""
    return place.partition("?")[0] if place.startswith(("http://", "https://")) else place


def absolute(place: str | os.PathLike[str]) -> str:
    """The place as every working directory finds it: local paths made absolute."""
    text = os.fspath(place)
    if "://" in text:
        return text
    if not os.path.lexists(text):
        with suppress(RuntimeError):  # `~name` of no user is a name like any other
            text = Path(posixpath.expanduser(text))
    return str(Path(text).absolute())


@contextmanager
def reaching(place: str) -> Iterator[None]:
    """Turns what file systems raise into one sentence that names the place.

    Raises:
        SourceError: Nothing is at `place`.
        SourceUnavailable: It may be there, but cannot be reached from here now.
    """
    try:
        yield
    except SourceError:
        raise
    except (FileNotFoundError, NotADirectoryError) as error:
        cause = error.__cause__
        if isinstance(cause, OSError) and not isinstance(cause, FileNotFoundError):
            raise _unreached(place, cause) from _cause(
                error
            )  # how fsspec reports a dead web server
        raise SourceError(
            f"no file or folder at {place}. Check the spelling; relative paths start at "
            f"the working directory."
        ) from _cause(error)
    except ImportError as error:
        scheme = place.partition("://")[0]
        raise SourceUnavailable(
            f"{place} could not be opened: reading {scheme}:// needs a package that is not "
            f"installed ({error}). Install it, or copy the data and give the local path."
        ) from _cause(error)
    except PermissionError as error:
        raise SourceUnavailable(f"{place} may not be read by this user: {error}.") from _cause(
            error
        )
    except Exception as error:  # each file system raises its own kinds, not all OSError
        if not is_remote(place):
            raise
        raise _unreached(place, error) from _cause(error)


def open_place(place: str) -> tuple[Any, str]:
    """Returns the file system of `place` and the path that this file system uses for it.

    Raises:
        SourceUnavailable: The file system's package is not installed, or it does not answer.
    """
    from fsspec.core import url_to_fs

    if not is_remote(place):  # a local name is never read as a chain or a pattern
        from fsspec.implementations.local import LocalFileSystem

        root = absolute(_SCHEME.sub("", place))
        return LocalFileSystem(), root.rstrip("/") or "/"
    with reaching(place):
        if "://" in place and not _known_scheme(place):
            raise SourceError(
                f"{place}: no file system is called {place.partition('://')[0]!r}. "
                "Use a local path, or a URL that fsspec knows, such as s3:// or https://."
            )
        fs, root = url_to_fs(place)
    return fs, root.rstrip("/") or "/"


def read_file(place: str) -> bytes:
    """Returns the content of one file.

    Raises:
        SourceError: No file is at `place`.
        SourceUnavailable: It cannot be read from here now.
    """
    fs, path = open_place(place)
    try:
        with reaching(place):
            return bytes(fs.cat_file(path))
    except IsADirectoryError as error:
        raise SourceError(f"{place} is a folder. Name a file in it.") from error
    except OSError as error:
        raise SourceUnavailable(f"{place} cannot be read: {error}.") from error


def stamp(info: Mapping[str, Any]) -> tuple[Any, str]:
    """Size in bytes and time of change (or entity tag) of one file, as far as it is known."""
    changed = next((info[key] for key in _STAMPS if info.get(key) is not None), "")
    return info.get("size"), str(changed)


def digest_of(parts: Iterable[object]) -> str:
    """Returns 16 hex digits of the SHA-256 over the `repr` of each part."""
    digest = hashlib.sha256()
    for part in parts:
        digest.update(repr(part).encode())
        digest.update(b"\n")
    return digest.hexdigest()[:16]


def read_images(fs: Any, place: str, paths: Iterable[str]) -> Iterator[tuple[bytes, str]]:
    """Reads files in order, a few at a time.

    Args:
        fs: File system of the paths.
        place: What to call the source if it cannot be reached.
        paths: Paths as `fs` uses them; never expanded as patterns.

    Yields:
        The bytes and an empty text, or no bytes and the reason: a file that is missing or
        may not be read is one bad image, while a network that fails ends the reading.
    """
    remaining = iter(paths)
    while batch := list(islice(remaining, READ_AHEAD)):
        with reaching(place):
            nothing = [None] * len(batch)
            contents = fs.cat_ranges(batch, nothing, nothing, on_error="return")
        for content in contents:
            if isinstance(content, (FileNotFoundError, NotADirectoryError)):
                yield b"", f"{MISSING}: no such file"
            elif isinstance(content, IsADirectoryError):
                yield b"", f"{FOLDER}: no file"
            elif isinstance(content, PermissionError):
                yield b"", f"{FORBIDDEN}: this user may not read it"
            elif isinstance(content, (OSError, ValueError)) and not is_remote(place):
                yield b"", f"{FORBIDDEN}: {getattr(content, 'strerror', None) or content}"
            elif isinstance(content, BaseException):
                with reaching(place):
                    raise content
            else:
                yield bytes(content), ""


def _cause(error: Exception) -> Exception | None:
    """What a traceback may show beside the sentence: nothing that tells a secret."""
    link: BaseException | None = error
    while link is not None:
        if holds_secret(str(link)):
            return None
        link = link.__cause__ or link.__context__
    return error


def _unreached(place: str, error: Exception) -> SourceUnavailable:
    reason = (str(error) or type(error).__name__).splitlines()[0]
    return SourceUnavailable(
        f"{place} could not be reached ({reason}). Check the network and the credentials, "
        "or copy the data here and give its path."
    )


def _known_scheme(place: str) -> bool:
    """Whether fsspec knows the scheme, in any link of a chain such as `zip://a::s3://b`."""
    from fsspec.registry import known_implementations, registry

    schemes = [link.partition("://")[0] for link in place.split("::") if "://" in link]
    return all(scheme in registry or scheme in known_implementations for scheme in schemes)
