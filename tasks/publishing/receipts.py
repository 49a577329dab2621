"""What is in MLflow already: one receipt for each cell, in `published/` of the store."""

import json
import os
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from operators.board import read_object, receipt_row
from operators.files import write_atomic
from operators.spec import digest
from tasks.plain_text import without_secrets
from tasks.publishing.choosing import RULE
from tasks.sqlite_files import database_of, database_url
from tasks.storage import runs
from tasks.storage.store import Store

MODELS = "models.json"  # beside the receipts: model name -> its best trial so far
LAYOUT = "2"  # of the run of a cell, see `mlflow_cell.py`: moves when that does
OWN = "mlflow.db"  # stands for the database of the store
_ENTRY = ("trial_id", "cell_id", "suite", "mlflow_run_id")
UNFINISHED = "unfinished"  # beside them while cells are written and models are not moved yet


@dataclass(frozen=True)
class Receipt:
    """The run of a cell in the experiment of one suite.

    Attributes:
        mlflow_run_id: The run.
        trial_ids: Trials that it holds.
        written: When, as the file system says, in nanoseconds.
    """

    mlflow_run_id: str
    trial_ids: frozenset[str]
    written: int

    def holds(self, store: Store, trial_id: str) -> bool:
        """Whether the run holds a trial as it is: not one that was computed again since."""
        return trial_id in self.trial_ids and _changed(store, trial_id) <= self.written


def read(store: Store, uri: str, suite: str) -> dict[str, Receipt]:
    """The receipts that count for an MLflow and a suite, by cell."""
    database = database_of(uri)
    if database is not None and not database.exists():
        return {}
    found = (
        (content["cell_id"], _receipt(store, uri, suite, path, content))
        for path, content in contents(store)
    )
    return {cell_id: receipt for cell_id, receipt in found if receipt is not None}


def read_cell(store: Store, uri: str, suite: str, cell_id: str) -> Receipt | None:
    """The receipt of one cell as it is now; see `read`.

    Args:
        store: Where it is.
        uri: Of the MLflow.
        suite: Name of the experiment.
        cell_id: Of the cell.
    """
    path = store.published / f"{cell_id}.json"
    content = _content(path)
    return _receipt(store, uri, suite, path, content) if content else None


def _receipt(
    store: Store, uri: str, suite: str, path: Path, content: Mapping[str, Any]
) -> Receipt | None:
    """What a file notes of an MLflow and a suite; None where that is nothing.

    Args:
        store: Where it is.
        uri: Of the MLflow.
        suite: Name of the experiment.
        path: The file.
        content: What is in it.
    """
    entry = content["experiments"].get(suite, {})
    if (
        without_secrets(content["tracking_uri"]) != _noted(store, uri)
        or entry.get("layout") != LAYOUT
    ):
        return None
    trials = frozenset(entry["trial_ids"])
    return Receipt(entry["mlflow_run_id"], trials, path.stat().st_mtime_ns)


def contents(store: Store) -> Iterator[tuple[Path, dict[str, Any]]]:
    """Every receipt and its file; one that cannot be read is as good as none."""
    if not store.published.is_dir():
        return
    with os.scandir(store.published) as entries:
        names = sorted(e.name for e in entries if e.name.endswith(".json") and e.name[0] != ".")
    for name in names:
        if name != MODELS:
            path = store.published / name
            if content := _content(path):
                yield path, content


def write(
    store: Store, uri: str, suite: str, cell_id: str, run_id: str, trial_ids: Iterable[str]
) -> Receipt:
    """Notes what is in MLflow: the last suite on top, and every suite under `experiments`."""
    path = store.published / f"{cell_id}.json"
    before, noted = _content(path), _noted(store, uri)
    same = without_secrets(before.get("tracking_uri", "")) == noted
    experiments = before["experiments"] if same else {}
    entry = {"mlflow_run_id": run_id, "trial_ids": sorted(trial_ids), "layout": LAYOUT}
    content = {
        "cell_id": cell_id,
        **entry,
        "tracking_uri": noted,
        "experiment": suite,
        "experiments": experiments | {suite: entry},
    }
    write_atomic(path, json.dumps(content, indent=1).encode())
    return Receipt(run_id, frozenset(trial_ids), path.stat().st_mtime_ns)


