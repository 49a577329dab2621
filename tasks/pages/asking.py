"""Questions to the published board in SQL: columns of names of their own, values as they are.

DuckDB knows more values than Python: infinite times, dates beyond the year 9999, unions. So it
writes them as text itself; only what both know (whole numbers, doubles, truth) comes as values.
Rows are handed out in batches, so that an answer of any length takes little memory.
"""

import json
import math
import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, NamedTuple

from operators.board import current_version, stored_version
from tasks.pages.known import protocol_rows, track_rows
from tasks.storage.store import Store

if TYPE_CHECKING:
    import pyarrow as pa
    from duckdb import DuckDBPyConnection, DuckDBPyRelation

Row = tuple[Any, ...]

_READ_ONLY: dict[str, Any] = {
    "enable_external_access": "false",
    "python_enable_replacements": "false",
    "lock_configuration": "true",
}
# MULTI is a PIVOT whose columns are looked up first.
_READING = {"SELECT", "EXPLAIN", "PRAGMA", "CALL", "MULTI"}
_BATCH = 2048  # rows
_EXCERPT = "\n\nLINE "  # of an error of DuckDB: from here on it shows the SQL

_NATIVE = {"tinyint", "smallint", "integer", "bigint", "utinyint", "usmallint", "uinteger"}
_WHOLE = {*_NATIVE, "ubigint", "hugeint", "uhugeint", "bignum"}
_FLOATS = {"float", "double"}
_NESTED = {"list", "array", "struct", "map", "union", "variant"}
# What a Parquet file keeps as it is; every other type is there as text.
_IN_PARQUET = {
    *_NATIVE,
    *_FLOATS,
    *("ubigint", "boolean", "varchar", "blob", "decimal", "date", "time"),
    *("timestamp", "timestamp_s", "timestamp_ms", "timestamp_ns", "timestamp with time zone"),
}
_HOLDERS = {"list", "array", "struct", "map"}  # kept as they are where all inside is


class BoardError(ValueError):
    """A request to the board that cannot be answered; its text says why and what to do.

    Attributes:
        excerpt: The line of the SQL with a mark below what is wrong with it; may be empty.
    """

    def __init__(self, text: str, excerpt: str = "") -> None:
        super().__init__(text)
        self.excerpt = excerpt


class QueryError(BoardError):
    """SQL that the board has no answer to: it is wrong, or asks for what is not there."""


class Column(NamedTuple):
    """A column of an answer.

    Attributes:
        name: Its own: where SQL gave a name twice, the later ones are `a_1`, `a_2`.
        numeric: Whether it holds numbers.
    """

    name: str
    numeric: bool


class Answer:
    """What the board says; its rows can be read once.

    Attributes:
        columns: In the order of the SQL.
    """

    def __init__(self, connection: "DuckDBPyConnection", relation: "DuckDBPyRelation") -> None:
        self._connection, self._relation = connection, relation
        self._types = list(relation.types)
        names = distinct(relation.columns)
        numbers = _WHOLE | _FLOATS | {"decimal"}
        self.columns = [
            Column(name, kind.id in numbers) for name, kind in zip(names, self._types, strict=True)
        ]

    def texts(self) -> Iterator[list[Row]]:
        """Batches of rows in which every value is DuckDB's exact text; None for NULL."""
        return self._batches([f"{place}::VARCHAR" for place in self._places])

    def values(self) -> Iterator[list[Row]]:
        """Batches of rows for a person to read: doubles as such, whatever else is exact as text."""
        casts = {**dict.fromkeys(_NATIVE, ""), **dict.fromkeys(_FLOATS, "::DOUBLE")}
        return self._batches(
            [
                f"{place}{casts.get(kind.id, '::VARCHAR')}"
                for place, kind in zip(self._places, self._types, strict=True)
            ]
        )

    def plain(self) -> Iterator[list[Row]]:
        """Batches of rows as JSON has them: times as ISO text, a number that is none as None."""
        known = _NATIVE | {"double", "boolean"}
        asked, readers = [], []
        for place, kind in zip(self._places, self._types, strict=True):
            text = f"to_json({place})::VARCHAR" if kind.id in _NESTED else f"{place}::VARCHAR"
            asked.append(place if kind.id in known else text)
            readers.append(_reader(kind.id))
        for batch in self._batches(asked):
            columns = [
                column if read is None else [None if x is None else read(x) for x in column]
                for column, read in zip(zip(*batch, strict=True), readers, strict=True)
            ]
            yield list(zip(*columns, strict=True))

    def arrow(self) -> "pa.RecordBatchReader":
        """The rows for a Parquet file: types as they are where it has them, else text."""
        asked = [
            place if _fits_parquet(kind) else f"{place}::VARCHAR"
            for place, kind in zip(self._places, self._types, strict=True)
        ]
        return self._select(asked).to_arrow_reader(_BATCH * 32)

    @property
    def _places(self) -> list[str]:
        return [f"#{index}" for index in range(1, len(self._types) + 1)]

    def _select(self, asked: Sequence[str]) -> "DuckDBPyRelation":
        named = [
            f'{what} AS "{column.name.replace(chr(34), chr(34) * 2)}"'
            for what, column in zip(asked, self.columns, strict=True)
        ]
        return self._relation.project(", ".join(named))

    def _batches(self, asked: Sequence[str]) -> Iterator[list[Row]]:
        # A relation gives all of its rows at once, a statement gives them as they are fetched.
        result = self._connection.execute(self._select(asked).sql_query())
        while batch := result.fetchmany(_BATCH):
            yield batch


