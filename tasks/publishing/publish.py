"""Trial folders -> MLflow, which is only imported when there is news.

An experiment is a suite, a run below it one flow run, its children are the cells it completed; see
`mlflow_cell.py` for what they hold. What is in MLflow is a projection, and a receipt says what is
there already.

The prompt that is best by the primary metric of its track (mean of the splits, those of targets
left out) of each method, backbone, dataset and protocol is a version of a registered model, alias
`best`: it is for use, not for comparison, for it is chosen on test rows.
`mlflow.artifacts.download_artifacts("models:/<name>@best")` gives it.
"""

import json
import threading
import time
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from statistics import fmean
from typing import Any

from operators.files import write_atomic
from operators.metrics import METRICS
from operators.spec import TrialSpec
from tasks.pages.known import protocol_rows
from tasks.publishing import receipts
from tasks.publishing.mlflow_cell import Trial, differences, trials_of, write_cell
from tasks.publishing.mlflow_client import commit_tags, connect, ensure_model, open_experiment, safe
from tasks.storage.store import Store

PROMPT = "prompt.safetensors"
LOOK_SECONDS = 1.0  # between two looks for cells that are complete, while trials run
_MODEL = ("method", "backbone", "dataset", "protocol", "held_out")


@dataclass(frozen=True)
class PublishReport:
    """What was done.

    Attributes:
        tracking_uri: Where MLflow is.
        experiment: Its experiment, the name of the suite.
        parent_run_id: Run of this flow run; None when nothing was new.
        published: Cells that were created or completed.
        skipped: Cells that were complete.
        models: Registered models that got a better prompt.
        seconds: Wall time of `finish`.
    """

    tracking_uri: str
    experiment: str
    parent_run_id: str | None
    published: int
    skipped: int
    models: int
    seconds: float


