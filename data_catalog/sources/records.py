"""Rows of one table of any format, with the type of each column."""

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import PurePosixPath
from typing import Any, NamedTuple

from data_catalog.sources import columns as cols
from data_catalog.sources.base import SourceError, reaching, without_query
from data_catalog.sources.delimited import DELIMITERS, DelimitedTable, read_table
from data_catalog.sources.parquet import open_parquet

LINES_SUFFIX = ".jsonl"
SUFFIXES = (*DELIMITERS, LINES_SUFFIX, ".json", ".parquet")
_BATCH_ROWS = 4096


class Records(NamedTuple):
    """A table that is open.

    Attributes:
        kinds: Type of each column, as `columns` has them, in table order.
        rows: Every row; a Parquet file is read as they are asked for.
        schema: Of a Parquet file, else None.
        table: What was read of a CSV or TSV, else None.
    """

    kinds: dict[str, str]
    rows: Iterator[Mapping[str, Any]]
    schema: Any = None
    table: DelimitedTable | None = None

    def names_of(self, label: str | None) -> tuple[str, ...] | None:
        """Names of the labels in a column, where the metadata of the table has them."""
        return cols.class_label_names(self.schema, label) if self.schema is not None else None


@contextmanager
def open_records(
    fs: Any, path: str, place: str, chosen: Mapping[str, str] | None = None
) -> Iterator[Records]:
    """Opens a table of texts by its suffix: CSV, TSV, JSON Lines, a JSON list, or Parquet.

    Args:
        fs: File system of the path.
        path: Path as `fs` uses it.
        place: What to call the table in errors.
        chosen: Column by part, as the user named them, by which a header is known.

    Raises:
        SourceError: It is no such table, or damaged; the message has the line.
    """
    suffix = PurePosixPath(without_query(path)).suffix.lower()
    if suffix == ".parquet":
        with open_parquet(fs, path, place) as file:
            batches = file.iter_batches(_BATCH_ROWS)
            rows = (row for batch in batches for row in batch.to_pylist())
            yield Records(cols.kinds_of(file.schema_arrow), rows, file.schema_arrow)
        return
    with reaching(place):
        content = bytes(fs.cat_file(path))
    if suffix in DELIMITERS:
        known = cols.known_names(chosen, texts=True)
        table = read_table(content, suffix, place, known=known, prose=True)
        kinds = kinds_of_table(table)
        yield Records(kinds, iter(table.rows), None, table)
    elif suffix in (LINES_SUFFIX, ".json"):
        kinds, rows = read_objects(content, place)
        yield Records(kinds, iter(rows))
    else:
        raise SourceError(f"{place} is no table. Give one that ends in {', '.join(SUFFIXES)}.")


def read_objects(content: bytes, place: str) -> tuple[dict[str, str], list[dict[str, Any]]]:
    """Reads a JSON Lines file, or a file that is one JSON list of objects.

    Args:
        content: Of the file, in UTF-8.
        place: What to call the file in errors.

    Returns:
        Type of each key, and the objects, in which what one of them lacks is None.

    Raises:
        SourceError: It is neither; the message has the line.
    """
    content = content.removeprefix(b"\xef\xbb\xbf")
    if content.lstrip()[:1] == b"[":
        found = [(1, _parsed(content, 1, place))]
        if isinstance(found[0][1], list):
            found = [(number, each) for number, each in enumerate(found[0][1], start=1)]
    else:
        lines = enumerate(content.split(b"\n"), start=1)
        found = [(at, _parsed(line, at, place)) for at, line in lines if line.strip()]
    for at, each in found:
        if not isinstance(each, dict):
            raise SourceError(
                f"{place}, line {at}: {each!r:.60} is no object. Give one object an example, such "
                'as {"text": "..", "label": 0}.'
            )
    if not found:
        raise SourceError(f"{place} has no rows. Give one object an example.")
    objects = [each for _, each in found]
    kinds = _kinds_of_objects(objects)
    return kinds, [{name: each.get(name) for name in kinds} for each in objects]


def _parsed(line: bytes, number: int, place: str) -> Any:
    try:
        return json.loads(line.decode())
    except (ValueError, RecursionError) as error:  # a wrong encoding is a ValueError too
        reason = str(error) or type(error).__name__
        raise SourceError(
            f"{place}, line {number}: it is no JSON in UTF-8 ({reason}). Correct the line."
        ) from error


def _kinds_of_objects(objects: Sequence[Mapping[str, Any]]) -> dict[str, str]:
    """Type of each key, of whole numbers and texts mixed that of texts."""
    seen: dict[str, set[type]] = {}
    for each in objects:
        for name, value in each.items():
            seen.setdefault(name, set()).add(type(value))
    return {name: _kind_of_types(types - {type(None)}) for name, types in seen.items()}


def _kind_of_types(types: set[type]) -> str:
    if types <= {int}:
        return cols.INTEGER
    if types <= {int, float}:
        return cols.FLOAT
    if types == {bool}:
        return cols.SCALAR
    return cols.TEXT if types <= {str, int, float, bool} else cols.OTHER


def kinds_of_table(table: DelimitedTable) -> dict[str, str]:
    """Type of each column of a CSV or TSV."""
    return {name: _kind_of_texts([row[name] for row in table.rows]) for name in table.header}


def _kind_of_texts(values: Sequence[str | None]) -> str:
    """Whole numbers if all that is there is one, else text."""
    present = [value for value in values if value]
    if present and all(value.strip().lstrip("-").isdecimal() for value in present):
        return cols.INTEGER
    return cols.TEXT
