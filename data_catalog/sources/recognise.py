"""From a path or URL, as a user types it, to the source that reads it.

An archive is read as what it holds, which may be another archive: so `Archive` is here too.
"""

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from data_catalog.sources.archive import archive_key, beneath, fetched_and_unpacked, is_archive
from data_catalog.sources.base import (
    Example,
    Outlined,
    Source,
    SourceError,
    absolute,
    digest_of,
    examples_from,
    holds,
    picked,
)
from data_catalog.sources.candidates import ARCHIVES_SHOWN
from data_catalog.sources.hub import HuggingFace
from data_catalog.sources.listing import is_pattern, list_files
from data_catalog.sources.looking import Hints, look
from data_catalog.sources.parquet import ParquetImages
from data_catalog.sources.texts import TextTables, holds_texts
from data_catalog.sources.webdataset import SHARD_SUFFIXES, WebDataset, is_shard
from data_catalog.wording import did_you_mean, some

_KINDS = ("image", "text")  # that sources are recognised for
_HUB = "hf://datasets/"


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
        told: What its user said of the content: `table`, `columns`, `layout`, `kind`, as
            `source_for` has them.
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

    def holds(self) -> str:
        """The kind of data inside."""
        return holds(self._content())

    def examples(self) -> Iterator[Example]:
        """Yields what the archive holds; see `Source.examples`."""
        yield from self._content().examples()

    def examples_from(self, start: int) -> Iterator[Example]:
        """Yields what it holds, without the first ones; see `Seekable`."""
        yield from examples_from(self._content(), start)

    def listed(self) -> Iterator[Example] | None:
        """Yields what it holds, without contents; see `Outlined.listed`."""
        content = self._content()
        return content.listed() if isinstance(content, Outlined) else None

    def picked(self, positions: Sequence[int]) -> Iterator[Example]:
        """Yields some of what it holds; see `Picking.picked`."""
        yield from picked(self._content(), positions)

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
        return digest_of([archive_key(self.url, self.sha256), self.inner, *said])

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
        return fetched_and_unpacked(self.url, self.sha256, self.cache)

    def _content(self) -> Source:
        unpacked = self.unpacked()
        place = unpacked / self.inner
        if not place.exists():
            raise SourceError(
                f"{self.url} holds no {self.inner!r}; at its top are "
                f"{some(sorted(path.name for path in unpacked.iterdir()))}."
            )
        return source_for(place if self.inner else beneath(place), **(self.told or {}))


def source_for(
    path: str | os.PathLike[str],
    sha256: str | None = None,
    revision: str | None = None,
    *,
    cache: str | os.PathLike[str] | None = None,
    table: str = "",
    columns: Mapping[str, str] | None = None,
    layout: str = "",
    kind: str = "",
) -> Source:
    """Recognises what lies at `path`: looks at names, tables and Parquet schemas, at no example.

    Args:
        path: Folder, file, pattern of Parquet files, or URL of one. `hf://datasets/owner/name`
            is a dataset of the Hugging Face hub.
        sha256: Digest of an archive.
        revision: Commit of a dataset of the hub.
        cache: Folder for unpacked archives.
        table: Table or split file inside of `path` that has the labels, if several may.
        columns: Column by part, such as `{"file": "image_id", "label": "dx"}`, where the usual
            names do not fit.
        layout: What the levels of folders are, such as `domain/class`; see `ImageFolder`.
        kind: `image` or `text`; empty for what names and columns say.

    Raises:
        SourceError: Nothing is there, it is empty, it is no set of labelled examples, or it can
            be understood in several ways; the message names what settles it.
        ValueError: An argument does not fit what `path` is.
    """
    if not os.fspath(path).strip():
        raise ValueError("the path is empty. Give a folder, a table, an archive or a URL.")
    if kind not in ("", *_KINDS):
        raise ValueError(f"no kind of data is called {kind!r}. {did_you_mean(kind, _KINDS)}")
    place = absolute(path)
    hints = Hints(table, columns, layout, kind)
    if sha256 is not None and not is_archive(place):
        raise ValueError(
            f"sha256 was given, but {place} is no archive ({ARCHIVES_SHOWN}), and only "
            "archives are checked by digest. Leave it out."
        )
    if place.startswith("hf://"):
        hints.refuse_unused("a dataset of the hub is a set of Parquet files", allowed=("columns",))
        return _hub(place, revision, hints)
    if revision is not None:
        raise ValueError(
            f"revision {revision!r} was given, but {place} is no dataset of the Hugging Face hub "
            f"({_HUB}owner/name). Leave it out."
        )
    if is_pattern(place):
        return _pattern(place, hints)
    if is_archive(place):
        return _archive(place, sha256, cache, hints)
    return look(place, hints)


def _hub(place: str, revision: str | None, hints: Hints) -> HuggingFace:
    rest = place.removeprefix(_HUB)
    if rest == place:
        raise ValueError(f"{place} is no dataset of the hub. Write {_HUB}owner/name.")
    repo, _, tail = rest.partition("@")
    if tail:
        written, _, files = tail.partition("/")
    else:
        owner, _, name_and_files = repo.partition("/")
        name, _, files = name_and_files.partition("/")
        repo, written = f"{owner}/{name}" if name else owner, ""
    if written and revision and written != revision:
        raise ValueError(f"{place} names a revision, and {revision!r} was given. Give one.")
    return HuggingFace(repo, revision or written, files, hints.columns, kind=hints.kind)


def _pattern(place: str, hints: Hints) -> Source:
    if place.lower().endswith(SHARD_SUFFIXES):
        hints.refuse_unused("shards have labels of their own")
        source: ParquetImages | TextTables | WebDataset = WebDataset(place)
    else:
        hints.refuse_unused("a pattern is one of tables", allowed=("columns",))
        texts = hints.kind == "text" or (not hints.kind and holds_texts(place, hints.columns))
        source = (TextTables if texts else ParquetImages)(place, hints.columns)
    source.describe()  # refuses a pattern that matches nothing
    return source


def _archive(
    place: str, sha256: str | None, cache: str | os.PathLike[str] | None, hints: Hints
) -> Source:
    listing = list_files(place)
    if sha256 is None and place.lower().endswith(SHARD_SUFFIXES):
        (info,) = listing.files.values() if len(listing.files) == 1 else (None,)
        if info and is_shard(listing.fs, info["name"], place):
            hints.refuse_unused("shards have labels of their own")
            return WebDataset(place)
    where = absolute(cache) if cache is not None else ""
    return Archive(place, sha256, cache=where, told=hints.given() or None)
