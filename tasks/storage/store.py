"""The store: where every artifact of Shotboard lies, and how it is written once.

Layout under `SHOTBOARD_HOME` (default `.shotboard/`):

    datasets/<name>.yaml                    cards registered with `shotboard datasets add`
    data/<dataset>/<fingerprint>/           an ingested dataset
    data/<dataset>/current.json             which fingerprint the name stands for
    features/<backbone>/<dataset>/..        frozen features
    trials/<trial_id>/                      a completed trial (operators/trials/results.py)
    leases/                                 who computes what (tasks/storage/leases.py)
    failures/<trial_id>.json                the last error of a trial that did not complete
    replaced/<when>/<trial_id>/             trials that `run --fresh` computed again, and torn ones
    downloads/                              archives that were fetched and unpacked
    plans/<digest>.json                     a plan as it was made (tasks/planning/kept.py)
    runs/<run_id>.json                      one run of a suite: its trials and when
    runs/<run_id>.numbers.parquet           the numbers that it saw
    reproductions/<trial_id>/<digest>/      another store's result of a trial that is here
    published/<cell_id>.json                the MLflow run of a cell
    pretraining/<run_id>/                   a pretraining; see tasks/pretraining/pretrain_run.py
    leaderboard.duckdb                      the board
    mlflow.db, mlartifacts/                 MLflow
    prefect/                                the database of our Prefect servers
    up/                                     the logs of `shotboard up`
"""

import json
import os
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import unquote

from operators.files import write_atomic
from tasks.plain_text import without_secrets
from tasks.sqlite_files import database_of, database_url

_NOT_IN_DUCKDB = set("?\\") - {os.sep}  # it takes them for a query and for a slash
_MLFLOW_SERVERS = ("http:", "https:", "databricks")


def nearest(path: Path) -> Path:
    """The path itself, or the first folder above it that is there."""
    return next(each for each in (path, *path.parents) if each.exists())


