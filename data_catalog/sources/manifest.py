"""Image files named by a table: a CSV, TSV or Parquet file beside them."""

import posixpath
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from data_catalog.reasons import MISSING
from data_catalog.sources import columns as cols
from data_catalog.sources.base import (
    Example,
    SourceError,
    absolute,
    digest_of,
    is_remote,
    open_place,
    reaching,
    read_images,
    stamp,
)
from data_catalog.sources.delimited import DELIMITERS, read_table, refuse_line_breaks
from data_catalog.sources.parquet import open_parquet

_NUMBER = re.compile(r"[-+]?\d+([.,]\d*)?([eE][-+]?\d+)?")  # also with a decimal comma


@dataclass(frozen=True)
class Manifest:
    """A table whose rows name an image file and its class, in the order of the table.

    Paths are relative to the folder of the table; absolute paths and URLs are taken as they
    are. Backslashes are read as slashes where no file is called so. A row whose file is missing
    is kept as a bad image, for ingestion to quarantine.

    Attributes:
        path: Place of the table, `.csv`, `.tsv` or `.parquet`.
        columns: Column by part (`file`, `label`, `class_name`, `split`, `domain`), where the
            usual names do not fit.
    """

    path: str
    columns: Mapping[str, str] | None = None

    def __post_init__(self) -> None:
        cols.check_roles(self.columns)

    def examples(self) -> Iterator[Example]:
        """Yields every row in table order; see `Source.examples`."""
        rows, found, file = self._rows()
        fs, root = open_place(absolute(self.path))
        folder = root.rpartition("/")[0]
        local = not is_remote(self.path)
        written = [str(row[file] or "") for row in rows]
        names = [_as_found(name, folder, local=local) for name in written]
        contents = self._contents(fs, folder, names)
        for number, (row, name, found_at, (image, error)) in enumerate(
            zip(rows, written, names, contents, strict=True), start=1
        ):
            if found_at != name:
                name = _spelled(name)
            label, class_name = self._class_of(row, found)
            yield Example(
                image=image,
                path=name or f"row {number}",
                label=label,
                class_name=class_name,
                split=row[found.split] if found.split else None,
                domain=row[found.domain] if found.domain else None,
                extras={column: row[column] for column in found.extras},
                error=_in_words(name, error),
            )

    def labelled(self) -> Iterator[tuple[int | None, str | None]]:
        """Yields label and class name of every row; see `Labelled`."""
        rows, found, _ = self._rows()
        for row in rows:
            yield self._class_of(row, found)

    def total(self) -> int:
        """Rows of the table."""
        return len(self._rows()[0])

    def signature(self) -> str:
        """Digest of the table and, where all is local, of each file's size and time of change."""
        fs, root = open_place(self.path)
        with reaching(self.path):
            parts: list[object] = [stamp(fs.info(root))]
        if not is_remote(self.path):
            rows, _, file = self._rows()
            folder = Path(root).parent
            names = [_as_found(str(row[file] or ""), str(folder), local=True) for row in rows]
            parts += [_local_stamp(folder / name) for name in names]
        return digest_of(parts)

    def describe(self) -> str:
        """The place of the table."""
        return f"image files named by {self.path}"

    def _class_of(
        self, row: Mapping[str, Any], found: cols.Columns
    ) -> tuple[int | None, str | None]:
        label = cols.whole(row[found.label], place=self.path) if found.label else None
        return label, row[found.class_name] if found.class_name else None

    def _contents(self, fs: Any, folder: str, names: list[str]) -> Iterator[tuple[bytes, str]]:
        """Bytes and error of each named file."""
        if any("://" in name for name in names):
            for name in names:
                elsewhere = "://" in name
                where = open_place(name) if elsewhere else (fs, posixpath.join(folder, name))
                yield from read_images(where[0], name if elsewhere else self.path, [where[1]])
            return
        yield from read_images(fs, self.path, (posixpath.join(folder, name) for name in names))

    def _rows(self) -> tuple[list[dict[str, Any]], cols.Columns, str]:
        """All rows, without images, the part of each column, and the column of paths."""
        fs, root = open_place(self.path)
        suffix = Path(root).suffix.lower()
        if suffix not in DELIMITERS:
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
        kinds = {name: _kind_of_texts([row[name] for row in table.rows]) for name in table.header}
        try:
            found = cols.find_columns(kinds, place=self.path, chosen=self.columns)
        except SourceError as error:
            raise SourceError(
                f"{error} The first line of a table is its header, and names its columns."
            ) from error
        refuse_line_breaks(table, found[:7], self.path)
        named = [row[found.class_name] for row in table.rows] if found.class_name else []
        if found.label is None and _are_numbers(named):
            # 0.0, 1.0, ..: labels that pandas made floats of, since one was missing for a while.
            whole = all(float(value.replace(",", ".")).is_integer() for value in named if value)
            if whole or cols.is_usual("label", found.class_name or ""):
                found = found._replace(label=found.class_name, class_name=None)
        return table.rows, found


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


def _kind_of_texts(values: list[str | None]) -> str:
    """Whole numbers if all that is there is one, else text."""
    present = [value for value in values if value]
    if present and all(value.strip().lstrip("-").isdecimal() for value in present):
        return cols.INTEGER
    return cols.TEXT


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
