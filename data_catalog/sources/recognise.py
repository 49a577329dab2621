"""From a path or URL, as a user types it, to the source that reads it."""

import os
from collections import Counter
from pathlib import PurePosixPath

from data_catalog.sources import columns as cols
from data_catalog.sources.archive import Archive, is_archive
from data_catalog.sources.base import IMAGE_SUFFIXES, Source, SourceError, absolute, list_files
from data_catalog.sources.delimited import DELIMITERS
from data_catalog.sources.folder import ImageFolder
from data_catalog.sources.hub import HuggingFace
from data_catalog.sources.manifest import Manifest
from data_catalog.sources.parquet import ParquetImages, open_parquet

ARCHIVES_SHOWN = ".zip, .tar, .tar.gz"
_HUB = "hf://datasets/"
_TABLE_SUFFIXES = (*DELIMITERS, ".parquet")


def source_for(
    path: str | os.PathLike[str],
    sha256: str | None = None,
    revision: str | None = None,
    *,
    cache: str | os.PathLike[str] | None = None,
) -> Source:
    """Recognises what lies at `path`: looks at suffix, listing and Parquet schema, no images.

    Args:
        path: Folder, file, pattern of Parquet files, or URL of one. `hf://datasets/owner/name`
            is a dataset of the Hugging Face hub.
        sha256: Digest of an archive.
        revision: Commit of a dataset of the hub.
        cache: Folder for unpacked archives.

    Raises:
        SourceError: Nothing is there, it is empty, or it is not a set of labelled images.
        ValueError: An argument does not fit what `path` is.
    """
    place = absolute(path)
    if sha256 is not None and not is_archive(place):
        raise ValueError(
            f"sha256 was given, but {place} is no archive ({ARCHIVES_SHOWN}), and only "
            "archives are checked by digest. Leave it out."
        )
    if place.startswith("hf://"):
        return _hub(place, revision)
    if revision is not None:
        raise ValueError(
            f"revision {revision!r} was given, but {place} is no dataset of the Hugging Face hub "
            f"({_HUB}owner/name). Leave it out."
        )
    if is_archive(place):
        list_files(place)
        return Archive(place, sha256, cache=absolute(cache) if cache is not None else "")
    if "*" in place or "?" in place:
        source = ParquetImages(place)
        source.describe()  # refuses a pattern that matches nothing
        return source
    return _looked_at(place)


def _hub(place: str, revision: str | None) -> HuggingFace:
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
    return HuggingFace(repo, revision or written, files)


def _looked_at(place: str) -> Source:
    """The source for a local or remote place that is neither archive, pattern nor hub."""
    fs, files = list_files(place)
    if not files:
        raise SourceError(f"{place} is empty. Give a folder of class folders, or a table.")
    info = next(iter(files.values()))
    if list(files) == [place.rstrip("/").rpartition("/")[2]] and fs.isfile(info["name"]):
        return _table(fs, info["name"], place)
    suffixes = Counter(PurePosixPath(name).suffix.lower() for name in files)
    tables = [name for name in files if "/" not in name and name.endswith(_TABLE_SUFFIXES)]
    folders = {name.split("/")[0] for name in files if "/" in name}
    if suffixes[".parquet"] and not IMAGE_SUFFIXES & suffixes.keys():
        return _parquet_folder(fs, place, files)
    if len(tables) == 1 and len(folders) <= 1:
        return _table(fs, files[tables[0]]["name"], f"{place}/{tables[0]}")
    source = ImageFolder(place)
    source.describe()  # refuses a folder without class folders
    return source


def _parquet_folder(fs: object, place: str, files: dict[str, dict[str, object]]) -> Source:
    names = [name for name in files if name.endswith(".parquet")]
    if len(names) == 1:
        return _table(fs, str(files[names[0]]["name"]), f"{place}/{names[0]}")
    source = ParquetImages(place)
    source.describe()  # refuses tables without images
    return source


def _table(fs: object, path: str, place: str) -> Source:
    """The source for one table, by its suffix and schema."""
    suffix = PurePosixPath(path).suffix.lower()
    if suffix in DELIMITERS:
        source = Manifest(place)
        source.total()  # refuses a table without paths or labels
        return source
    if suffix != ".parquet":
        raise SourceError(
            f"{place} is a single file and no set of images. Give a folder of class folders, a "
            f"CSV or Parquet table, or an archive ({ARCHIVES_SHOWN})."
        )
    with open_parquet(fs, path, place) as file:
        found = cols.find_columns(cols.kinds_of(file.schema_arrow), place=place)
    return ParquetImages(place) if found.image else Manifest(place)