class Publication:
    """What one run of a suite brings to MLflow, as its cells complete or all at once.

    A cell whose receipt covers its trials is not looked up in MLflow; when another one is
    written, runs that were deleted by hand are noticed and written again.

    Args:
        store: Where the trials are.
        trial_ids: All trials of the run, new or not, completed or not.
        suite: Name of the experiment.
        run_id: Shotboard's id of the run; a repetition writes under the same parent.
        flow_run_id: Prefect's id of the run.
        git_commit: Commit of the code, where no trial recorded one.
    """

    def __init__(
        self,
        store: Store,
        trial_ids: Iterable[str],
        *,
        suite: str,
        run_id: str,
        flow_run_id: str | None = None,
        git_commit: str | None = None,
    ) -> None:
        self.store = store
        self.trial_ids = frozenset(trial_ids)
        self.suite = suite
        self.run_id = run_id
        self.git_commit = git_commit
        self.uri = store.mlflow_uri
        self.tags = {"shotboard.run_id": run_id, "shotboard.flow_run_id": flow_run_id or ""}
        self.receipts = receipts.read(store, self.uri, suite)
        self.written: set[str] = set()
        self._best: dict[str, dict[str, Any]] = {}
        self._primary = {row["protocol"]: row["primary_metric"] for row in protocol_rows()}
        self._session: _Session | None = None

    def write(self, trial_ids: Iterable[str]) -> int:
        """Writes every cell in which there is news; returns how many cells the trials have.

        Args:
            trial_ids: Completed trials: of each of their cells, all that are to be in it.
        """
        cells: dict[str, dict[str, Trial]] = defaultdict(dict)
        for trial_id in trial_ids:
            trial = self.store.result(trial_id)
            cells[trial["cell_id"]][trial_id] = trial
            self._offer(trial)
        if self._session is None:
            receipts.begin(self.store, self.suite)
            self._session = _Session(self)
        for cell_id, trials in sorted(cells.items()):
            if not self._complete(cell_id, trials):
                self._write_cell(self._session, cell_id, trials)
        return len(cells)

    def finish(self) -> PublishReport:
        """Writes whatever is completed and not in MLflow yet, and moves the alias `best`."""
        started = time.perf_counter()
        done = sorted(self.trial_ids & self.store.done())
        if self._session is None and self._all_held(done):
            known = sum(not r.trial_ids.isdisjoint(done) for r in self.receipts.values())
            seconds = time.perf_counter() - started
            return PublishReport(self.uri, self.suite, None, 0, known, 0, seconds)
        cells = self.write(done)
        assert self._session is not None
        models = self._register_best(self._session.client)
        self._session.close(trials=len(done), cells=cells)
        receipts.finish(self.store, self.suite)
        return PublishReport(
            self.uri,
            self.suite,
            self._session.parent,
            len(self.written),
            cells - len(self.written),
            models,
            time.perf_counter() - started,
        )

    def reopen(self) -> None:
        """Looks MLflow up anew before it writes on: a cell may have been half written."""
        self._session = None

    def give_up(self) -> None:
        """Ends the run of this flow run, as one that was killed."""
        if self._session is not None:
            self._session.client.set_terminated(self._session.parent, status="KILLED")

    def _write_cell(self, session: "_Session", cell_id: str, trials: dict[str, Trial]) -> None:
        run, receipt = session.cells.get(cell_id), self.receipts.get(cell_id)
        before = trials_of(run) if run else []
        for trial_id in before:
            if trial_id not in trials:
                with suppress(ValueError):  # it is gone, or damaged: its own suite will say so
                    trials = trials | {trial_id: self.store.result(trial_id)}
        mlflow_run_id = write_cell(
            session.client,
            session.experiment_id,
            self.store,
            cell_id,
            trials,
            run=run,
            there={i for i in before if receipt and receipt.holds(self.store, i)},
            tags=self.tags | {"mlflow.parentRunId": session.parent} | self._ranking(trials),
            git_commit=self.git_commit,
        )
        session.alive.add(mlflow_run_id)
        self.receipts[cell_id] = receipts.write(
            self.store, self.uri, self.suite, cell_id, mlflow_run_id, trials
        )
        self.written.add(cell_id)

    def _ranking(self, trials: Mapping[str, Trial]) -> dict[str, str]:
        """The tag that says by which metric rows of the cell's protocol are ranked."""
        metric = self._primary.get(next(iter(trials.values()))["spec"]["protocol"])
        return {"shotboard.primary_metric": metric} if metric else {}

    def _complete(self, cell_id: str, trials: Iterable[str]) -> bool:
        """Whether the run of a cell is there and holds these trials."""
        receipt = self.receipts.get(cell_id)
        return (
            receipt is not None
            and (self._session is None or receipt.mlflow_run_id in self._session.alive)
            and all(receipt.holds(self.store, trial_id) for trial_id in trials)
        )

    def _all_held(self, trial_ids: Iterable[str]) -> bool:
        """Whether all of these trials are there and their models moved; no trial is read."""
        if not receipts.finished(self.store, self.suite):
            return False
        held = {i for r in self.receipts.values() for i in r.trial_ids if r.holds(self.store, i)}
        return held.issuperset(trial_ids)

    def _offer(self, trial: Trial) -> None:
        """Remembers a trial if it is the best of its model so far."""
        metric = self._primary.get(trial["spec"]["protocol"])
        others = trial["spec"].get("targets", {})  # harder ones make no worse prompt
        values = [
            m["value"]
            for m in trial["metrics"]
            if m["metric"] == metric and m["split"] not in others
        ]
        if not values or None in values:
            return
        if not (self.store.trial(trial["trial_id"]) / PROMPT).exists():
            return
        name = safe("-".join(trial["spec"][key] for key in _MODEL if key in trial["spec"]))
        entry = {key: trial[key] for key in ("trial_id", "cell_id")}
        entry |= {"metric": metric, "value": fmean(values)}
        if name not in self._best or _ahead(entry, self._best[name]):
            self._best[name] = entry

    def _register_best(self, client: Any) -> int:
        """Moves the alias `best` where a new trial beats all before it; returns how often."""
        path = self.store.published / receipts.MODELS
        try:
            known = receipts.read_models(self.store)
        except ValueError:
            known = {}  # the best of what is at hand is registered once more
        if known.get("tracking_uri") != self.uri:
            known = {"tracking_uri": self.uri, "models": {}}
        models = known["models"]
        better = {
            name: entry
            for name, entry in self._best.items()
            if name not in models or _ahead(entry, models[name])
        }
        for name, entry in better.items():
            run_id = self.receipts[entry["cell_id"]].mlflow_run_id
            if name not in models:
                ensure_model(client, name)
            source = f"{client.get_run(run_id).info.artifact_uri}/trials/{entry['trial_id']}"
            tags = {"trial_id": entry["trial_id"], entry["metric"]: str(entry["value"])}
            version = client.create_model_version(name, source, run_id=run_id, tags=tags)
            client.set_registered_model_alias(name, "best", version.version)
        if better:
            known["models"] = models | better
            write_atomic(path, json.dumps(known, indent=1).encode())
        return len(better)


def _ahead(entry: Mapping[str, Any], rival: Mapping[str, Any]) -> bool:
    """Whether a model is better than another; one by another metric is none to compare with."""
    if entry["metric"] != rival["metric"]:
        return True
    lower = METRICS[entry["metric"]].better == "lower"
    return entry["value"] < rival["value"] if lower else entry["value"] > rival["value"]


