"""Image files named by a table: a CSV, TSV or Parquet file beside them."""

import csv
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from io import StringIO
from pathlib import Path
from typing import Any

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
from data_catalog.sources.parquet import open_parquet

DELIMITERS = {".csv": ",", ".tsv": "\t"}


@dataclass(frozen=True)
class Manifest:
    """A table whose rows name an image file and its class, in the order of the table.

    Paths are relative to the folder of the table; absolute paths and URLs are taken as they
    are. A row whose file is missing is kept as a bad image, for ingestion to quarantine.

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
        names = [str(row[file] or "") for row in rows]
        contents = self._contents(fs, folder, names)
        for number, (row, name, (image, error)) in enumerate(
            zip(rows, names, contents, strict=True), start=1
        ):
            label = row[found.label] if found.label else None
            yield Example(
                image=image,
                path=name or f"row {number}",
                label=cols.whole(label, place=self.path),
                class_name=row[found.class_name] if found.class_name else None,
                split=row[found.split] if found.split else None,
                domain=row[found.domain] if found.domain else None,
                extras={column: row[column] for column in found.extras},
                error=error,
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
            rows, _, file = self._rows()
            folder = Path(root).parent
            parts += [_local_stamp(folder / str(row[file] or "")) for row in rows]
        return digest_of(parts)

    def describe(self) -> str:
        """The place of the table."""
        return f"image files named by {self.path}"

    def _contents(self, fs: Any, folder: str, names: list[str]) -> Iterator[tuple[bytes, str]]:
        """Bytes and error of each named file."""
        if any("://" in name for name in names):
            for name in names:
                elsewhere = "://" in name
                where = open_place(name) if elsewhere else (fs, f"{folder}/{name}")
                yield from read_images(where[0], name if elsewhere else self.path, [where[1]])
            return
        paths = (name if name.startswith("/") else f"{folder}/{name}" for name in names)
        yield from read_images(fs, self.path, paths)

    def _rows(self) -> tuple[list[dict[str, Any]], cols.Columns, str]:
        """All rows, without images, the part of each column, and the column of paths."""
        fs, root = open_place(self.path)
        delimiter = DELIMITERS.get(Path(root).suffix.lower())
        if delimiter is None:
            with open_parquet(fs, root, self.path) as file:
                rows, kinds = file.read().to_pylist(), cols.kinds_of(file.schema_arrow)
        else:
            with reaching(self.path):
                content = fs.cat_file(root)
            rows, kinds = _parse(content, delimiter, self.path)
        found = cols.find_columns(kinds, place=self.path, chosen=self.columns)
        if found.file is None:
            raise SourceError(
                f"{self.path} holds the images themselves, in column {found.image!r}, and is no "
                "manifest of files. Read it as ParquetImages."
            )
        return rows, found, found.file


def _parse(
    content: bytes, delimiter: str, place: str
) -> tuple[list[dict[str, Any]], dict[str, str]]:
    """Rows of a CSV with a header, and the type of each column: whole numbers or text."""
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise SourceError(f"{place} is not UTF-8 text ({error}). Save it as UTF-8.") from error
    reader = csv.reader(StringIO(text, newline=""), delimiter=delimiter)
    table = [line for line in reader if line]
    if len(table) < 2:
        raise SourceError(f"{place} has no rows below its header. Give one row an image.")
    header, lines = [name.strip() for name in table[0]], table[1:]
    for number, line in enumerate(lines, start=2):
        if len(line) != len(header):
            raise SourceError(
                f"{place}, record {number}: {len(line)} fields, while the header names "
                f"{len(header)}. Quote fields that hold the delimiter."
            )
    rows = [{k: v or None for k, v in zip(header, line, strict=True)} for line in lines]
    kinds = {name: _kind_of_texts([row[name] for row in rows]) for name in header}
    return rows, kinds


def _kind_of_texts(values: list[str | None]) -> str:
    """Whole numbers if all that is there is one, else text."""
    present = [value for value in values if value]
    if present and all(value.strip().lstrip("-").isdecimal() for value in present):
        return cols.INTEGER
    return cols.TEXT


def _local_stamp(path: Path) -> tuple[int, int] | None:
    """Size and time of change of a file, None where it is missing."""
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_size, status.st_mtime_ns
