"""What the board needs of an open DuckDB connection, and how it writes through one."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Protocol, runtime_checkable

import pyarrow as pa


@runtime_checkable
class Connection(Protocol):
    """The part of `duckdb.DuckDBPyConnection` in use here."""

    def execute(self, query: Any, parameters: Any = None, /) -> Any:
        """Runs SQL; results are read whole with `fetchall`.

        Args:
            query: One statement of SQL.
            parameters: Values of its `?` in order, or of its `$names` by name.
        """
        ...

    def sql(self, query: Any, /) -> Any:
        """Runs one SELECT; `to_arrow_table` of what it gives has the rows."""
        ...

    def register(self, view_name: str, python_object: object, /) -> Any:
        """Gives a pyarrow table a name in SQL.

        Args:
            view_name: What SQL calls it.
            python_object: A pyarrow table.
        """
        ...

    def unregister(self, view_name: str, /) -> Any:
        """Takes that name away."""
        ...


@contextmanager
def transaction(connection: Connection) -> Iterator[None]:
    """All that happens in the block, or nothing of it where the block raises."""
    connection.execute("BEGIN TRANSACTION")
    try:
        yield
    except BaseException:
        connection.execute("ROLLBACK")
        raise
    connection.execute("COMMIT")


@contextmanager
def named(connection: Connection, rows: pa.Table) -> Iterator[None]:
    """Makes `rows` readable in SQL as `incoming`.

    Args:
        connection: An open DuckDB connection.
        rows: Read in SQL until the block ends; the name is taken away then.
    """
    connection.register("incoming", rows)
    try:
        yield
    finally:
        connection.unregister("incoming")


def insert(connection: Connection, table: str, rows: pa.Table) -> None:
    """Adds `rows` to `table` by the names of their columns.

    Args:
        connection: An open DuckDB connection to a board.
        table: Of `schema.sql`.
        rows: Columns that are not among its own are refused; those that are missing become NULL.
    """
    with named(connection, rows):
        connection.execute(f"INSERT INTO {table} BY NAME SELECT * FROM incoming")
