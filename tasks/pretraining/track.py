"""A pretraining in MLflow: its numbers while it trains, the model once it is there.

Experiment `pretraining`, one run for each pretraining, found again by its tag after a restart.

    parameters   every field of the recipe
    metrics      `loss`, `scale`, `in_batch_accuracy`, `learning_rate`, `pairs_per_second` and
                 `wait_share` every few steps; `val_accuracy/<dataset>` at evaluations;
                 `test_accuracy/<dataset>` at the end
    artifacts    `model/`: the export with its card
    tags         shotboard.pretraining_id, git_commit, mlflow.source.git.commit

The model is a version of a registered model with the recipe's name. The files of the run are the
truth: whatever MLflow missed, `publish_model` puts in from them.
"""

import json
import queue
import threading
import time
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from operators.files import write_atomic
from operators.spec import digest
from tasks.plain_text import without_secrets
from tasks.pretraining.heldout import RESULTS
from tasks.progress import reporter
from tasks.publishing.mlflow_client import (
    commit_tags,
    connect,
    end_run,
    ensure_model,
    open_experiment,
    safe,
)
from tasks.sqlite_files import database_of
from tasks.storage.moving import settle
from tasks.storage.store import Store

EXPERIMENT = "pretraining"
TAG = "shotboard.pretraining_id"
SEND_SECONDS = 5.0  # between two calls of MLflow
CLOSE_SECONDS = 60.0  # that the end of training waits for the last call
BATCH = 900  # metrics a call; MLflow takes 1000
VALUE_LENGTH = 500  # characters of a parameter


class Point(NamedTuple):
    """One number of one step."""

    name: str
    step: int
    value: float


@dataclass(frozen=True, kw_only=True)
class Tracked:
    """What MLflow is told of a pretraining.

    Attributes:
        run_id: Its id in the store.
        name: Of the recipe, and of the registered model.
        params: Fields of the recipe, and the data.
        git_commit: Of the code.
    """

    run_id: str
    name: str
    params: Mapping[str, Any]
    git_commit: str | None = None


class Tracker:
    """Sends numbers to MLflow from a thread of its own; a context manager.

    Training neither waits for MLflow nor fails with it: trouble is said once, and the numbers
    are put in at the end.

    Args:
        store: Says where MLflow is.
        tracked: What it is told.
        known: Numbers of earlier steps; those that are missing there are sent first.
    """

    def __init__(self, store: Store, tracked: Tracked, known: Iterable[Point] = ()) -> None:
        self.store = store
        self.tracked = tracked
        self.known = list(known)
        self.trouble: Exception | None = None
        self._reporter = reporter()  # a thread does not inherit it
        self._points: queue.Queue[tuple[Point, int] | None] = queue.Queue()
        self._closing = threading.Event()
        self._status = "FINISHED"
        self._thread = threading.Thread(target=self._run, name="mlflow", daemon=True)

    def __enter__(self) -> "Tracker":
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is not None:
            self._status = "FAILED" if issubclass(kind, Exception) else "KILLED"
        self._points.put(None)
        self._closing.set()
        self._thread.join(timeout=CLOSE_SECONDS)

    def log(self, step: int, values: Mapping[str, float]) -> None:
        """Numbers of a step; returns at once."""
        now = int(time.time() * 1000)
        for name, value in values.items():
            self._points.put((Point(name, step, value), now))

    def _run(self) -> None:
        try:
            settle(self.store)
            client = connect(self.store.mlflow_uri)
            run_id = _find_or_create(client, self.store, self.tracked)
            client.update_run(run_id, status="RUNNING")
            there = _fill(client, run_id, self.known)
            while self._send(client, run_id, there):
                self._closing.wait(SEND_SECONDS)
            end_run(client, run_id, self._status)
        except Exception as error:  # whatever MLflow raises
            self.trouble = error
            self._reporter.say(
                f"MLflow: {' '.join(str(error).split())[:300]}. Training goes on; the numbers are "
                "sent at the end."
            )

    def _send(self, client: Any, run_id: str, there: Mapping[str, set[int]]) -> bool:
        """Sends what waits; returns whether more may come."""
        from mlflow.entities import Metric

        metrics: list[Any] = []
        more = True
        while more and len(metrics) < BATCH:
            try:
                found = self._points.get_nowait()
            except queue.Empty:
                break
            if found is None:
                more = False
            elif found[0].step not in there.get(found[0].name, ()):
                (name, step, value), now = found
                metrics.append(Metric(safe(name, "/"), value, now, step))
        if metrics:
            client.log_batch(run_id, metrics=metrics)
        return more


