"""Tables that may have the labels of the images around them."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import PurePosixPath
from typing import Any, NamedTuple

from data_catalog.sources import columns as cols
from data_catalog.sources.base import SourceError, without_query
from data_catalog.sources.delimited import DELIMITERS
from data_catalog.sources.listing import Listing
from data_catalog.sources.manifest import Manifest
from data_catalog.sources.parquet import ParquetImages, open_parquet
from data_catalog.sources.records import LINES_SUFFIX
from data_catalog.splits import known_split

ARCHIVES_SHOWN = ".zip, .tar, .tar.gz"
TABLE_SUFFIXES = (*DELIMITERS, LINES_SUFFIX, ".parquet")
_TABLES_READ = 20  # of those below folders


class Candidate(NamedTuple):
    """A table that may have the labels.

    Attributes:
        name: Path relative to the place.
        split: The split that it is called after, else that of its folder.
        source: What reads it; None where nothing can.
        problem: Why nothing can.
        unknown: Whether that is its columns alone, so that naming them would help.
    """

    name: str
    split: str | None
    source: Manifest | ParquetImages | None
    problem: str = ""
    unknown: bool = False


def table_source(
    fs: Any, path: str, place: str, columns: Mapping[str, str] | None = None
) -> Manifest | ParquetImages:
    """The source for one table, by its suffix and schema.

    Args:
        fs: File system of the path.
        path: Path as `fs` uses it.
        place: What to call the table in errors, and in the source.
        columns: Column by part, where the usual names do not fit.

    Raises:
        SourceError: It is no table of labelled images.
    """
    suffix = PurePosixPath(without_query(path)).suffix.lower()
    if suffix in (*DELIMITERS, LINES_SUFFIX):
        source = Manifest(place, columns)
        source.total()  # refuses a table without paths or labels
        return source
    if suffix != ".parquet":
        raise SourceError(
            f"{place} is a single file and no set of images. Give a folder of class folders, a "
            f"CSV or Parquet table, or an archive ({ARCHIVES_SHOWN})."
        )
    with open_parquet(fs, path, place) as file:
        kinds = cols.kinds_of(file.schema_arrow)
        found = cols.find_columns(kinds, place=place, chosen=columns)
    return ParquetImages(place, columns) if found.image else Manifest(place, columns)


def candidates(
    place: str, listing: Listing, columns: Mapping[str, str] | None, *, deep: bool = False
) -> list[Candidate]:
    """The tables at the top and in split folders there; with `deep`, in other folders too.

    Args:
        place: Folder that was listed.
        listing: Its files.
        columns: Column by part, as the user named them.
        deep: Whether tables in other folders count.
    """
    found: list[Candidate] = []
    for name, info in listing.files.items():
        above, _, last = name.rpartition("/")
        near = not above or known_split(above)
        if not last.lower().endswith(TABLE_SUFFIXES) or not (near or deep):
            continue
        if above and len(found) == _TABLES_READ:
            break
        split = known_split(last.rpartition(".")[0]) or (known_split(above) if above else None)
        try:
            source = table_source(listing.fs, info["name"], f"{place}/{name}", columns)
        except SourceError as error:
            unknown = isinstance(error, cols.UnknownColumns)
            found.append(Candidate(name, split, None, str(error), unknown))
            continue
        if isinstance(source, Manifest) and above and not known_split(above):
            source = replace(source, root=place)
        found.append(Candidate(name, split, source))
    return found
