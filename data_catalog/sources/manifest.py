"""Image files named by a table: a CSV, TSV, JSON Lines or Parquet file beside them."""

import os
import posixpath
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from data_catalog.reasons import MISSING
from data_catalog.sources import columns as cols
from data_catalog.sources.base import (
    Example,
    SourceError,
    digest_of,
    is_remote,
    open_place,
    reaching,
    read_images,
    stamp,
    without_query,
)
from data_catalog.sources.cells import as_text, whole
from data_catalog.sources.delimited import DELIMITERS, HEADER_FIRST, read_table, refuse_line_breaks
from data_catalog.sources.listing import list_files
from data_catalog.sources.locating import Neighbours, beside
from data_catalog.sources.parquet import open_parquet
from data_catalog.sources.records import LINES_SUFFIX, kinds_of_table, read_objects
from data_catalog.wording import plural, some

_NUMBER = re.compile(r"[-+]?\d+([.,]\d*)?([eE][-+]?\d+)?")  # also with a decimal comma


@dataclass(frozen=True)
class Manifest:
    """A table whose rows name an image file and its class, in the order of the table.

    Paths are relative to the folder of the table; absolute paths and URLs are taken as they
    are. Backslashes are read as slashes where no file is called so. Where most files are not
    there, those of the same name in folders below are meant. A row whose file is missing is kept
    as a bad image, for ingestion to quarantine.

    Attributes:
        path: Place of the table, `.csv`, `.tsv`, `.jsonl` or `.parquet`.
        columns: Column by part (`file`, `label`, `class_name`, `split`, `domain`), where the
            usual names do not fit.
        root: Folder in which images are looked for that are not where the table says; empty for
            that of the table.
        split: Split of the rows for which no column says one.
    """

    path: str
    columns: Mapping[str, str] | None = None
    root: str = ""
    split: str = ""

    def __post_init__(self) -> None:
        cols.check_roles(self.columns)

    def examples(self) -> Iterator[Example]:
        """Yields every row in table order; see `Source.examples`."""
        yield from self.picked(range(self.total()))

    def picked(self, positions: Sequence[int]) -> Iterator[Example]:
        """Yields some rows; see `Picking.picked`."""
        fs = open_place(self.path)[0]
        rows, every = list(self.listed()), self.places()
        places = [every[position] for position in positions]
        contents = self._contents(fs, places)
        chosen = (rows[position] for position in positions)
        for row, place, (image, error) in zip(chosen, places, contents, strict=True):
            name = "" if place.endswith("/") else row.path
            yield row._replace(content=image, error=_in_words(name, error))

    def listed(self) -> Iterator[Example]:
        """Yields every row without its image; see `Outlined.listed`."""
        rows, found, file = self._rows()
        folder = self._folder()
        for number, row in enumerate(rows, start=1):
            label, class_name = self._class_of(row, found)
            name = str(row[file] or "")
            if self._as_found(name, folder) != name:
                name = _spelled(name)
            yield Example(
                content=b"",
                path=name or f"row {number}",
                label=label,
                class_name=class_name,
                split=(as_text(row[found.split]) if found.split else None) or self.split or None,
                domain=as_text(row[found.domain]) if found.domain else None,
                extras=found.kept_of(row),
            )

    def total(self) -> int:
        """Rows of the table."""
        return len(self._rows()[0])

    def signature(self) -> str:
        """Digest of the table and, where all is local, of each file's size and time of change."""
        fs, root = open_place(self.path)
        with reaching(self.path):
            parts: list[object] = [stamp(fs.info(root))]
        if not is_remote(self.path):
            parts += [_local_stamp(Path(place)) for place in self.places()]
        return digest_of(parts)

    def describe(self) -> str:
        """The place of the table."""
        return f"image files named by {self.path}"

    def notes(self) -> list[str]:
        """Images that are missing, found elsewhere or in no row; see `Outlined.notes`."""
        return notes_of([self])

    def places(self) -> list[str]:
        """Where the image of each row is: where the table says, else the file of that name.

        Local files are looked for below the table where most are not where it says.
        """
        rows, found, file = self._rows()
        folder = self._folder()
        names = [self._as_found(str(row[file] or ""), folder) for row in rows]
        places = [name if "://" in name else posixpath.join(folder, name) for name in names]
        if is_remote(self.path):
            return places
        gone = [row for row, place in enumerate(places) if not posixpath.exists(place)]
        if 2 * len(gone) <= len(rows):
            return places
        top = self.root or folder
        neighbours = Neighbours(list_files(top).files)
        for row in gone:
            split = as_text(rows[row][found.split]) if found.split else None
            nearby = neighbours.find(_spelled(names[row]), split or self.split)
            places[row] = f"{top}/{nearby}" if nearby else places[row]
        return places

    def _folder(self) -> str:
        """The folder of the table, as its file system calls it."""
        return open_place(self.path)[1].rpartition("/")[0]

    def _as_found(self, name: str, folder: str) -> str:
        return _as_found(name, folder, local=not is_remote(self.path))

    def _class_of(
        self, row: Mapping[str, Any], found: cols.Columns
    ) -> tuple[int | None, str | None]:
        label = whole(row[found.label], place=self.path) if found.label else None
        return label, found.class_of(row)

    def _contents(self, fs: Any, places: list[str]) -> Iterator[tuple[bytes, str]]:
        """Bytes and error of each file."""
        if any("://" in place for place in places):
            for place in places:
                where = open_place(place) if "://" in place else (fs, place)
                yield from read_images(where[0], place, [where[1]])
            return
        yield from read_images(fs, self.path, places)

    def _rows(self) -> tuple[list[dict[str, Any]], cols.Columns, str]:
        """All rows, without images, the part of each column, and the column of paths."""
        fs, root = open_place(self.path)
        suffix = Path(without_query(root)).suffix.lower()
        if suffix == LINES_SUFFIX:
            with reaching(self.path):
                content = bytes(fs.cat_file(root))
            kinds, rows = read_objects(content, self.path)
            found = cols.find_columns(kinds, place=self.path, chosen=self.columns)
        elif suffix not in DELIMITERS:
            with open_parquet(fs, root, self.path) as file:
                rows, kinds = file.read().to_pylist(), cols.kinds_of(file.schema_arrow)
            found = cols.find_columns(kinds, place=self.path, chosen=self.columns)
        else:
            with reaching(self.path):
                content = fs.cat_file(root)
            rows, found = self._parsed(content, suffix)
        if found.file is None:
            raise SourceError(
                f"{self.path} holds the images themselves, in column {found.image!r}, and is no "
                "manifest of files. Read it as ParquetImages."
            )
        return rows, found, found.file

    def _parsed(self, content: bytes, suffix: str) -> tuple[list[dict[str, Any]], cols.Columns]:
        """Rows of a CSV or TSV, and the part of each column."""
        known = cols.known_names(self.columns)
        table = read_table(content, suffix, self.path, known=known)
        kinds = kinds_of_table(table)
        try:
            found = cols.find_columns(kinds, place=self.path, chosen=self.columns)
        except SourceError as error:
            raise type(error)(f"{error} {HEADER_FIRST}") from error
        refuse_line_breaks(table, found.parts(), self.path)
        named = [row[found.class_name] for row in table.rows] if found.class_name else []
        if found.label is None and _are_numbers(named):
            # 0.0, 1.0, ..: labels that pandas made floats of, since one was missing for a while.
            whole = all(float(value.replace(",", ".")).is_integer() for value in named if value)
            if whole or cols.is_usual("label", found.class_name or ""):
                found = found._replace(label=found.class_name, class_name=None)
        return table.rows, found