class Published(NamedTuple):
    """Where the model is in MLflow, whose URI is without a password."""

    tracking_uri: str
    mlflow_run_id: str
    model: str
    version: str


def publish_model(
    store: Store, tracked: Tracked, points: Iterable[Point], folder: Path, receipt: Path
) -> Published:
    """Puts in every number that is missing, the export, and a version of the registered model.

    Does nothing where the receipt says that all is there.

    Args:
        store: Says where MLflow is.
        tracked: What it is told.
        points: All numbers.
        folder: The export.
        receipt: File that remembers what is in MLflow.
    """
    uri, shown = store.mlflow_uri, store.mlflow_uri_to_show
    model = safe(tracked.name)
    figures = digest((folder / RESULTS).read_text())
    if receipt.is_file():
        noted = json.loads(receipt.read_text())
        database = database_of(uri)
        gone = database is not None and not database.exists()
        same = without_secrets(noted["tracking_uri"]) == shown
        if same and noted.get("figures") == figures and not gone:
            return Published(*(noted[name] for name in Published._fields))
    settle(store)
    client = connect(uri)
    run_id = _find_or_create(client, store, tracked)
    _fill(client, run_id, points)
    client.log_artifacts(run_id, str(folder), "model")
    ensure_model(client, model)
    versions = client.search_model_versions(f"name='{model}' and run_id='{run_id}'")
    if versions:
        version = versions[0].version
    else:
        source = f"{client.get_run(run_id).info.artifact_uri}/model"
        version = client.create_model_version(model, source, run_id=run_id).version
    end_run(client, run_id)
    published = Published(shown, run_id, model, str(version))
    noted = {**published._asdict(), "figures": figures}
    write_atomic(receipt, json.dumps(noted, indent=1).encode())
    return published


def _find_or_create(client: Any, store: Store, tracked: Tracked) -> str:
    """The run of a pretraining: the one with its tag, else a new one."""
    from mlflow.entities import Param

    experiment_id, _ = open_experiment(client, store, EXPERIMENT)
    found = client.search_runs([experiment_id], f"tags.`{TAG}` = '{tracked.run_id}'", max_results=1)
    if found:
        return found[0].info.run_id
    tags = {TAG: tracked.run_id, **commit_tags(tracked.git_commit)}
    name = f"{tracked.name} {tracked.run_id}"
    run = client.create_run(experiment_id, tags=tags, run_name=name)
    params = [Param(safe(k, "."), str(v)[:VALUE_LENGTH]) for k, v in tracked.params.items()]
    for start in range(0, len(params), 100):
        client.log_batch(run.info.run_id, params=params[start : start + 100])
    return run.info.run_id


def _fill(client: Any, run_id: str, points: Iterable[Point]) -> dict[str, set[int]]:
    """Sends the points that are not there; returns the steps that are, by name."""
    from mlflow.entities import Metric

    wanted: dict[str, list[Point]] = defaultdict(list)
    for point in points:
        wanted[point.name].append(point)
    there: dict[str, set[int]] = {}
    missing: list[Any] = []
    now = int(time.time() * 1000)
    for name in client.get_run(run_id).data.metrics:
        there[name] = {point.step for point in client.get_metric_history(run_id, name)}
    for name, each in wanted.items():
        known = there.setdefault(safe(name, "/"), set())
        missing += [
            Metric(safe(name, "/"), p.value, now, p.step) for p in each if p.step not in known
        ]
        known |= {p.step for p in each}
    for start in range(0, len(missing), BATCH):
        client.log_batch(run_id, metrics=missing[start : start + BATCH])
    return there
