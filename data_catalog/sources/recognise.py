"""From a path or URL, as a user types it, to the source that reads it."""

import os
from collections.abc import Mapping

from data_catalog.sources.archive import Archive, is_archive
from data_catalog.sources.base import Source, absolute
from data_catalog.sources.candidates import ARCHIVES_SHOWN
from data_catalog.sources.hub import HuggingFace
from data_catalog.sources.listing import is_pattern, list_files
from data_catalog.sources.looking import Told, look
from data_catalog.sources.parquet import ParquetImages
from data_catalog.sources.webdataset import SHARD_SUFFIXES, WebDataset, is_shard

_HUB = "hf://datasets/"


def source_for(
    path: str | os.PathLike[str],
    sha256: str | None = None,
    revision: str | None = None,
    *,
    cache: str | os.PathLike[str] | None = None,
    table: str = "",
    columns: Mapping[str, str] | None = None,
    layout: str = "",
) -> Source:
    """Recognises what lies at `path`: looks at names, tables and Parquet schemas, at no image.

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

    Raises:
        SourceError: Nothing is there, it is empty, it is not a set of labelled images, or it can
            be understood in several ways; the message names what settles it.
        ValueError: An argument does not fit what `path` is.
    """
    if not os.fspath(path).strip():
        raise ValueError("the path is empty. Give a folder, a table, an archive or a URL.")
    place = absolute(path)
    told = Told(table, columns, layout)
    if sha256 is not None and not is_archive(place):
        raise ValueError(
            f"sha256 was given, but {place} is no archive ({ARCHIVES_SHOWN}), and only "
            "archives are checked by digest. Leave it out."
        )
    if place.startswith("hf://"):
        told.refuse_unused("a dataset of the hub is a set of Parquet files", allowed=("columns",))
        return _hub(place, revision, columns)
    if revision is not None:
        raise ValueError(
            f"revision {revision!r} was given, but {place} is no dataset of the Hugging Face hub "
            f"({_HUB}owner/name). Leave it out."
        )
    if is_pattern(place):
        return _pattern(place, told)
    if is_archive(place):
        return _archive(place, sha256, cache, told)
    return look(place, told)


def _hub(place: str, revision: str | None, columns: Mapping[str, str] | None) -> HuggingFace:
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
    return HuggingFace(repo, revision or written, files, columns)


def _pattern(place: str, told: Told) -> Source:
    if place.lower().endswith(SHARD_SUFFIXES):
        told.refuse_unused("shards have labels of their own")
        source: ParquetImages | WebDataset = WebDataset(place)
    else:
        told.refuse_unused("a pattern is one of Parquet files", allowed=("columns",))
        source = ParquetImages(place, told.columns)
    source.describe()  # refuses a pattern that matches nothing
    return source


def _archive(
    place: str, sha256: str | None, cache: str | os.PathLike[str] | None, told: Told
) -> Source:
    listing = list_files(place)
    if sha256 is None and place.lower().endswith(SHARD_SUFFIXES):
        (info,) = listing.files.values() if len(listing.files) == 1 else (None,)
        if info and is_shard(listing.fs, info["name"], place):
            told.refuse_unused("shards have labels of their own")
            return WebDataset(place)
    where = absolute(cache) if cache is not None else ""
    return Archive(place, sha256, cache=where, told=told.given() or None)