def begin(store: Store, suite: str, run_id: str) -> None:
    """Notes that a run writes a suite; `finished` is False until `finish`.

    Args:
        store: Of the run.
        suite: Its experiment.
        run_id: Of the run.
    """
    write_atomic(store.published / f"{_marked(suite)}-{run_id}", run_id.encode())


def killed(store: Store) -> dict[Path, str]:
    """Runs that ended without a word while they wrote to MLflow, by the file that notes it."""
    found: dict[Path, str] = {}
    for mark in sorted(store.published.glob(f"{UNFINISHED}-*")):
        with suppress(OSError):
            run_id = mark.read_text(errors="replace")
            if run_id and not runs.goes_on(store, run_id):
                found[mark] = run_id
    return found


def forget_killed(mark: Path) -> None:
    """Notes that what a killed run left in MLflow is settled; its suite is still unfinished.

    Args:
        mark: As `killed` gave it.
    """
    write_atomic(mark, b"")


def finished(store: Store, suite: str) -> bool:
    """Whether the last writing of a suite came to its end."""
    return not any(store.published.glob(f"{_marked(suite)}*"))


def finish(store: Store, suite: str, run_id: str) -> None:
    """Notes that a run has written a suite to the end, what killed runs left of it as well.

    Args:
        store: Of the run.
        suite: Its experiment.
        run_id: Of the run.
    """
    for mark in store.published.glob(f"{_marked(suite)}*"):
        with suppress(OSError):
            of_run = mark.read_text(errors="replace")
            if of_run in ("", run_id) or not runs.goes_on(store, of_run):
                mark.unlink()


def read_models(store: Store) -> dict[str, dict[str, Any]]:
    """The trial that each registered model has, as `write_models` noted it.

    Empty where nothing was noted of this MLflow, or by another rule of choosing.

    Raises:
        ValueError: The file cannot be read.
    """
    path = store.published / MODELS
    if not path.exists():
        return {}
    try:
        known = read_object(path)
        if (
            without_secrets(str(known.get("tracking_uri"))) != _noted(store, store.mlflow_uri)
            or known.get("rule") != RULE
        ):
            return {}
        models = dict(known["models"])
        for entry in models.values():
            if not all(isinstance(entry[name], str) for name in _ENTRY):
                raise ValueError("an entry is none.")
            if not isinstance(entry["rank"], list):
                raise ValueError("a model has no rank.")
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"{path} cannot be read ({error}). Remove it: it is made anew.") from error
    return models


def write_models(store: Store, models: Mapping[str, Mapping[str, Any]]) -> None:
    """Notes which trial each registered model has.

    Args:
        store: Where it is noted.
        models: By name.
    """
    content = {"tracking_uri": _noted(store, store.mlflow_uri), "rule": RULE, "models": models}
    write_atomic(store.published / MODELS, json.dumps(content, indent=1).encode())


def uri_of(store: Store, receipt: Mapping[str, Any]) -> str:
    """Where the MLflow is that a receipt is of, with the password that this process was told.

    Args:
        store: Whose receipt it is.
        receipt: Its content.
    """
    noted = without_secrets(str(receipt["tracking_uri"]))
    if noted == OWN:
        return database_url(store.home / OWN)
    return store.mlflow_uri if noted == store.mlflow_uri_to_show else noted


def _noted(store: Store, uri: str) -> str:
    """What a receipt says of a tracking URI: the store's own has no place, for it moves along.

    A password has no business there: it may change, and whoever publishes brings one.
    """
    return OWN if database_of(uri) == store.home / OWN else without_secrets(uri)


def _content(path: Path) -> dict[str, Any]:
    """A receipt as `write` wrote it; empty where it is anything else."""
    try:
        content = read_object(path)
        receipt_row(content)
        entries = content["experiments"].values()
        whole = isinstance(content["tracking_uri"], str) and isinstance(content["cell_id"], str)
        for entry in entries:
            receipt_row(entry)
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return {}
    return content if whole else {}


def _marked(suite: str) -> str:
    """How the names of the files begin that say that a suite is being written."""
    return f"{UNFINISHED}-{digest(suite)}"


def _changed(store: Store, trial_id: str) -> int:
    """When a trial was computed, as its file system says; 0 for one that is gone."""
    try:
        return (store.trial(trial_id) / "trial.json").stat().st_mtime_ns
    except FileNotFoundError:
        return 0
