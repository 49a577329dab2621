"""How MLflow is reached: one client for benchmarks (`publish.py`) and pretraining (`track.py`)."""

import logging
import os
import re
import sqlite3
import time
from collections.abc import Mapping
from contextlib import closing, suppress
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from filelock import FileLock

from tasks.environment import MachineError, set_defaults
from tasks.publishing.mlflow_database import HALF_MADE, holds_anything, is_current, stranger
from tasks.services.server import reachable
from tasks.sqlite_files import database_of, fault_of, is_full, remedy
from tasks.storage.store import Store

SETTLED_SECONDS = 10.0  # without a change: nobody sets a database up any more
NOTE = "mlflow.note.content"  # the tag that MLflow shows as the description


class TrackingError(MachineError):
    """MLflow cannot be written.

    Args:
        trouble: What is wrong.
        database: Its file, if it has one; it may be made anew from the trials.
        way_out: A sentence in the place of the usual one.
    """

    def __init__(self, trouble: str, database: Path | None, way_out: str = "") -> None:
        if database is not None:
            way_out = way_out or remedy(database, "writes a new one from the trials")
        way_out = way_out or "Run the same command again when it answers."
        super().__init__(f"MLflow cannot be written: {trouble.rstrip('.')}. {way_out}")


def connect(uri: str) -> Any:
    """A client of the tracking server or database at `uri`.

    Raises:
        ConnectionError: The server does not answer.
    """
    set_defaults()
    check_answers(uri)
    logging.getLogger("alembic").setLevel(logging.WARNING)
    from mlflow import MlflowClient

    logging.getLogger("mlflow").setLevel(logging.WARNING)
    if (database := database_of(uri)) is not None:
        database.parent.mkdir(parents=True, exist_ok=True)
        _check_file(database)
        _write_ahead(database)
    try:  # a database that is new is set up here
        return MlflowClient(tracking_uri=uri, registry_uri=uri)
    except Exception as error:
        if database is None or not HALF_MADE.search(str(error)) or holds_anything(database):
            raise
    with FileLock(database.with_name(f".{database.name}.lock")):
        _wait_until_settled(database)
        with suppress(Exception):  # somebody was just setting it up, or has mended it
            return MlflowClient(tracking_uri=uri, registry_uri=uri)
        if is_full(database.parent):
            raise TrackingError(f"{database} has no room to grow", database)
        # Whoever set it up was killed on the way, or met a full disk: no run is in it yet. It is
        # emptied where it is, as MLflow holds it open.
        with closing(sqlite3.connect(database)) as half, closing(sqlite3.connect(":memory:")) as no:
            no.backup(half)
        return MlflowClient(tracking_uri=uri, registry_uri=uri)


def check_usable(store: Store) -> None:
    """Refuses a run whose numbers could not be told to MLflow, before anything is computed.

    Raises:
        ConnectionError: Its server does not answer, or its database cannot be used; the text says
            what to do.
    """
    check_answers(store.mlflow_uri)
    database = store.mlflow_database
    if database is None or not database.exists():
        return
    try:
        _check_file(database)
        if not is_current(database):  # MLflow brings an older one up to date, or says what it is
            connect(store.mlflow_uri)
    except Exception as error:  # whatever MLflow raises
        raise ConnectionError(str(explained(error, store))) from error


def check_answers(uri: str) -> None:
    """Raises ConnectionError where MLflow is a server that does not answer.

    MLflow itself would ask for minutes, and then show a traceback.
    """
    if not uri.startswith(("http://", "https://")):
        return
    if trouble := reachable(uri):
        place = urlsplit(uri)
        shown = place._replace(netloc=place.netloc.rpartition("@")[2], query="").geturl()
        raise ConnectionError(
            f"MLFLOW_TRACKING_URI is {shown}, but no MLflow server answers there ({trouble}). "
            "Start it (`mlflow server`), or unset MLFLOW_TRACKING_URI to keep runs in the store."
        )