@dataclass(frozen=True)
class Store:
    """Paths of one store. Creating the object touches nothing.

    Attributes:
        home: Absolute path of the root folder.
    """

    home: Path

    @classmethod
    def at(cls, home: str | os.PathLike[str] | None = None) -> "Store":
        """The store at `home`, else at `SHOTBOARD_HOME`, else at `.shotboard` here.

        Raises:
            ValueError: `home` is a URL, a path that cannot be used, or that of a file; the store
                is a folder.
        """
        place = os.fspath(home or os.environ.get("SHOTBOARD_HOME") or ".shotboard")
        if "://" in place:
            raise ValueError(
                f"the store {place!r} is a URL, but trials are committed by rename, which needs a "
                "folder. Mount it, or set SHOTBOARD_HOME to a folder that every node reaches."
            )
        try:
            path = Path(place).expanduser().resolve()
            path.name.encode()
            there = nearest(path)
        except (OSError, RuntimeError, ValueError) as error:  # too long, a loop of links, no text
            raise ValueError(
                f"the store {place!r} cannot be a folder: {error}. Give --home or SHOTBOARD_HOME "
                "another path."
            ) from error
        if odd := sorted(_NOT_IN_DUCKDB & set(str(path))):
            raise ValueError(
                f"the store {place!r} has {odd[0]!r} in its path {path}, and DuckDB cannot open "
                "the board there. Give --home or SHOTBOARD_HOME a path without it."
            )
        if not there.is_dir():
            raise ValueError(
                f"the store {place!r} must be a folder, but {there} is none. Give --home or "
                "SHOTBOARD_HOME a folder, or a path at which one can be made."
            )
        return cls(path)

    @classmethod
    def to_write(cls, home: str | os.PathLike[str] | None = None) -> "Store":
        """The store of `at`, for what writes to it.

        Raises:
            ValueError: As `at`, or it cannot be written.
        """
        store = cls.at(home)
        there = nearest(store.home)
        if not os.access(there, os.W_OK | os.X_OK):
            raise ValueError(
                f"the store {str(store.home)!r} cannot be written, as {there} cannot: its disk is "
                "read-only, or it is not yours. Give --home or SHOTBOARD_HOME a folder of yours."
            )
        return store

    @property
    def cards(self) -> Path:
        """Folder of the cards that users registered."""
        return self.home / "datasets"

    @property
    def data(self) -> Path:
        """Folder of the ingested datasets."""
        return self.home / "data"

    @property
    def features(self) -> Path:
        """Folder of the frozen features."""
        return self.home / "features"

    @property
    def trials(self) -> Path:
        """Folder of the completed trials."""
        return self.home / "trials"

    @property
    def failures(self) -> Path:
        """Folder of the last error of each trial that did not complete."""
        return self.home / "failures"

    @property
    def leases(self) -> Path:
        """Folder of the leases of runs that go on."""
        return self.home / "leases"

    @property
    def downloads(self) -> Path:
        """Folder of fetched archives."""
        return self.home / "downloads"

    @property
    def runs(self) -> Path:
        """Folder of the manifests of runs."""
        return self.home / "runs"

    @property
    def plans(self) -> Path:
        """Folder of the plans that are kept, so that asking again needs no torch."""
        return self.home / "plans"

    @property
    def reproductions(self) -> Path:
        """Folder of the results that other stores have of trials that are here."""
        return self.home / "reproductions"

    @property
    def published(self) -> Path:
        """Folder of the receipts of MLflow."""
        return self.home / "published"

    @property
    def pretraining(self) -> Path:
        """Folder of the pretrainings."""
        return self.home / "pretraining"

    @property
    def board(self) -> Path:
        """The DuckDB file that users query."""
        return self.home / "leaderboard.duckdb"

    @property
    def mlflow_uri(self) -> str:
        """Tracking URI of MLflow: `MLFLOW_TRACKING_URI`, else SQLite in the store.

        A relative file or folder is made absolute, for our processes run in several folders.
        """
        uri = os.environ.get("MLFLOW_TRACKING_URI")
        return _absolute(uri) if uri else database_url(self.home / "mlflow.db")

    @property
    def mlflow_database(self) -> Path | None:
        """The SQLite file of MLflow; None where it is on a server, in a folder or elsewhere."""
        return database_of(self.mlflow_uri)

    @property
    def mlflow_uri_to_show(self) -> str:
        """The tracking URI with `***` for a password, for screens, logs and artifacts."""
        return without_secrets(self.mlflow_uri)

    @property
    def mlflow_is_server(self) -> bool:
        """Whether MLflow is a tracking server, which has pages of its own."""
        return self.mlflow_uri.startswith(_MLFLOW_SERVERS)

    @property
    def mlflow_artifacts(self) -> Path:
        """Artifact folder of MLflow."""
        return self.home / "mlartifacts"

    @property
    def prefect(self) -> Path:
        """Home of our Prefect servers: a private one, and that of `shotboard up`."""
        return self.home / "prefect"

    @property
    def up(self) -> Path:
        """Folder of the logs of `shotboard up`, and of the lock that keeps it alone."""
        return self.home / "up"

    def trial(self, trial_id: str) -> Path:
        """Folder of one trial, whether or not it is there."""
        return self.trials / trial_id

    def done(self) -> set[str]:
        """Ids of all completed trials: one listing of one folder."""
        if not self.trials.is_dir():
            return set()
        with os.scandir(self.trials) as entries:
            return {entry.name for entry in entries if not entry.name.startswith(".")}

    def set_aside(self, trial_ids: Iterable[str]) -> None:
        """Moves completed trials out of the way, so that they are computed again."""
        attic = self.home / "replaced" / datetime.now(UTC).strftime("%Y%m%dT%H%M%S.%f")
        for trial_id in trial_ids:
            attic.mkdir(parents=True, exist_ok=True)
            with suppress(FileNotFoundError):  # another run was quicker
                self.trial(trial_id).rename(attic / trial_id)

    def result(self, trial_id: str) -> dict[str, Any]:
        """A completed trial as `trial.json` holds it.

        Raises:
            ValueError: The file is missing or damaged, or of another trial.
        """
        from operators.board import completed_rows, explain, read_object

        folder = self.trial(trial_id)
        try:
            values = read_object(folder / "trial.json")
            completed_rows(values, trial_id=trial_id)
        except (OSError, ValueError) as error:
            raise ValueError(
                f"trial.json of trial {trial_id} cannot be read: {explain(error)} The next run of "
                f"its suite moves {folder} aside and computes it again."
            ) from error
        return values

    def results(self) -> Iterator[dict[str, Any]]:
        """Every completed trial as `trial.json` holds it, in order of id."""
        return map(self.result, sorted(self.done()))

    def record_failure(self, trial_id: str, error: dict[str, Any]) -> None:
        """Keeps the last error of a trial, so that the board can show it."""
        write_atomic(self.failures / f"{trial_id}.json", json.dumps(error, indent=1).encode())

    def failure(self, trial_id: str) -> str:
        """The last error of a trial; empty where none is known."""
        from operators.board import read_object

        try:
            return str(read_object(self.failures / f"{trial_id}.json")["error"])
        except (OSError, ValueError, KeyError):
            return ""

    def clear_failure(self, trial_id: str) -> None:
        """Forgets the error of a trial that has completed since."""
        (self.failures / f"{trial_id}.json").unlink(missing_ok=True)


def _absolute(uri: str) -> str:
    """A tracking URI whose file or folder does not depend on the working directory."""
    scheme, separator, place = uri.partition(":///")
    if separator and scheme.split("+")[0] == "sqlite":
        relative = place and not place.startswith(("/", ":memory:"))
        return f"{scheme}:///{Path(place).absolute()}" if relative else uri
    if uri.startswith("file:") and not uri.startswith("file:/"):
        return Path(unquote(uri.removeprefix("file:"))).absolute().as_uri()
    if ":" in uri or uri.startswith(_MLFLOW_SERVERS):
        return uri
    return str(Path(uri).absolute())
