"""Where everything lies below the root of a store."""

import os
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote

from tasks.plain_text import without_secrets
from tasks.sqlite_files import database_of, database_url

WAITING = ".waiting"  # of a working copy: trials that its URL has not got yet
_MLFLOW_SERVERS = ("http:", "https:", "databricks")


@dataclass(frozen=True)
class Layout:
    """Paths below a root; what each is for is said in `tasks/storage/store.py`.

    Attributes:
        home: The root.
    """

    home: Path

    @property
    def written(self) -> tuple[Path, ...]:
        """Folders that a run writes to; each may lie on a disk of its own."""
        own = (self.data, self.features, self.trials, self.failures, self.leases, self.plans)
        return (*own, self.runs, self.published, self.mlflow_artifacts, self.prefect)

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