def explained(error: Exception, store: Store) -> Exception:
    """What MLflow raised, as a sentence with a way out."""
    if isinstance(error, MachineError | ConnectionError):
        return error
    text = str(error).strip()
    if HALF_MADE.search(text) and store.mlflow_database is not None:
        text = f"{store.mlflow_database} was written by another version of MLflow"
    return TrackingError(" ".join(text.partition("\n")[0].split())[:300], store.mlflow_database)


def _check_file(database: Path) -> None:
    """Raises TrackingError where a file is no database of this MLflow, or cannot grow."""
    if fault := fault_of(database):
        raise TrackingError(fault, database)
    if fault := stranger(database):
        # Ours is in the way; one that was named is somebody's.
        named = os.environ.get("MLFLOW_TRACKING_URI")
        other = "Name another one in MLFLOW_TRACKING_URI, or unset it to keep runs in the store."
        raise TrackingError(fault, database, other if named else "")
    if is_full(database.parent):
        raise TrackingError(f"{database} has no room to grow", database)


def _wait_until_settled(database: Path) -> None:
    """Returns when nothing has changed in a database for some seconds."""

    def state() -> list[tuple[int, int]]:
        files = (database, database.with_name(f"{database.name}-wal"))
        found = [file.stat() for file in files if file.exists()]
        return [(each.st_size, each.st_mtime_ns) for each in found]

    before, since = state(), time.monotonic()
    while time.monotonic() - since < SETTLED_SECONDS:
        time.sleep(0.1)
        if (now := state()) != before:
            before, since = now, time.monotonic()


def _write_ahead(database: Path) -> None:
    """Lets SQLite keep a log, as Prefect does: readers need not wait, and a commit is one sync."""
    with suppress(sqlite3.Error), closing(sqlite3.connect(database)) as connection:
        connection.execute("PRAGMA journal_mode=WAL")


def open_experiment(client: Any, store: Store, name: str, note: str = "") -> tuple[str, bool]:
    """Returns the id of an experiment, and whether it had to be made.

    Args:
        client: An MLflow client.
        store: Keeps the artifacts where MLflow is a plain database.
        name: Of the experiment.
        note: Its description, where it has none.
    """
    experiment = client.get_experiment_by_name(name)
    if experiment is None:
        # A tracking server keeps artifacts where it decides; a plain database has no opinion.
        local = database_of(client.tracking_uri) is not None
        place = store.mlflow_artifacts.joinpath(safe(name)).as_uri() if local else None
        tags = {NOTE: note} if note else {}
        return client.create_experiment(name, artifact_location=place, tags=tags), True
    if experiment.lifecycle_stage != "active":
        client.restore_experiment(experiment.experiment_id)
    if note and NOTE not in experiment.tags:
        client.set_experiment_tag(experiment.experiment_id, NOTE, note)
    return experiment.experiment_id, False


def end_run(client: Any, run_id: str, status: str | None = None) -> None:
    """Ends a run now, or as it began where the clock has been set back since.

    Args:
        client: An MLflow client.
        run_id: Of the run.
        status: Of MLflow; default: it finished.
    """
    began = client.get_run(run_id).info.start_time
    client.set_terminated(run_id, status=status, end_time=max(int(time.time() * 1000), began))


def ensure_model(
    client: Any, name: str, tags: Mapping[str, str] | None = None, description: str = ""
) -> None:
    """Registers a model unless it is registered.

    Args:
        client: An MLflow client.
        name: Of the model.
        tags: Of a model that is new.
        description: In Markdown; given to one that is there and has none as well.
    """
    from mlflow.exceptions import MlflowException

    try:
        client.create_registered_model(name, dict(tags or {}), description)
    except MlflowException as error:
        if error.error_code != "RESOURCE_ALREADY_EXISTS":
            raise
        if description and not client.get_registered_model(name).description:
            client.update_registered_model(name, description)


def safe(name: str, extra: str = "") -> str:
    """`name` in the letters that MLflow takes."""
    return re.sub(rf"[^\w\-. {re.escape(extra)}]", "_", name, flags=re.ASCII)


def commit_tags(commit: str | None) -> dict[str, str]:
    """The commit of the code under a name of ours, and under that which MLflow's pages show."""
    return {"git_commit": commit or "", "mlflow.source.git.commit": commit or ""}