class _Session:
    """A connection to MLflow, the runs of the experiment's cells, and the run above them.

    Attributes:
        client: MLflow's.
        experiment_id: The experiment of the suite.
        cells: Runs that were there before, by cell.
        alive: Ids of the runs of cells.
        parent: Id of the run of this flow run.
    """

    def __init__(self, publication: Publication) -> None:
        self.client = connect(publication.uri)
        opened = open_experiment(self.client, publication.store, publication.suite)
        self.experiment_id, is_new = opened
        self.cells = {} if is_new else self._runs_of_cells()
        self.alive = {run.info.run_id for run in self.cells.values()}
        run = self._found_or_created(publication)
        self.parent: str = run.info.run_id
        self._counted = bool(run.data.params)

    def close(self, **counts: int) -> None:
        """Ends the parent run, which keeps the counts of its first end."""
        from mlflow.entities import Param

        if not self._counted:
            params = [Param(name, str(count)) for name, count in counts.items()]
            self.client.log_batch(self.parent, params=params)
        self.client.set_terminated(self.parent)

    def _runs_of_cells(self) -> dict[str, Any]:
        runs: dict[str, Any] = {}
        token = None
        while True:
            page = self.client.search_runs([self.experiment_id], max_results=1000, page_token=token)
            runs |= {run.data.tags["cell_id"]: run for run in page if "cell_id" in run.data.tags}
            token = page.token
            if not token:
                return runs

    def _found_or_created(self, publication: Publication) -> Any:
        """The run with the tag of this flow run, else a new one."""
        quoted = publication.run_id.replace("'", "")
        query = f"tags.`shotboard.run_id` = '{quoted}' and tags.`shotboard.kind` = 'suite'"
        found = self.client.search_runs([self.experiment_id], query, max_results=1)
        if found:
            return found[0]
        tags = {"shotboard.kind": "suite", **commit_tags(publication.git_commit)}
        return self.client.create_run(
            self.experiment_id,
            tags=publication.tags | tags,
            run_name=f"run {publication.run_id}",
        )


@contextmanager
def published_along(
    publication: Publication,
    specs: Iterable[TrialSpec],
    missing: Iterable[TrialSpec],
    every: float = LOOK_SECONDS,
) -> Iterator[None]:
    """Writes each cell to MLflow as soon as its last trial is in the store, in a thread.

    MLflow mostly waits for the disk, so that costs the trials little. If it fails, what is
    missing is left to `Publication.finish`, which says why it fails.

    Args:
        publication: Nothing else may use it meanwhile.
        specs: All trials of the run.
        missing: Those that are being computed.
        every: Seconds between two looks.
    """
    cells = {spec.cell_id for spec in missing}
    waiting: dict[str, set[str]] = defaultdict(set)
    for spec in specs:
        if spec.cell_id in cells:
            waiting[spec.cell_id].add(spec.trial_id)
    over = threading.Event()

    def follow() -> None:
        try:
            while waiting and not over.wait(every):
                done = publication.store.done()
                for cell in [cell for cell, ids in waiting.items() if ids <= done]:
                    publication.write(waiting.pop(cell))
                    if over.is_set():
                        return
        except Exception:  # whatever MLflow raises
            publication.reopen()

    thread = threading.Thread(target=follow, name="publish", daemon=True)
    thread.start()
    try:
        yield
    except BaseException as error:
        over.set()
        thread.join()
        if not isinstance(error, Exception):  # nobody will finish what is interrupted
            with suppress(Exception):
                publication.give_up()
        raise
    over.set()
    thread.join()


def verify(store: Store) -> list[str]:
    """Returns a sentence for every receipt whose run is gone or whose numbers are not ours."""
    noted = [content for _, content in receipts.contents(store)]
    if not noted:
        return []
    from mlflow.exceptions import MlflowException

    troubles = []
    done = store.done()
    for receipt in noted:
        client = connect(receipt["tracking_uri"])
        for experiment, entry in receipt["experiments"].items():
            run_id = entry["mlflow_run_id"]
            place = f"cell {receipt['cell_id']}, run {run_id} of {experiment}"
            try:
                stage = client.get_run(run_id).info.lifecycle_stage
            except MlflowException as error:
                troubles.append(f"{place}: {error.message}")
                continue
            if stage != "active":
                troubles.append(f"{place}: the run was deleted.")
                continue
            trials = []
            for trial_id in sorted(done.intersection(entry["trial_ids"])):
                try:
                    trials.append(store.result(trial_id))
                except ValueError as error:
                    troubles.append(f"{place}: {error}")
            troubles += [f"{place}: {text}" for text in differences(client, run_id, trials)]
    return troubles