@contextmanager
def ask(store: Store, sql: str) -> Iterator[Answer]:
    """Runs SQL on the published board, which it cannot change.

    Only the board can be read: files, other databases and settings are out of reach.

    Args:
        store: Whose board.
        sql: One statement.

    Raises:
        BoardError: There is no board, the SQL is wrong or several statements, or it would write;
            also while rows are read.
    """
    try:
        sql.encode()
    except UnicodeEncodeError as error:
        wrong = ord(sql[error.start])  # a byte of another encoding, or half of a pair of UTF-16
        what = f"the byte {wrong - 0xDC00:02x}" if wrong >= 0xDC80 else f"U+{wrong:04X}"
        raise BoardError(
            f"the SQL is not UTF-8: character {error.start + 1} is {what}. Write it in UTF-8."
        ) from None
    with reading(store) as connection:
        with _with_excerpt(connection):
            _check_kinds([each.type.name for each in connection.extract_statements(sql)])
            relation = connection.sql(_without_end(sql))
        if relation is None:
            raise BoardError("this statement gives no rows. Use SELECT.")
        yield Answer(connection, relation)


def rows(store: Store, sql: str) -> list[dict[str, Any]]:
    """The whole answer as mappings that `json` can write.

    Args:
        store: Whose board.
        sql: One statement.

    Raises:
        BoardError: As `ask`.
    """
    with ask(store, sql) as answer:
        names = [column.name for column in answer.columns]
        return [dict(zip(names, row, strict=True)) for batch in answer.plain() for row in batch]


def own_rows(store: Store, sql: str) -> list[dict[str, Any]]:
    """Answers to SQL of ours, which every board of this version has.

    Args:
        store: Whose board.
        sql: One statement.

    Raises:
        BoardError: There is no board, it cannot be read, or it is of another version.
    """
    try:
        return rows(store, sql)
    except QueryError as error:
        raise BoardError(
            f"the board {store.board} was made by another version of Shotboard: `shotboard board "
            "--rebuild` makes it anew from the trials, whose numbers stay."
        ) from error


@contextmanager
def reading(store: Store) -> "Iterator[DuckDBPyConnection]":
    """Opens the published board, read only; what DuckDB raises becomes a `BoardError`.

    Raises:
        KeyboardInterrupt: Ctrl-C stopped a statement.
    """
    import duckdb

    if not store.board.is_file():
        raise BoardError(f"no board yet at {store.board}: run `shotboard run`.")
    try:
        with duckdb.connect(store.board, read_only=True, config=_READ_ONLY) as connection:
            yield connection
    except duckdb.IOException as error:
        raise BoardError(
            f"{one_paragraph(error)} `shotboard board --rebuild` makes the board anew from "
            "the trials, also while another program holds this file."
        ) from error
    except duckdb.Error as error:
        raise BoardError(one_paragraph(str(error).partition(_EXCERPT)[0])) from error
    except RuntimeError as error:
        # What DuckDB raises after Ctrl-C, which it takes for itself while a statement runs.
        if str(error) == "Query interrupted":
            raise KeyboardInterrupt from error
        raise


