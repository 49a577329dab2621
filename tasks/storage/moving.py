"""A store that was copied or moved: MLflow's database says anew where its artifacts lie.

MLflow keeps absolute addresses. So before anything is written to the database of a store, or shown
from it, those that lie in another folder's `mlartifacts` are rewritten to this one's, in one
transaction. What lies elsewhere, on a server or in a bucket, is left alone. Of two copies each has
a database of its own, and so neither writes into the other.
"""

import json
import os
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from urllib.parse import urlsplit
from urllib.request import url2pathname

from tasks.sqlite_files import fault_of
from tasks.storage.store import Store

BUSY_SECONDS = 60.0
ADDRESSES = (
    ("experiments", "artifact_location"),
    ("runs", "artifact_uri"),
    ("model_versions", "source"),
    ("model_versions", "storage_location"),
    ("logged_models", "artifact_location"),
)
_SOURCE = '{"uri": "'  # how `tasks/publishing/dataset_inputs.py` begins where a dataset lies


def settle(store: Store) -> tuple[str, ...]:
    """Has the database of a store, and the notes beside it, be those of this folder.

    Returns:
        The folders that it was in before; none where it did not move.

    Raises:
        sqlite3.Error: The database cannot be written.
    """
    before = moved_from(store)
    if not before:
        return ()
    with closing(sqlite3.connect(store.home / "mlflow.db", timeout=BUSY_SECONDS)) as database:
        database.isolation_level = None
        database.execute("BEGIN IMMEDIATE")
        try:
            for root in before:
                _rewrite(database, root, store.home.as_uri())
        except BaseException:
            database.execute("ROLLBACK")
            raise
        database.execute("COMMIT")
    # A copy has the times of its making, by which receipts could be older than their trials.
    for receipt in store.published.glob("*.json") if store.published.is_dir() else ():
        os.utime(receipt)
    return tuple(url2pathname(urlsplit(root).path) for root in before)


def moved_from(store: Store) -> tuple[str, ...]:
    """Roots, as URIs, of which the database of a store says that its experiments lie there."""
    path = store.home / "mlflow.db"
    if store.mlflow_database != path or not path.exists() or fault_of(path):
        return ()
    with closing(sqlite3.connect(f"{path.as_uri()}?mode=ro", uri=True)) as database:
        try:
            rows = database.execute("SELECT artifact_location FROM experiments").fetchall()
        except sqlite3.Error:  # it has no such table yet
            return ()
    return tuple(dict.fromkeys(_roots(store, rows)))


def _roots(store: Store, rows: list[tuple[str]]) -> Iterator[str]:
    """Where experiments lie that Shotboard made, but for those that lie here."""
    here = store.home.as_uri()
    for (location,) in rows:
        root, found, name = (location or "").rpartition(f"/{store.mlflow_artifacts.name}/")
        if found and "/" not in name and root.startswith("file:") and root != here:
            yield root


def _rewrite(database: sqlite3.Connection, old: str, new: str) -> None:
    """Replaces the beginnings of all addresses.

    Args:
        database: In a transaction.
        old: URI of the folder that the store was in.
        new: URI of the folder that it is in.
    """
    for table, column in ADDRESSES:
        _replace(database, table, column, f"{old}/", f"{new}/")
    places = (json.dumps(url2pathname(urlsplit(uri).path))[1:-1] for uri in (old, new))
    before, after = (f"{_SOURCE}{place}/" for place in places)
    _replace(database, "datasets", "dataset_source", before, after)


def _replace(
    database: sqlite3.Connection, table: str, column: str, before: str, after: str
) -> None:
    """Replaces a beginning in a column, where this version of MLflow has it.

    Args:
        database: In a transaction.
        table: Of ours.
        column: Likewise.
        before: What values begin with.
        after: What they begin with then.
    """
    if column not in {row[1] for row in database.execute(f"PRAGMA table_info({table})")}:
        return
    database.execute(
        f"UPDATE {table} SET {column} = ? || substr({column}, ?) WHERE substr({column}, 1, ?) = ?",
        (after, len(before) + 1, len(before), before),
    )
