"""Histories in databases: flow runs of Prefect, and what lies in MLflow's bin.

Each is cleared by the tool that it belongs to, in a process of its own: by Prefect's vacuum, and by
`mlflow gc`. What that leaves empty in a file is given back to the disk, unless the file is in use.
"""

import os
import sqlite3
import subprocess
import sys
import time
from collections.abc import Sequence
from contextlib import closing, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple
from urllib.parse import unquote, urlsplit

from tasks.environment import own_code
from tasks.services.server import schema_is_current, without_prefect
from tasks.sqlite_files import database_url, fault_of
from tasks.storage.moving import settle
from tasks.storage.store import Store

HOUR = 3600.0  # the youngest that Prefect's vacuum takes
_ENDED = "('COMPLETED', 'CANCELLED', 'FAILED', 'CRASHED')"


class Bin(NamedTuple):
    """Runs in MLflow's bin.

    Attributes:
        ids: Of those whose artifacts lie in the store.
        size: Bytes of their artifacts.
        used_at: When the last of them was thrown away, in seconds since the epoch.
    """

    ids: tuple[str, ...]
    size: int
    used_at: float


def flow_runs(store: Store, since: float) -> int:
    """How many flow runs of the store's own Prefect had ended by a time.

    Args:
        store: Whose.
        since: In seconds since the epoch.
    """
    database = store.prefect / "prefect.db"
    if not database.is_file() or fault_of(database) or not schema_is_current(store.prefect):
        return 0
    before = datetime.fromtimestamp(min(since, time.time() - HOUR - 1), UTC)
    asked = (
        f"SELECT count(*) FROM flow_run WHERE state_type IN {_ENDED} "
        "AND parent_task_run_id IS NULL AND end_time < ?"
    )
    ((count,),) = _ask(database, asked, (before.strftime("%Y-%m-%d %H:%M:%S"),)) or ((0,),)
    return count


def clear_flow_runs(store: Store, since: float) -> int:
    """Removes them; returns the bytes that were freed.

    Args:
        store: Whose.
        since: In seconds since the epoch.

    Raises:
        OSError: Prefect could not.
    """
    database = store.prefect / "prefect.db"
    seconds = max(time.time() - since, HOUR + 1)
    environment = without_prefect(os.environ) | {
        "PREFECT_HOME": str(store.prefect),
        "PREFECT_SERVER_DATABASE_CONNECTION_URL": database_url(database, "aiosqlite"),
        "PREFECT_SERVER_DATABASE_TIMEOUT": "60",
        "PREFECT_SERVER_DATABASE_MIGRATE_ON_START": "false",
        "PREFECT_SERVER_SERVICES_DB_VACUUM_RETENTION_PERIOD": f"{seconds:.0f}",
    }
    return _cleared(database, ["tasks.cleaning.vacuum"], environment, "Prefect")


def runs_in_bin(store: Store, since: float) -> Bin:
    """The runs that lie in the bin of the store's own MLflow since a time at least.

    Args:
        store: Whose.
        since: In seconds since the epoch.
    """
    database = store.mlflow_database
    if database is None or not database.is_file() or fault_of(database):
        return Bin((), 0, since)
    asked = (
        "SELECT run_uuid, artifact_uri, deleted_time FROM runs WHERE lifecycle_stage = 'deleted' "
        "AND deleted_time < ?"
    )
    # `mlflow gc` removes what the address names: in a store that was copied, that of another one.
    found = [
        (run_id, folder, deleted)
        for run_id, uri, deleted in _ask(database, asked, (since * 1000,))
        if (folder := _local(uri)).is_relative_to(store.mlflow_artifacts)
    ]
    size = sum(p.stat().st_size for _, f, _ in found for p in f.rglob("*") if p.is_file())
    last = max((deleted for _, _, deleted in found), default=0)
    return Bin(tuple(run_id for run_id, _, _ in found), size, last / 1000)


def empty_bin(store: Store, since: float) -> int:
    """Removes them; returns the bytes that were freed.

    Args:
        store: Whose.
        since: In seconds since the epoch.

    Raises:
        OSError: MLflow could not.
    """
    database = store.mlflow_database
    assert database is not None
    settle(store)
    found = runs_in_bin(store, since)
    environment = without_prefect(os.environ) | {"MLFLOW_TRACKING_URI": store.mlflow_uri}
    freed = found.size
    for start in range(0, len(found.ids), 100):  # a command is only so long
        ids = ",".join(found.ids[start : start + 100])
        command = ["mlflow", "gc", "--backend-store-uri", store.mlflow_uri, "--run-ids", ids]
        freed += _cleared(database, command, environment, "MLflow")
    return freed


def _local(uri: str) -> Path:
    """The folder that an address of artifacts names."""
    return Path(os.path.normpath(unquote(urlsplit(uri or "").path) or "/"))


def _ask(database: Path, sql: str, values: Sequence[object]) -> list[tuple]:
    """Rows of a database that is only read; none where it cannot be."""
    with suppress(sqlite3.Error):
        url = f"{database.as_uri()}?mode=ro"
        with closing(sqlite3.connect(url, uri=True, timeout=10)) as connection:
            return connection.execute(sql, tuple(values)).fetchall()
    return []


def _cleared(database: Path, command: list[str], environment: dict[str, str], tool: str) -> int:
    """Runs a module that clears a database; returns the bytes by which its files shrank."""
    before = _size(database)
    done = subprocess.run(
        [sys.executable, "-m", *command],
        env=environment | own_code(environment),
        cwd=database.parent,
        capture_output=True,
        text=True,
        errors="replace",
    )
    if done.returncode:
        said = [line for line in done.stderr.splitlines() if line.strip()] or ["it said nothing"]
        raise OSError(f"{tool} could not clear it: {said[-1].strip()}")
    # Where a server has the file open, its empty pages are used again instead.
    with suppress(sqlite3.Error), closing(sqlite3.connect(database, timeout=1)) as connection:
        connection.execute("VACUUM")
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    return max(0, before - _size(database))


def _size(database: Path) -> int:
    files = (database, database.with_name(f"{database.name}-wal"))
    return sum(file.stat().st_size for file in files if file.is_file())