def notes_of(tables: Sequence[Manifest]) -> list[str]:
    """What to say of tables that share their images; see `Outlined.notes`."""
    places = [place for table in tables for place in table.places()]
    here = [place for place in places if "://" not in place]
    if is_remote(tables[0].path) or not here:
        return []
    missing = [place for place in here if not posixpath.isfile(place)]
    said = []
    if missing:
        said.append(f"{plural(len(missing), 'file')} of the table missing: {some(missing, 3)}")
    if len(missing) < len(here):
        folder = os.path.commonpath([posixpath.dirname(place) for place in here])
        used = {
            os.path.relpath(place, folder)
            for place in [*here, *(open_place(table.path)[1] for table in tables)]
        }
        said += beside(folder, used)
    return said


def _as_found(name: str, folder: str, *, local: bool) -> str:
    """The path of an image as its file is called here.

    A table that was written on Windows has backslashes; `~` is the home of whoever asks. A file
    that is really called so comes first.
    """
    if not ("\\" in name or name.startswith("~") or name != name.strip()):
        return name
    spelled = _spelled(name)
    if not local:
        return spelled
    at_home = posixpath.expanduser(spelled)  # which leaves the home of an unknown user as it is
    here = (
        each for each in (name, spelled, at_home) if posixpath.exists(posixpath.join(folder, each))
    )
    return next(here, name)


def _spelled(name: str) -> str:
    return name.replace("\\", "/").strip()


def _in_words(name: str, error: str) -> str:
    """Why a file of a table cannot be read, and what in its path may be the cause."""
    if not name:
        return f"{MISSING}: the row names no file"
    if error.startswith(MISSING) and "\\" in name:
        return f"{error}; its path has backslashes, and with / there is none either"
    return error


def _are_numbers(values: list[str | None]) -> bool:
    """Whether all that is there is a number, one with a point among them."""
    present = [value.strip() for value in values if value]
    return bool(present) and all(map(_NUMBER.fullmatch, present))


def _local_stamp(path: Path) -> tuple[int, int] | None:
    """Size and time of change of a file, None where it is missing."""
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_size, status.st_mtime_ns