@contextmanager
def _with_excerpt(connection: "DuckDBPyConnection") -> Iterator[None]:
    """Adds where in the SQL the trouble is; once it runs, that would be a place in ours.

    What is not there may be what a board of another version lacks.
    """
    import duckdb

    try:
        yield
    except duckdb.IOException:
        raise
    except duckdb.Error as error:
        text, mark, excerpt = str(error).partition(_EXCERPT)
        said = one_paragraph(text)
        absent = isinstance(error, duckdb.CatalogException | duckdb.BinderException)
        if absent and not _is_current(connection):
            said += (
                " The board was made by another version of Shotboard: `shotboard board --rebuild` "
                "makes it anew."
            )
        raise QueryError(said, (mark + excerpt).strip()) from error


def _is_current(connection: "DuckDBPyConnection") -> bool:
    """Whether a board has the tables and views of this version."""
    code = {"tracks": track_rows(), "protocols": protocol_rows()}
    return stored_version(connection) == current_version(**code)


def _without_end(sql: str) -> str:
    """The statement without semicolons after it, so that it can stand inside of another."""
    import duckdb

    for place, kind in reversed(duckdb.tokenize(sql)):
        if sql.encode()[place : place + 1] == b";":
            sql = sql.encode()[:place].decode()
        elif kind != duckdb.token_type.comment:
            break
    return sql


def _check_kinds(kinds: Sequence[str]) -> None:
    """Raises where SQL is not one statement that reads.

    Raises:
        BoardError: Says what it is, and what to do.
    """
    if not kinds:
        raise BoardError("the SQL is empty. Try: SELECT * FROM leaderboard")
    for kind in kinds:
        if kind not in _READING:
            raise BoardError(
                f"{kind} is refused: the board is read only, for it is made from the "
                "trial folders. Use SELECT; to write a file, use `shotboard sql -o FILE`."
            )
    if len(kinds) > 1:
        raise BoardError(
            f"the SQL holds {len(kinds)} statements, but one answer is given. Ask one at a "
            "time, or join their rows with UNION ALL BY NAME."
        )


def distinct(names: Sequence[str]) -> list[str]:
    """Names of which no two are the same, however they are spelt: `a`, `A` is `a`, `A_1`."""
    taken = {name.casefold() for name in names}
    seen: set[str] = set()
    found = []
    for name in names:
        own, count = name, 0
        while own.casefold() in seen or (count and own.casefold() in taken):
            count += 1
            own = f"{name}_{count}"
        seen.add(own.casefold())
        found.append(own)
    return found


def one_paragraph(text: object) -> str:
    """What DuckDB says, without its line breaks."""
    return " ".join(str(text).split())


def _fits_parquet(kind: Any) -> bool:
    if kind.id in _HOLDERS:
        return all(_fits_parquet(inner) for _, inner in kind.children if hasattr(inner, "id"))
    return kind.id in _IN_PARQUET


def _reader(kind: str) -> Callable[[Any], Any] | None:
    """From a value as it was asked for to that of JSON; None where they are the same."""
    if kind in _NESTED:
        return lambda text: _finite(json.loads(text))
    if kind in _FLOATS:
        return lambda value: _finite(float(value))
    if kind in _WHOLE - _NATIVE:
        return int
    if kind == "decimal":
        return _decimal
    if kind.startswith("timestamp"):
        return lambda text: re.sub(r"^(\S+) (\d\d:)", r"\1T\2", text)
    return None


def _decimal(text: str) -> int | float:
    whole, _, rest = text.partition(".")
    return float(text) if rest.strip("0") else int(whole)


def _finite(value: Any) -> Any:
    """A value of JSON without what JSON has no word for."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, dict):
        return {key: _finite(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [_finite(inner) for inner in value]
    return value
