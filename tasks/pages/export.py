"""The whole board as Parquet files, for programs that read no DuckDB, with a README of columns."""

import shutil
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple
from uuid import uuid4

from operators.files import at_home
from tasks.pages.asking import Answer, reading
from tasks.plain_text import Marked, in_code, markdown_table
from tasks.storage.store import Store

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

_RELATIONS = """
SELECT table_name AS name, 'table' AS kind, comment FROM duckdb_tables() WHERE NOT internal
UNION ALL
SELECT view_name, 'view', comment FROM duckdb_views() WHERE NOT internal
ORDER BY kind DESC, name
"""
_COLUMNS = """
SELECT column_name, data_type, comment FROM duckdb_columns()
WHERE NOT internal AND table_name = ? ORDER BY column_index
"""


class Exported(NamedTuple):
    """What an export wrote: rows by table or view."""

    folder: Path
    rows: dict[str, int]


def export(store: Store, folder: Path) -> Exported:
    """Writes one Parquet file for each table and view of the published board, and a README.

    All are of one board, also where another is published meanwhile. The folder is there whole or
    not at all.

    Args:
        store: Whose board.
        folder: A new one.

    Raises:
        ValueError: The folder holds something, or cannot be written.
        BoardError: There is no board, or it cannot be read.
    """
    place = at_home(folder).resolve()
    if place.exists() and not place.is_dir():
        raise ValueError(f"{folder} is a file, and a folder is written. Name a new folder.")
    if place.exists() and any(place.iterdir()):
        raise ValueError(f"{folder} is there and not empty. Name a new folder, or remove it first.")
    draft = place.with_name(f".{place.name}.{uuid4().hex}")
    try:
        draft.mkdir(parents=True)
        with reading(store) as connection:
            rows = {
                name: _write(connection, name, draft / f"{name}.parquet")
                for name, _, _ in connection.execute(_RELATIONS).fetchall()
            }
            (draft / "README.md").write_text(_readme(connection, rows), encoding="utf-8")
        draft.replace(place)
    except OSError as error:
        raise ValueError(
            f"{folder} cannot be written: {error.strerror or error}. Name another folder."
        ) from error
    finally:
        shutil.rmtree(draft, ignore_errors=True)
    return Exported(place, rows)


def _write(connection: "DuckDBPyConnection", name: str, path: Path) -> int:
    import pyarrow.parquet as pq

    reader, count = Answer(connection, connection.sql(f'FROM "{name}"')).arrow(), 0
    with pq.ParquetWriter(path, reader.schema, compression="zstd") as writer:
        for batch in reader:
            writer.write_batch(batch)
            count += batch.num_rows
    return count


def _readme(connection: "DuckDBPyConnection", rows: dict[str, int]) -> str:
    """What every file and every column means."""
    parts = [
        "# The board as Parquet\n",
        "One file a table and view. Scores are in the unit of their metric, shares in 0..1; times "
        "are UTC.\n",
    ]
    for name, kind, comment in connection.execute(_RELATIONS).fetchall():
        parts.append(f"## {name}.parquet\n")
        parts.append(f"A {kind} of {rows[name]:,} rows. {comment or ''}".rstrip() + "\n")
        columns = connection.execute(_COLUMNS, [name]).fetchall()
        lines = ((Marked(in_code(column)), kind_of, said) for column, kind_of, said in columns)
        parts.append(markdown_table(("column", "type", "meaning"), lines))
    return "\n".join(parts)
